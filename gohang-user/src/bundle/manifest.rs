//! The list of a bundle's members.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Its name in the bundle.
pub const MANIFEST: &str = "manifest.json";
/// Raised when a field changes its meaning or goes away.
pub(super) const SCHEMA_VERSION: u32 = 1;

/// What a bundle holds, and how it came to be.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Manifest {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Version of gohang that wrote it.
    pub gohang_version: String,
    /// Kernel release, as `uname -r`.
    pub kernel: String,
    /// Go versions of the programs that ran, as `go1.24.11`.
    pub go: Vec<String>,
    /// The command.
    pub command: Vec<String>,
    /// When it was written (RFC 3339).
    pub written: String,
    /// Environment values, secrets and host names were replaced.
    pub redacted: bool,
    /// Most bytes that the members may have together.
    pub size_cap_bytes: u64,
    /// How each step of collecting went.
    pub collectors: Vec<Collector>,
    /// The tracer's loss line; null without a trace.
    pub loss: Option<String>,
    /// The members but for this one, in their order.
    pub members: Vec<Member>,
    /// What there was no room for.
    pub left_out: Vec<LeftOut>,
}

/// A member.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Member {
    /// Its name.
    pub name: String,
    /// Its size.
    pub bytes: u64,
    /// Its SHA-256, in hexadecimal digits.
    pub sha256: String,
    /// The size that it had before its middle was left out; null when it is whole.
    pub cut_from_bytes: Option<u64>,
}

impl Member {
    pub(super) fn of(name: &str, content: &[u8], cut_from_bytes: Option<u64>) -> Self {
        Self {
            name: name.to_owned(),
            bytes: content.len() as u64,
            sha256: checksum(content),
            cut_from_bytes,
        }
    }
}

/// Something for which there was no room.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct LeftOut {
    /// The name that it would have had.
    pub name: String,
    /// Its size.
    pub bytes: u64,
}

/// A step of collecting.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Collector {
    /// Its name.
    pub name: String,
    /// How it went.
    pub status: Status,
    /// How long it took; null when it was not begun.
    pub took_ns: Option<u64>,
    /// Why it failed, or what it found.
    pub note: String,
}

/// How a step went.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Status {
    /// All is there.
    Done,
    /// It failed.
    Failed,
    /// It took longer than it may.
    TimedOut,
    /// It was not begun.
    Skipped,
}

pub(super) fn checksum(content: &[u8]) -> String {
    let digest = Sha256::digest(content);
    digest.iter().map(|byte| format!("{byte:02x}")).collect()
}
