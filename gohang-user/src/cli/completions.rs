//! `gohang completions`: shell completions and the man page, from the argument
//! definitions.

use anyhow::Context as _;
use clap::{Command, CommandFactory as _};
use clap_complete::Shell as Completed;
use gohang::sink::pipe;

use super::args::{Arguments, CompletionsArgs, Shell};
use super::{Exit, Failure};

/// Prints what was asked for.
///
/// # Errors
/// Output that cannot be written.
pub(super) fn run(arguments: CompletionsArgs) -> Result<Exit, Failure> {
    let text = match arguments.shell {
        Shell::Bash => completions(Completed::Bash),
        Shell::Elvish => completions(Completed::Elvish),
        Shell::Fish => completions(Completed::Fish),
        Shell::Powershell => completions(Completed::PowerShell),
        Shell::Zsh => completions(Completed::Zsh),
        Shell::Man => man_page().context("cannot make the man page")?,
    };
    pipe::print(&text).context("cannot write to stdout")?;
    Ok(Exit::Ok)
}

fn completions(shell: Completed) -> Vec<u8> {
    let mut out = Vec::new();
    let mut command = visible(&Arguments::command());
    clap_complete::generate(shell, &mut command, "gohang", &mut out);
    out
}

/// The command without what is hidden, which completions would offer.
fn visible(command: &Command) -> Command {
    let mut shown = Command::new(command.get_name().to_owned())
        .args(command.get_arguments().filter(|arg| !arg.is_hide_set()))
        .subcommands(
            command
                .get_subcommands()
                .filter(|sub| !sub.is_hide_set())
                .map(visible),
        );
    if let Some(version) = command.get_version() {
        shown = shown.version(version.to_owned());
    }
    if let Some(about) = command.get_about() {
        shown = shown.about(about.clone());
    }
    shown
}

/// One page: the command, then a section for each subcommand.
fn man_page() -> std::io::Result<Vec<u8>> {
    let mut command = Arguments::command();
    // Gives the subcommands their full names.
    command.build();
    let page = clap_mangen::Man::new(command.clone());
    let mut out = Vec::new();
    page.render_title(&mut out)?;
    page.render_name_section(&mut out)?;
    page.render_synopsis_section(&mut out)?;
    page.render_description_section(&mut out)?;
    page.render_options_section(&mut out)?;
    for subcommand in command
        .get_subcommands()
        .filter(|sub| sub.get_name() != "help" && !sub.is_hide_set())
    {
        let name = subcommand.get_bin_name().unwrap_or(subcommand.get_name());
        out.extend(format!(".SH {}\n", name.to_uppercase()).bytes());
        let page = clap_mangen::Man::new(subcommand.clone());
        let mut section = Vec::new();
        page.render_synopsis_section(&mut section)?;
        page.render_description_section(&mut section)?;
        page.render_options_section(&mut section)?;
        out.extend(below(&section));
    }
    page.render_version_section(&mut out)?;
    Ok(out)
}

/// Turns sections into subsections.
fn below(roff: &[u8]) -> Vec<u8> {
    let lines = roff.split_inclusive(|byte| *byte == b'\n');
    lines
        .flat_map(|line| match line.strip_prefix(b".SH ") {
            Some(title) => [b".SS ", title].concat(),
            None => line.to_vec(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::ValueEnum as _;

    #[test]
    fn every_shell_knows_every_subcommand_and_option() {
        for shell in Completed::value_variants() {
            let text = String::from_utf8(completions(*shell)).expect("UTF-8");
            for word in [
                "trace",
                "replay",
                "demo",
                "bench",
                "doctor",
                "compare",
                "explain",
                "completions",
                "threshold",
                "record",
            ] {
                assert!(text.contains(word), "{shell}: {word}");
            }
            for hidden in [
                "experiment-part",
                "experiment_part",
                "ring-bytes",
                "ring_bytes",
            ] {
                assert!(!text.contains(hidden), "{shell}: {hidden}");
            }
        }
    }

    #[test]
    fn the_man_page_has_a_section_a_subcommand_and_hides_what_is_hidden() {
        let text = String::from_utf8(man_page().expect("made")).expect("UTF-8");
        assert!(text.contains(".TH gohang 1"));
        for section in [
            ".SH NAME",
            ".SH DESCRIPTION",
            ".SH GOHANG TRACE",
            ".SH GOHANG REPLAY",
            ".SH GOHANG COMPARE",
            ".SH GOHANG EXPLAIN",
            ".SH GOHANG VERSION",
            ".SS OPTIONS",
        ] {
            assert!(text.contains(section), "{section}: {text}");
        }
        assert!(text.contains("\\fB\\-\\-pending\\-limit\\fR"), "{text}");
        assert!(!text.contains("ring\\-bytes"), "{text}");
    }
}
