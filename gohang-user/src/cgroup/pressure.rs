//! Pressure stall information (PSI) of a group or of the machine.

use std::path::Path;

use super::error::{CgroupError, read_optional};

/// Time in which tasks waited for a resource.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Stall {
    /// Share of the last 10 s, in per cent.
    pub avg10: f64,
    /// Share of the last 60 s, in per cent.
    pub avg60: f64,
    /// Share of the last 300 s, in per cent.
    pub avg300: f64,
    /// All of it so far, in nanoseconds.
    pub total_ns: u64,
}

/// What one file of pressure says.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Pressure {
    /// At least one task waited.
    pub some: Stall,
    /// All tasks that were not idle waited.
    pub full: Option<Stall>,
}

impl Pressure {
    /// Parses the text (Documentation/accounting/psi.rst).
    ///
    /// # Errors
    /// What is not in that form.
    pub fn parse(text: &str) -> Result<Self, String> {
        let find = |kind: &str| {
            let mut lines = text.lines();
            lines.find_map(|line| line.strip_prefix(kind)?.strip_prefix(' '))
        };
        let some = find("some").ok_or("there is no line \"some\"")?;
        Ok(Self {
            some: stall(some)?,
            full: find("full").map(stall).transpose()?,
        })
    }

    /// Reads the file `name` (`cpu.pressure`, `memory.pressure`) in `dir`; `None` when there
    /// is none, or the kernel does not count (EOPNOTSUPP without `psi=1`).
    ///
    /// # Errors
    /// [`CgroupError::Gone`] when the group was removed.
    pub fn read(dir: &Path, name: &str) -> Result<Option<Self>, CgroupError> {
        let text = match read_optional(dir, name) {
            Ok(text) => text,
            Err(CgroupError::Read { source, .. })
                if source.raw_os_error() == Some(libc::EOPNOTSUPP) =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        let parsed = text.map(|text| Self::parse(&text)).transpose();
        parsed.map_err(|what| CgroupError::Malformed {
            path: dir.join(name),
            what,
        })
    }
}

fn stall(line: &str) -> Result<Stall, String> {
    let mut stall = Stall::default();
    for word in line.split_ascii_whitespace() {
        let bad = || format!("{word:?} has no usable number");
        let (name, value) = word.split_once('=').ok_or_else(bad)?;
        let share = || {
            let share = value.parse::<f64>().ok().filter(|share| share.is_finite());
            share.ok_or_else(bad)
        };
        match name {
            "avg10" => stall.avg10 = share()?,
            "avg60" => stall.avg60 = share()?,
            "avg300" => stall.avg300 = share()?,
            "total" => {
                let total = value.parse::<u64>().ok();
                let total = total.and_then(|usec| usec.checked_mul(1000));
                stall.total_ns = total.ok_or_else(bad)?;
            }
            _ => {}
        }
    }
    Ok(stall)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;

    const TEXT: &str = "some avg10=12.50 avg60=3.00 avg300=0.01 total=1234567\n\
        full avg10=1.00 avg60=0.00 avg300=0.00 total=5\n";

    #[test]
    fn both_lines_one_and_none() {
        let both = Pressure::parse(TEXT).unwrap();
        assert_eq!(both.some.avg10, 12.5);
        assert_eq!(both.some.total_ns, 1_234_567_000);
        assert_eq!(both.full.unwrap().total_ns, 5000);
        let line = TEXT.lines().next().unwrap();
        assert_eq!(Pressure::parse(line).unwrap().full, None);
        for text in [
            "",
            "full avg10=0",
            "some avg10=x",
            "some total=-1",
            "some x",
        ] {
            assert!(Pressure::parse(text).is_err(), "{text}");
        }
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(Pressure::read(dir.path(), "cpu.pressure").unwrap(), None);
        fs::write(dir.path().join("cpu.pressure"), TEXT).unwrap();
        let read = Pressure::read(dir.path(), "cpu.pressure").unwrap();
        assert_eq!(read, Some(both));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "(some|full)( (avg10|total)=[0-9.eE+-]{0,25}){0,3}|.{0,60}") {
            let _ = Pressure::parse(&text);
        }
    }
}
