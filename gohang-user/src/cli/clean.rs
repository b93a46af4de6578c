//! `gohang clean`.

use std::time::Duration;

use anyhow::Context as _;
use gohang::cgroup::{CgroupLayout, clear_everywhere};
use gohang::process::ProcRoot;
use gohang::run::{clear_scopes, told};
use gohang::sink::pipe;

use super::{Exit, Failure};

/// How long what is killed may take to end.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Ends and removes what killed runs have left behind, and prints it.
///
/// # Errors
/// When the mounted hierarchies cannot be read, or the output not be written.
pub(super) fn run() -> Result<Exit, Failure> {
    let proc = ProcRoot::default();
    let layout = CgroupLayout::read(&proc).map_err(Failure::unable)?;
    let mut text = String::new();
    let scopes = clear_scopes(&proc);
    for left in &scopes {
        text.push_str(&crate::escape_line(&left.line));
        text.push('\n');
    }
    let found = clear_everywhere(&layout, &proc, TIMEOUT).map_err(Failure::unable)?;
    for left in &found {
        text.push_str(&crate::escape_line(&told(left)));
        text.push('\n');
    }
    if found.is_empty() && scopes.is_empty() {
        text.push_str("nothing was left behind\n");
    }
    pipe::print(text.as_bytes()).context("cannot write to stdout")?;
    let all_gone =
        scopes.iter().all(|left| left.gone) && found.iter().all(|left| left.kept.is_none());
    Ok(if all_gone { Exit::Ok } else { Exit::Failed })
}
