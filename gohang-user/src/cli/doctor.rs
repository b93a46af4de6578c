//! `gohang doctor`.

use anyhow::Context as _;
use gohang::doctor::{self, Verdict};
use gohang::sink::{json, pipe};

use super::args::{DoctorArgs, Document};
use super::{Exit, Failure};

/// Examines this machine, prints what was found, and exits by the verdict.
pub(super) fn run(options: DoctorArgs) -> Result<Exit, Failure> {
    let found = doctor::examine(&doctor::Options { btf: options.btf });
    let mut out = Vec::new();
    match options.output {
        Document::Text => out.extend_from_slice(doctor::text(&found).as_bytes()),
        Document::Json => json::write_document(&mut out, &found)?,
    }
    pipe::print(&out).context("cannot write the findings to stdout")?;
    Ok(match found.verdict {
        Verdict::Works => Exit::Ok,
        Verdict::Degraded => Exit::Failed,
        Verdict::Cannot => Exit::Unable,
    })
}
