//! `gohang doctor`.

use anyhow::{Context as _, anyhow};
use gohang::doctor::{self, Finding, ProjectOptions, Severity, Verdict};
use gohang::sink::{json, pipe};

use super::args::{DoctorArgs, Document};
use super::{Exit, Failure};

/// Examines this machine and the project, prints what was found, and exits by the verdict.
pub(super) fn run(options: DoctorArgs) -> Result<Exit, Failure> {
    let project = project(&options)?;
    let found = doctor::examine(&doctor::Options {
        btf: options.btf,
        project,
    });
    let mut out = Vec::new();
    match options.output {
        Document::Text => out.extend_from_slice(doctor::text(&found).as_bytes()),
        Document::Json => json::write_document(&mut out, &found)?,
    }
    pipe::print(&out).context("cannot write the findings to stdout")?;
    if let Some(project) = &found.project {
        let warns = |finding: &Finding| finding.severity == Severity::Warning;
        return Ok(if project.findings.iter().any(warns) {
            Exit::Failed
        } else {
            Exit::Ok
        });
    }
    Ok(match found.verdict {
        Verdict::Works => Exit::Ok,
        Verdict::Degraded => Exit::Failed,
        Verdict::Cannot => Exit::Unable,
    })
}

/// The project that is asked for, if one is.
fn project(options: &DoctorArgs) -> Result<Option<ProjectOptions>, Failure> {
    if options.dir.is_none() && options.command.is_empty() {
        if options.job_limit.is_some() {
            return Err(Failure::usage(anyhow!(
                "--job-limit is for a Go project: name its directory, or the command after --"
            )));
        }
        return Ok(None);
    }
    let dir = options.dir.clone().unwrap_or_else(|| ".".into());
    if !dir.is_dir() {
        return Err(Failure::usage(anyhow!(
            "{} is no directory; name that of the Go project to look at",
            dir.display()
        )));
    }
    Ok(Some(ProjectOptions {
        dir,
        command: options.command.clone(),
        job_limit: options.job_limit,
    }))
}
