//! A bundle told again.

use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::bundle::{Bundle, Collector, FileState, MANIFEST, Status};
use crate::process::escape;
use crate::run::explain::Verdict;
use crate::units;

/// Raised when a field changes its meaning or goes away.
pub const OPENED_VERSION: u32 = 1;

/// What a bundle holds: `gohang open -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Opened {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Nothing is missing or changed.
    pub whole: bool,
    /// What is wrong with it.
    pub problems: Vec<String>,
    /// The verdict; null if that cannot be read.
    pub verdict: Option<Verdict>,
    /// Version of gohang that wrote it.
    pub gohang_version: Option<String>,
    /// Kernel release.
    pub kernel: Option<String>,
    /// Go versions.
    pub go: Vec<String>,
    /// It was redacted.
    pub redacted: Option<bool>,
    /// The tracer's loss line.
    pub loss: Option<String>,
    /// How the collecting went.
    pub collectors: Vec<Collector>,
    /// What it holds or should hold.
    pub members: Vec<OpenedMember>,
}

/// A member.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct OpenedMember {
    /// Its name.
    pub name: String,
    /// Its size, as it should be.
    pub bytes: u64,
    /// Whether it is what was written.
    pub state: FileState,
    /// Its middle was left out.
    pub cut: bool,
}

/// What a bundle holds.
#[must_use]
pub fn open(bundle: &Bundle) -> Opened {
    let mut problems: Vec<String> = bundle.problems.iter().map(ToString::to_string).collect();
    let verdict = match bundle
        .members
        .get("verdict.json")
        .map(|text| serde_json::from_slice(text))
    {
        Some(Ok(verdict)) => Some(verdict),
        Some(Err(why)) => {
            problems.push(format!("its verdict.json cannot be read ({why})"));
            None
        }
        None => None,
    };
    let manifest = bundle.manifest.as_ref();
    let state = |name: &str| {
        bundle
            .problems
            .iter()
            .find_map(|problem| match problem {
                crate::bundle::Problem::Member(of, state) if of == name => Some(*state),
                _ => None,
            })
            .unwrap_or(FileState::Whole)
    };
    let mut members: Vec<OpenedMember> = manifest
        .iter()
        .flat_map(|manifest| &manifest.members)
        .map(|member| OpenedMember {
            name: member.name.clone(),
            bytes: member.bytes,
            state: state(&member.name),
            cut: member.cut_from_bytes.is_some(),
        })
        .collect();
    let unlisted = bundle.members.iter().filter(|(name, _)| {
        *name != MANIFEST && !members.iter().any(|member| member.name == **name)
    });
    let unlisted: Vec<OpenedMember> = unlisted
        .map(|(name, content)| OpenedMember {
            name: name.clone(),
            bytes: content.len() as u64,
            state: FileState::Unlisted,
            cut: false,
        })
        .collect();
    members.extend(unlisted);
    Opened {
        schema_version: OPENED_VERSION,
        whole: problems.is_empty(),
        problems,
        verdict,
        gohang_version: manifest.map(|manifest| manifest.gohang_version.clone()),
        kernel: manifest.map(|manifest| manifest.kernel.clone()),
        go: manifest.map_or_else(Vec::new, |manifest| manifest.go.clone()),
        redacted: manifest.map(|manifest| manifest.redacted),
        loss: manifest.and_then(|manifest| manifest.loss.clone()),
        collectors: manifest.map_or_else(Vec::new, |manifest| manifest.collectors.clone()),
        members,
    }
}

/// The same for people; every line harmless for a terminal.
#[must_use]
pub fn open_text(bundle: &Bundle, opened: &Opened) -> String {
    let mut text = String::new();
    match bundle.members.get("VERDICT.md") {
        Some(verdict) => {
            for line in String::from_utf8_lossy(verdict).lines() {
                let _ = writeln!(text, "{}", escape(line));
            }
        }
        None => text.push_str("The verdict (VERDICT.md) is missing.\n"),
    }
    if !opened.collectors.is_empty() {
        text.push_str("\n## Collecting\n\n");
    }
    for collector in &opened.collectors {
        let how = match collector.status {
            Status::Done => "done",
            Status::Failed => "failed",
            Status::TimedOut => "timed out",
            Status::Skipped => "skipped",
        };
        let took = collector
            .took_ns
            .map_or_else(String::new, |ns| format!(" in {}", units::duration(ns)));
        let note = if collector.note.is_empty() {
            String::new()
        } else {
            format!(": {}", escape(&collector.note))
        };
        let _ = writeln!(text, "- {} {how}{took}{note}", escape(&collector.name));
    }
    let versions = [
        opened
            .gohang_version
            .as_ref()
            .map(|version| format!("gohang {version}")),
        opened
            .kernel
            .as_ref()
            .map(|kernel| format!("Linux {kernel}")),
        (!opened.go.is_empty()).then(|| opened.go.join(", ")),
        opened.loss.clone(),
    ];
    text.push_str("\n## Contents\n\n");
    for line in versions.into_iter().flatten() {
        let _ = writeln!(text, "- {}", escape(line));
    }
    for member in &opened.members {
        let state = match member.state {
            FileState::Whole if member.cut => ", its middle was left out",
            FileState::Whole => "",
            FileState::Missing => ", MISSING",
            FileState::Changed => ", CHANGED",
            FileState::Unlisted => ", not in the manifest",
        };
        let _ = writeln!(
            text,
            "- {} ({} bytes{state})",
            escape(&member.name),
            member.bytes
        );
    }
    for problem in &opened.problems {
        let _ = writeln!(text, "- not whole: {}", escape(problem));
    }
    text
}
