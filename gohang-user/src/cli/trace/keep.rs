//! Writing a recording beside the report.

use std::fs::{File, OpenOptions};
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::Context as _;

use super::super::Failure;
use super::super::report::Writer;

/// A file that a recording will go to.
pub(super) struct Place {
    file: File,
    path: PathBuf,
}

/// The file of a recording under way.
pub(super) struct Keeper {
    writer: Writer,
    path: PathBuf,
    /// Time since the begin at which totals are due.
    due: Duration,
}

/// Totals are recorded after this long, for the case that the end is not.
const FIRST_TOTALS: Duration = Duration::from_secs(1);
/// Then whenever the trace is longer by this part: few of them in a long one.
const LONGER_BY: u32 = 10;
/// Looks come every second, but not to the microsecond.
const SLACK: Duration = Duration::from_millis(100);

impl Place {
    /// Creates the file, or empties it.
    pub fn open(path: &Path) -> Result<Self, Failure> {
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .with_context(|| format!("cannot write the recording {}", path.display()))
            .map_err(Failure::usage)?;
        Ok(Self {
            file,
            path: path.to_owned(),
        })
    }

    /// Starts the thread that writes.
    pub fn start(self) -> io::Result<Keeper> {
        Ok(Keeper {
            writer: Writer::new(Box::new(self.file))?,
            path: self.path,
            due: FIRST_TOTALS,
        })
    }
}

impl Keeper {
    /// Writes whole frames. Waits for a slow file: what then does not fit into
    /// the ring is lost to the report as well, and both stay the same.
    pub fn write(&self, frames: Vec<u8>) {
        if !frames.is_empty() {
            self.writer.insist(frames);
        }
    }

    /// Whether totals are due; if so, the next are due later.
    pub fn due(&mut self, since_begin: Duration) -> bool {
        let due = since_begin + SLACK >= self.due;
        if due {
            self.due = since_begin + (since_begin / LONGER_BY).max(FIRST_TOTALS);
        }
        due
    }

    /// Waits until all is written.
    pub fn finish(self) -> Result<(), Failure> {
        self.writer.finish().with_context(|| {
            format!(
                "cannot write the recording {}, which lacks its end",
                self.path.display()
            )
        })?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_get_rarer() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place::open(&folder.path().join("r")).expect("created");
        let mut keeper = place.start().expect("a thread");
        let count = |keeper: &mut Keeper, seconds: std::ops::Range<u64>| {
            seconds
                .filter(|second| keeper.due(Duration::from_secs(*second)))
                .count()
        };
        assert_eq!(count(&mut keeper, 0..11), 10);
        // A look that comes early is not in vain.
        let mut keeper = Keeper {
            due: FIRST_TOTALS,
            ..keeper
        };
        for millis in [1003, 2001, 3000] {
            assert!(keeper.due(Duration::from_millis(millis)), "{millis}");
        }
        keeper.due = Duration::from_secs(11);
        let hour = count(&mut keeper, 11..3600);
        assert!((50..100).contains(&hour), "{hour}");
    }
}
