//! Which of the built Go workloads a machine is given: its memory, and its start, take each
//! of them.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

/// What tests want, by what their names begin with; the longest decides.
const WANTED: [(&str, &[&str]); 19] = [
    ("", &ALL),
    ("agreement::", &[]),
    ("agreement::go", &STALL),
    ("alerts::", &STALL),
    ("causes::", &[]),
    ("chain::starved", &STALL),
    ("churn::", &[]),
    ("components::", &[]),
    ("cost::", &[]),
    ("input::lockdown", &[]),
    ("input::no_cpu_controller", &[]),
    ("ladder::", &[]),
    ("life::", &[]),
    ("preempted::", &STALL),
    ("recording::", &STALL),
    ("reference::", &[]),
    ("shape::", &[]),
    ("storm::", &[]),
    ("throttle::", &[]),
];

/// Every file there is.
const ALL: [&str; 1] = ["*"];

/// The programs of `Workload::all` there (tests/src/go.rs).
const STALL: [&str; 6] = [
    "stall-1.21.13",
    "stall-1.21.13-stripped",
    "stall-1.24.11",
    "stall-1.24.11-stripped",
    "stall-1.27.3",
    "stall-1.27.3-stripped",
];

/// A test that runs whatever it is given of [`STALL`], and what that is on a kernel that
/// stands between two others in the short form.
const FEW: (&str, [&str; 2]) = (
    "agreement::go_quota",
    ["stall-1.24.11-stripped", "stall-1.27.3"],
);

/// The program that runs while the verifier's statistics are taken.
pub const RUNNING: &str = "stall-1.27.3";

/// Names of the files that a machine is given for these tests; `few` where it may be fewer,
/// `statistics` where the verifier's are taken.
fn names<'a>(
    tests: impl Iterator<Item = &'a str>,
    few: bool,
    statistics: bool,
) -> BTreeSet<&'static str> {
    let mut names = BTreeSet::new();
    for test in tests {
        if few && test == FEW.0 {
            names.extend(FEW.1);
            continue;
        }
        let fitting = WANTED.iter().filter(|(part, _)| test.starts_with(part));
        let longest = fitting.max_by_key(|(part, _)| part.len());
        names.extend(longest.into_iter().flat_map(|(_, names)| names.iter()));
    }
    names.extend(statistics.then_some(RUNNING));
    names
}

/// The files below `folder` that a machine is given; see [`names`].
///
/// # Errors
/// The folder cannot be read.
pub fn files(folder: &Path, tests: &[String], few: bool, statistics: bool) -> Result<Vec<PathBuf>> {
    let wanted = names(tests.iter().map(String::as_str), few, statistics);
    let context = || format!("could not read {}", folder.display());
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).with_context(context)? {
        let entry = entry.with_context(context)?;
        let name = entry.file_name();
        let is_wanted =
            wanted.contains(ALL[0]) || name.to_str().is_some_and(|n| wanted.contains(n));
        if is_wanted && entry.file_type().with_context(context)?.is_file() {
            files.push(entry.path());
        }
    }
    files.sort();
    Ok(files)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(tests: &[&str], few: bool, statistics: bool) -> Vec<&'static str> {
        names(tests.iter().copied(), few, statistics)
            .into_iter()
            .collect()
    }

    #[test]
    fn tests_are_given_what_they_want() {
        assert!(of(&["throttle::scenes", "causes::confusion"], false, false).is_empty());
        assert_eq!(of(&["throttle::scenes"], false, true), [RUNNING]);
        assert_eq!(of(&["agreement::go_quota"], false, false), STALL);
        assert_eq!(of(&["agreement::go_quota"], true, false), FEW.1);
        assert_eq!(of(&["agreement::go"], true, false), STALL);
        assert!(of(&["agreement::plain"], false, false).is_empty());
        assert_eq!(of(&["inspect::moves"], true, true), ["*", RUNNING]);
        assert!(FEW.1.iter().all(|name| STALL.contains(name)));
    }

    #[test]
    fn files_are_those_and_no_folders() {
        let folder = tempfile::tempdir().expect("a folder");
        for name in ["stall-1.27.3", "facts"] {
            fs::write(folder.path().join(name), "").expect("written");
        }
        fs::create_dir(folder.path().join("cache")).expect("made");
        let of = |test: &str, statistics| {
            files(folder.path(), &[test.to_owned()], false, statistics).expect("readable")
        };
        let path = |name| folder.path().join(name);
        assert_eq!(of("throttle::scenes", true), [path("stall-1.27.3")]);
        assert_eq!(
            of("inspect::moves", false),
            [path("facts"), path("stall-1.27.3")]
        );
        assert!(of("throttle::scenes", false).is_empty());
    }
}
