//! Recordings: what a live source yielded, to be told again by
//! [`Recorded`](super::Recorded). The records are kept as they came, so that
//! they go through the same decoder.

mod forms;
mod frame;
mod recorder;

use std::collections::BTreeMap;
use std::io;

use gohang_common::abi::ABI_VERSION;
use serde::{Deserialize, Serialize};

pub(super) use forms::{EndedForm, GroupForm, PlaceForm};
pub use frame::{FORMAT_VERSION, FRAME_HEADER, FrameReader, HEADER, Kind, MAGIC, Next};
pub use recorder::Recorder;

use super::{GroupFacts, Taken};
use crate::event::Episode;
use crate::probe::{Counters, Hook, Precision, ProgramCost, Snapshot};
use crate::report::{Limit, Machine, Moment};

/// A file that cannot be replayed.
#[derive(Debug, thiserror::Error)]
pub enum RecordingError {
    /// Something else.
    #[error("this is not a recording: give a file that `gohang trace --record FILE` wrote")]
    Foreign,
    /// Frames of another version.
    #[error(
        "it has format {got}, this gohang reads format {FORMAT_VERSION}: replay it with the gohang that recorded it"
    )]
    Format {
        /// In the file.
        got: u16,
    },
    /// Records of another version.
    #[error(
        "its records have ABI {got}, this gohang reads ABI {ABI_VERSION}: replay it with the gohang that recorded it"
    )]
    Abi {
        /// In the file.
        got: u16,
    },
    /// Truncated too early.
    #[error("it ends at byte {at}, before anything was recorded: record again")]
    NoBegin {
        /// Where.
        at: u64,
    },
    /// Its first frame makes no sense.
    #[error("it is damaged at byte {at}, before anything was recorded ({why}): record again")]
    BadBegin {
        /// Where.
        at: u64,
        /// What is wrong.
        why: String,
    },
    /// It cannot be read.
    #[error("it cannot be read: {0}")]
    Read(#[from] io::Error),
}

/// What is known when the window opens.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Begin {
    /// Version of gohang that recorded.
    pub gohang_version: String,
    /// Kernel release.
    pub kernel: String,
    /// When the window opened.
    pub start: Moment,
    /// Every hook.
    pub hooks: Vec<Hook>,
    /// What "throttled" rests on.
    pub precision: Precision,
    /// Whether spans of groups out of quota are measured.
    pub has_spans: bool,
    /// How long attaching took, ns.
    pub attach_ns: u64,
}

/// What a report needs beside the items, as of some moment.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Totals {
    /// When.
    pub at: Moment,
    /// The kernel side's totals.
    #[serde(with = "forms::snapshot")]
    pub snapshot: Snapshot,
    /// The kernel side's counters.
    #[serde(with = "forms::counters")]
    pub counters: Counters,
    /// Records taken.
    pub taken: Taken,
    /// CPU time that went elsewhere.
    pub machine: Option<Machine>,
    /// Cost of the kernel programs.
    pub costs: Vec<ProgramCost>,
    /// The probes in Go programs.
    #[serde(default)]
    pub go_hooks: Vec<Hook>,
    /// Episodes pending at the end.
    pub pending: Vec<Episode>,
    /// What was asked of control groups and senders for the report.
    pub groups: Answers,
}

/// What was asked of control groups and senders, and the answers.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Answers {
    /// A process's groups, by its id.
    pub processes: BTreeMap<u32, Option<GroupFacts>>,
    /// Path and limit, by the group's kernel id.
    pub groups: BTreeMap<u64, (Option<String>, Option<Limit>)>,
    /// A sender's name, by its process id.
    #[serde(default)]
    pub senders: BTreeMap<u32, Option<String>>,
}
