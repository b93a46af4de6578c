//! What an injector says about an episode that it has made.

use std::fmt;
use std::str::FromStr;

use anyhow::{Context, Error, Result, bail};

/// A cause of delay.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Cause {
    /// Out of quota.
    Throttled,
    /// Blocked by the thread's mask.
    Masked,
    /// In an uninterruptible sleep.
    Blocked,
    /// Waiting for a CPU.
    RunQueue,
    /// On a CPU.
    Running,
}

impl Cause {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::Throttled,
        Self::Masked,
        Self::Blocked,
        Self::RunQueue,
        Self::Running,
    ];

    /// Its name, which is also that in the output of the program under test.
    pub fn name(self) -> &'static str {
        match self {
            Self::Throttled => "throttled",
            Self::Masked => "masked",
            Self::Blocked => "blocked",
            Self::RunQueue => "runqueue",
            Self::Running => "running",
        }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for Cause {
    type Err = Error;

    fn from_str(name: &str) -> Result<Self> {
        let found = Self::ALL.into_iter().find(|c| c.name() == name);
        found.with_context(|| format!("no cause is called {name:?}"))
    }
}

/// An injected signal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label {
    /// The thread that it was sent to.
    pub tid: u32,
    /// CLOCK_MONOTONIC before the send, ns.
    pub before_ns: u64,
    /// CLOCK_MONOTONIC after the send, ns.
    pub after_ns: u64,
    /// What delayed it.
    pub cause: Cause,
    /// Whether that is certain; if not, the episode exists, and that is all.
    pub certain: bool,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = if self.certain { "certain" } else { "uncertain" };
        let Self { tid, cause, .. } = self;
        write!(
            f,
            "{tid} {} {} {cause} {word}",
            self.before_ns, self.after_ns
        )
    }
}

impl FromStr for Label {
    type Err = Error;

    fn from_str(line: &str) -> Result<Self> {
        let bad = || format!("not a label: {line:?}");
        let words: Vec<&str> = line.split(' ').collect();
        let [tid, before, after, cause, certain] = words[..] else {
            bail!(bad());
        };
        Ok(Self {
            tid: tid.parse().with_context(bad)?,
            before_ns: before.parse().with_context(bad)?,
            after_ns: after.parse().with_context(bad)?,
            cause: cause.parse().with_context(bad)?,
            certain: match certain {
                "certain" => true,
                "uncertain" => false,
                _ => bail!(bad()),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_label_is_read_as_written() {
        for (cause, certain) in Cause::ALL
            .into_iter()
            .zip([true, false].into_iter().cycle())
        {
            let label = Label {
                tid: 7,
                before_ns: 10,
                after_ns: 12,
                cause,
                certain,
            };
            assert_eq!(label.to_string().parse::<Label>().unwrap(), label);
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for line in [
            "",
            "1 2 3 running",
            "1 2 3 running perhaps",
            "1 2 3 sleeping certain",
            "1 2 x running certain",
            "1 2 3 running certain more",
        ] {
            assert!(line.parse::<Label>().is_err(), "{line:?}");
        }
    }
}
