//! Who keeps what is known of a command that hung.

use std::path::PathBuf;

use super::evidence::{Evidence, Tests};

/// Judges and keeps the evidence. A keeper that fails says why in a line, and nothing else
/// of the run changes.
pub trait Keeper: std::fmt::Debug {
    /// What is known so far, judged and written. It is called as soon as the first steps are
    /// done, within some seconds of the decision; again when the CPU limit has been lifted, and
    /// when goroutines are known, before SIGTERM. Of the lines that it gives, the last ones are
    /// said on standard error at the end.
    ///
    /// # Errors
    /// Why it could not be written, in a line.
    fn judge(&mut self, evidence: &Evidence) -> Result<Judged, String>;

    /// Keeps everything, once the command has been ended.
    ///
    /// # Errors
    /// Why it could not be written, in a line.
    fn keep(&mut self, evidence: &Evidence) -> Result<Judged, String>;

    /// The command has ended by itself.
    ///
    /// # Errors
    /// Why it could not be written, in a line.
    fn ended(&mut self, tests: &Tests) -> Result<(), String>;
}

/// What a keeper has done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Judged {
    /// The verdict, to be said.
    pub lines: Vec<String>,
    /// Where the verdict is.
    pub verdict: Option<PathBuf>,
    /// Where the bundle is.
    pub bundle: Option<PathBuf>,
}

/// Keeps nothing: the verdict is said, and that is all.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoKeeper;

impl Keeper for NoKeeper {
    fn judge(&mut self, _: &Evidence) -> Result<Judged, String> {
        Ok(Judged::default())
    }

    fn keep(&mut self, _: &Evidence) -> Result<Judged, String> {
        Ok(Judged::default())
    }

    fn ended(&mut self, _: &Tests) -> Result<(), String> {
        Ok(())
    }
}
