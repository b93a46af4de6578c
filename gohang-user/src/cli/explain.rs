//! `gohang explain`: what rules mean.

use anyhow::Context as _;
use gohang::explain;
use gohang::sink::text::layout::usable_width;
use gohang::sink::{explain_text, json, pipe};

use super::args::{Document, ExplainArgs};
use super::{Exit, Failure};

/// Prints one rule's explanation, or that of all rules.
///
/// # Errors
/// A rule that there is not (usage), or output that cannot be written.
pub(super) fn run(arguments: ExplainArgs) -> Result<Exit, Failure> {
    let explanations = explain::explain(arguments.rule.as_deref()).map_err(Failure::usage)?;
    let mut out = Vec::new();
    match arguments.output {
        Document::Json => json::write_document(&mut out, &explanations)?,
        Document::Text => {
            let text = explain_text::text(&explanations, usable_width(None));
            out.extend_from_slice(text.as_bytes());
        }
    }
    pipe::print(&out).context("cannot write the explanation to stdout")?;
    Ok(Exit::Ok)
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::super::args::Arguments;
    use super::*;

    #[test]
    fn limits_are_the_options_with_their_defaults() {
        let command = Arguments::command();
        for subcommand in ["trace", "replay"] {
            let command = command.find_subcommand(subcommand).expect("it is there");
            for rule in explain::explain(None).expect("all").rules {
                for limit in rule.limits {
                    let arg = command
                        .get_arguments()
                        .find(|arg| {
                            arg.get_long()
                                .is_some_and(|long| format!("--{long}") == limit.option)
                        })
                        .unwrap_or_else(|| panic!("{subcommand} has no {}", limit.option));
                    assert_eq!(arg.get_default_values(), [limit.default], "{}", rule.rule);
                }
            }
        }
    }
}
