//! Where events come from. Everything behind a [`Source`] runs and is tested
//! without privileges.

mod check;
mod counted;
mod facts;
mod live;
mod pending;
mod recorded;
#[cfg(test)]
mod recorded_tests;
pub mod recording;
mod select;
mod senders;
mod signals;
mod slices;
mod synthetic;

pub use check::{SelectError, check_pids};
pub use facts::{Enricher, Facts, GroupFacts, monotonic_ns, now, same_start};
pub use live::{Live, LiveOptions};
pub use recorded::{Ending, Recorded};
pub use select::Selection;
pub use senders::SenderUse;
pub use signals::{Dropped, SignalFacts};
pub use synthetic::Synthetic;

use crate::event::{Episode, Event};
use crate::probe::{Counters, ProbeError, Snapshot};
use serde::{Deserialize, Serialize};

use recording::RecordingError;

/// A source cannot be read any more.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// The running kernel.
    #[error(transparent)]
    Probe(#[from] ProbeError),
    /// A recording.
    #[error(transparent)]
    Recording(#[from] RecordingError),
}

/// Something that yields events and totals.
pub trait Source {
    /// Appends what has arrived since the last call, in order.
    ///
    /// # Errors
    /// The source cannot be read any more.
    fn drain(&mut self, into: &mut Vec<Item>) -> Result<(), SourceError>;

    /// Totals of everything so far.
    ///
    /// # Errors
    /// The source cannot be read any more.
    fn snapshot(&mut self) -> Result<Snapshot, SourceError>;

    /// The kernel side's counters.
    ///
    /// # Errors
    /// The source cannot be read any more.
    fn counters(&mut self) -> Result<Counters, SourceError>;

    /// Episodes that are pending at `now_ns`, each with its components so far.
    ///
    /// # Errors
    /// The source cannot be read any more.
    fn pending(&mut self, now_ns: u64) -> Result<Vec<Episode>, SourceError>;

    /// Records taken so far.
    fn taken(&self) -> Taken;
}

/// What a source yields.
#[derive(Clone, Debug)]
pub enum Item {
    /// A decoded record.
    Event(Event),
    /// A process is traced from here on, or its facts changed.
    Found(Box<Facts>),
    /// A process that was let through provisionally is not traced after all.
    Foreign(crate::event::ProcessId),
    /// How threads that send their process's signals got to run, as of now.
    Senders(Vec<SenderUse>),
    /// Totals of processes that have ended and spans of groups that were removed; they
    /// will not come again.
    Ended(Box<Snapshot>),
}

/// Records taken from the ring.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Taken {
    /// All of them.
    pub received: u64,
    /// Understood.
    pub decoded: u64,
    /// Not understood.
    pub rejected: u64,
}
