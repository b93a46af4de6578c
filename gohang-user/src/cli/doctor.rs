//! `gohang doctor`.

use anyhow::Context as _;
use gohang::doctor::{self, Verdict};

use super::args::{DoctorArgs, Document};
use super::stdout::print;
use super::{Exit, Failure};

/// Examines this machine, prints what was found, and exits by the verdict.
pub(super) fn run(options: DoctorArgs) -> Result<Exit, Failure> {
    let found = doctor::examine(&doctor::Options { btf: options.btf });
    let text = match options.output {
        Document::Text => doctor::text(&found),
        Document::Json => {
            let json = serde_json::to_string_pretty(&found);
            json.context("cannot write the findings as JSON")? + "\n"
        }
    };
    print(&text)?;
    Ok(match found.verdict {
        Verdict::Works => Exit::Ok,
        Verdict::Degraded => Exit::Failed,
        Verdict::Cannot => Exit::Unable,
    })
}
