//! `gohang open`: a bundle told again.

use std::fmt::Write as _;

use anyhow::Context as _;
use gohang::bundle::{self, FileState, Problem};
use gohang::run::keep;
use gohang::sink::{json, pipe};

use super::args::{Document, OpenArgs};
use super::{Exit, Failure};

/// Reads the bundle and prints what it holds.
///
/// # Errors
/// A file that is no bundle (usage); output that cannot be written.
pub(super) fn run(arguments: OpenArgs) -> Result<Exit, Failure> {
    let bundle = bundle::read(&arguments.bundle).map_err(Failure::usage)?;
    let mut out = Vec::new();
    if let Some(name) = &arguments.member {
        // As it is, for a file or another program.
        out.extend_from_slice(bundle.member(name).map_err(Failure::usage)?);
    } else if arguments.list {
        let mut text = String::new();
        for (name, content) in &bundle.members {
            let _ = writeln!(text, "{:>10}  {name}", content.len());
        }
        out.extend_from_slice(text.as_bytes());
    } else {
        let opened = keep::open(&bundle);
        match arguments.output {
            Document::Json => json::write_document(&mut out, &opened)?,
            Document::Text => out.extend_from_slice(keep::open_text(&bundle, &opened).as_bytes()),
        }
    }
    pipe::print(&out).context("cannot write the bundle's content to stdout")?;
    Ok(whole(&bundle))
}

/// Says what is wrong with it; the exit code for that.
pub(super) fn whole(bundle: &bundle::Bundle) -> Exit {
    let path = bundle.path.display();
    // Of one that is cut off, each that stood behind the cut would say the same.
    let mut problems = bundle.problems.iter();
    let is_cut = problems.any(|problem| matches!(problem, Problem::CutOff(_)));
    let of_cut =
        |problem: &&Problem| is_cut && matches!(problem, Problem::Member(_, FileState::Missing));
    let (missing, others): (Vec<&Problem>, Vec<&Problem>) =
        bundle.problems.iter().partition(of_cut);
    for problem in others {
        let line = crate::escape_line(&format!("{path} is not whole: {problem}"));
        eprintln!("gohang: {line}");
    }
    if !missing.is_empty() {
        let listed = bundle.manifest.as_ref().map_or(0, |m| m.members.len());
        let line = format!(
            "{path}: {} of its {listed} members are missing",
            missing.len()
        );
        eprintln!("gohang: {}", crate::escape_line(&line));
    }
    if bundle.is_whole() {
        Exit::Ok
    } else {
        Exit::Failed
    }
}
