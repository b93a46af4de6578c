//! Go's version strings.

use std::fmt;

/// The text is not a version that a Go linker writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a Go version")]
pub struct NotAVersion(String);

/// A version as the Go linker writes it into a program.
///
/// `go1.27.3`, `go1.28rc1`, `go1.25.1 X:synctest`, `devel go1.28-0a1b2c3 Mon ...`,
/// `devel +0a1b2c3 ...` and `unknown` (which name no release; the second is what
/// obfuscators leave), and those with a vendor's suffix.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoVersion {
    raw: String,
    release: Option<Release>,
    devel: bool,
    experiments: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Release {
    minor: u32,
    patch: Option<u32>,
}

impl GoVersion {
    /// Parses `raw`, as found in a program.
    ///
    /// # Errors
    /// [`NotAVersion`] when it is none of the forms above.
    pub fn parse(raw: &str) -> Result<Self, NotAVersion> {
        let refuse = || NotAVersion(raw.chars().take(80).collect());
        let raw = raw.trim();
        let (rest, devel) = match raw.strip_prefix("devel ") {
            Some(rest) => (rest.trim_start(), true),
            None => (raw, false),
        };
        let release = match rest.strip_prefix("go1") {
            Some(rest) => Some(parse_release(rest).ok_or_else(refuse)?),
            None if devel && !rest.is_empty() || rest == "unknown" => None,
            None => return Err(refuse()),
        };
        // "X:a,b" stands at the end, after a blank.
        let experiments = raw
            .split_ascii_whitespace()
            .find_map(|word| word.strip_prefix("X:"))
            .map(|list| {
                list.split(',')
                    .filter(|x| !x.is_empty())
                    .map(Into::into)
                    .collect()
            })
            .unwrap_or_default();
        Ok(Self {
            raw: raw.into(),
            release,
            devel,
            experiments,
        })
    }

    /// The text as it stands in the program.
    #[must_use]
    pub fn raw(&self) -> &str {
        &self.raw
    }

    /// The 27 of `go1.27.3`; for a development version, of the release it leads to.
    /// `None` when the version names no release.
    #[must_use]
    pub fn minor(&self) -> Option<u32> {
        self.release.map(|release| release.minor)
    }

    /// The 3 of `go1.27.3`; `None` for `go1.20`, release candidates and development.
    #[must_use]
    pub fn patch(&self) -> Option<u32> {
        self.release.and_then(|release| release.patch)
    }

    /// Whether it was built from the development tree, not from a release.
    #[must_use]
    pub fn is_devel(&self) -> bool {
        self.devel
    }

    /// The experiments (`GOEXPERIMENT`) that differ from the release's defaults.
    #[must_use]
    pub fn experiments(&self) -> &[String] {
        &self.experiments
    }

    /// Whether it is `go1.minor` or later; a version without a release counts as later.
    #[must_use]
    pub fn at_least(&self, minor: u32) -> bool {
        self.minor().is_none_or(|own| own >= minor)
    }
}

/// The version without experiments, vendor and date: `go1.27.3`, `devel go1.28-0a1b2c3`.
impl fmt::Display for GoVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut words = self.raw.split_ascii_whitespace();
        f.write_str(words.next().unwrap_or_default())?;
        if self.devel
            && let Some(word) = words.next()
        {
            write!(f, " {word}")?;
        }
        Ok(())
    }
}

/// What follows `go1`: nothing (`go1`), `.20`, `.20.3`, `.21rc2`, `.28-0a1b2c3`, `.18.5b7` ...
fn parse_release(rest: &str) -> Option<Release> {
    let Some(rest) = rest.strip_prefix('.') else {
        // "go1" alone; "go1x" is no version.
        let ends = rest.is_empty() || rest.starts_with(' ');
        return ends.then_some(Release {
            minor: 0,
            patch: None,
        });
    };
    let (minor, rest) = leading_number(rest)?;
    let patch = rest
        .strip_prefix('.')
        .and_then(leading_number)
        .map(|(patch, _)| patch);
    Some(Release { minor, patch })
}

fn leading_number(text: &str) -> Option<(u32, &str)> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (digits, rest) = text.split_at(end);
    Some((digits.parse().ok()?, rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn every_form_the_linker_writes() {
        for (raw, minor, patch, devel, shown, experiments) in [
            ("go1.27.3", Some(27), Some(3), false, "go1.27.3", &[][..]),
            ("go1.20", Some(20), None, false, "go1.20", &[]),
            ("go1.28rc1", Some(28), None, false, "go1.28rc1", &[]),
            ("go1", Some(0), None, false, "go1", &[]),
            (
                "go1.25.1 X:synctest,jsonv2",
                Some(25),
                Some(1),
                false,
                "go1.25.1",
                &["synctest", "jsonv2"],
            ),
            ("go1.18.5b7", Some(18), Some(5), false, "go1.18.5b7", &[]),
            (
                "go1.22.5 (Red Hat 1.22.5-1.el9)",
                Some(22),
                Some(5),
                false,
                "go1.22.5",
                &[],
            ),
            (
                "devel go1.28-abc",
                Some(28),
                None,
                true,
                "devel go1.28-abc",
                &[],
            ),
            (
                "devel go1.28-0a1b2c3 Mon Jan 5 10:00:00 2026 +0000 X:nogreenteagc",
                Some(28),
                None,
                true,
                "devel go1.28-0a1b2c3",
                &["nogreenteagc"],
            ),
            ("unknown", None, None, false, "unknown", &[]),
            (
                "devel +0a1b2c3 Mon Jan 5",
                None,
                None,
                true,
                "devel +0a1b2c3",
                &[],
            ),
        ] {
            let version = GoVersion::parse(raw).unwrap();
            assert_eq!(version.minor(), minor, "{raw}");
            assert_eq!(version.patch(), patch, "{raw}");
            assert_eq!(version.is_devel(), devel, "{raw}");
            assert_eq!(version.to_string(), shown);
            assert_eq!(version.experiments(), experiments, "{raw}");
            assert_eq!(version.raw(), raw);
        }
    }

    #[test]
    fn anything_else_is_refused() {
        for raw in [
            "", "go", "1.27.3", "go2.0", "go1x", "go1.", "go1.x", "devel", "devel ", "gopher",
        ] {
            assert!(GoVersion::parse(raw).is_err(), "{raw:?}");
        }
        assert!(GoVersion::parse("go1.99999999999").is_err());
    }

    #[test]
    fn comparison_goes_by_release() {
        let at_least = |raw: &str, minor| GoVersion::parse(raw).unwrap().at_least(minor);
        assert!(at_least("go1.25.0", 25) && !at_least("go1.24.11", 25));
        assert!(at_least("devel +abc", 25));
    }

    proptest! {
        #[test]
        fn parsing_never_panics(raw in "(devel )?(go1)?\\PC{0,40}") {
            if let Ok(version) = GoVersion::parse(&raw) {
                prop_assert!(!version.to_string().is_empty());
            }
        }
    }
}
