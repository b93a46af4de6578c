//! Reading a report that a user names.

use std::path::{Path, PathBuf};

use serde::Deserialize;

use crate::report::{Process, Report, SCHEMA_VERSION};

/// Why a file cannot be compared.
#[derive(Debug, thiserror::Error)]
pub enum CompareError {
    /// It cannot be read.
    #[error("cannot read {path}: {source}; give the path of a report (gohang trace -o json)", path = path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// It is not JSON, or more than one document.
    #[error("{path} is not one JSON document: {source}; make it with: gohang trace -o json (not jsonl)", path = path.display())]
    NotJson {
        /// The file.
        path: PathBuf,
        /// Where it fails.
        source: serde_json::Error,
    },
    /// It is of another version.
    #[error("{path} has schema_version {got}, this gohang compares version {SCHEMA_VERSION}: use the gohang that wrote it, or trace again", path = path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        got: String,
    },
    /// It is JSON, but no report.
    #[error("{path} is JSON, but no report of gohang trace: {reason}", path = path.display())]
    NotReport {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
}

/// The one field that says how to read the others.
#[derive(Deserialize)]
struct Head {
    schema_version: Option<serde_json::Value>,
}

/// Reads a report from a file.
///
/// # Errors
/// Not readable, not JSON, another version, or no report.
pub fn read_report(path: &Path) -> Result<Report, CompareError> {
    let bytes = std::fs::read(path).map_err(|source| CompareError::Read {
        path: path.to_owned(),
        source,
    })?;
    parse(path, &bytes)
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Report, CompareError> {
    let no_report = |reason: String| CompareError::NotReport {
        path: path.to_owned(),
        reason,
    };
    let head: Head = serde_json::from_slice(bytes).map_err(|source| {
        if source.is_data() {
            no_report(source.to_string())
        } else {
            CompareError::NotJson {
                path: path.to_owned(),
                source,
            }
        }
    })?;
    match head.schema_version {
        None => return Err(no_report("it has no schema_version".to_owned())),
        Some(version) if version == SCHEMA_VERSION => (),
        Some(version) => {
            return Err(CompareError::Version {
                path: path.to_owned(),
                got: version.to_string(),
            });
        }
    }
    let report: Report =
        serde_json::from_slice(bytes).map_err(|error| no_report(error.to_string()))?;
    if !sums_fit(&report.processes) {
        return Err(no_report(
            "its figures are larger than any trace's".to_owned(),
        ));
    }
    Ok(report)
}

/// Whether every sum that is made of a run's figures stays below 2^64.
fn sums_fit(processes: &[Process]) -> bool {
    let mut counts: u128 = 0;
    let mut times: u128 = 0;
    for process in processes {
        let buckets = [
            &process.delivery.buckets,
            &process.stall.buckets,
            &process.runqueue.buckets,
        ];
        counts += buckets
            .into_iter()
            .flatten()
            .map(|b| u128::from(b.count))
            .sum::<u128>();
        counts += process
            .outcomes
            .values()
            .map(|count| u128::from(*count))
            .sum::<u128>();
        counts += process
            .causes
            .values()
            .map(|share| u128::from(share.count))
            .sum::<u128>();
        for count in [
            process.coalesced,
            process.delivery.count,
            process.stall.count,
            process.runqueue.count,
        ] {
            counts += u128::from(count);
        }
        times += process
            .causes
            .values()
            .map(|share| u128::from(share.total_ns))
            .sum::<u128>();
        for time in [
            process.stall.total_ns,
            process.runqueue.total_ns,
            process.running_ns,
        ] {
            times += u128::from(time);
        }
    }
    counts <= u128::from(u64::MAX) && times <= u128::from(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::{json, sample};
    use proptest::prelude::*;

    fn of(bytes: &[u8]) -> Result<Report, String> {
        parse(Path::new("a.json"), bytes).map_err(|error| error.to_string())
    }

    fn sample() -> Vec<u8> {
        let mut out = Vec::new();
        json::write_report(&mut out, &sample::report()).expect("a Vec takes all");
        out
    }

    #[test]
    fn a_report_comes_back_from_its_file() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), sample()).expect("written");
        assert_eq!(
            read_report(file.path()).expect("a report"),
            sample::report()
        );
    }

    #[test]
    fn every_bad_file_has_its_message() {
        let missing = read_report(Path::new("/nonexistent/a.json")).expect_err("missing");
        assert!(
            missing
                .to_string()
                .starts_with("cannot read /nonexistent/a.json: No such file")
        );
        let two = [sample(), sample()].concat();
        for (bytes, want) in [
            (
                &b""[..],
                "a.json is not one JSON document: EOF while parsing",
            ),
            (
                b"hello",
                "a.json is not one JSON document: expected value at line 1",
            ),
            (&two, "a.json is not one JSON document: trailing characters"),
            (
                b"{}",
                "a.json is JSON, but no report of gohang trace: it has no schema_version",
            ),
            (
                b"[1]",
                "a.json is JSON, but no report of gohang trace: invalid",
            ),
            (
                b"{\"schema_version\": 99}",
                "a.json has schema_version 99, this gohang compares version 1",
            ),
            (
                b"{\"schema_version\": \"1\"}",
                "a.json has schema_version \"1\", this gohang compares",
            ),
            (
                b"{\"schema_version\": 1}",
                "a.json is JSON, but no report of gohang trace: missing field",
            ),
        ] {
            let error = of(bytes).expect_err("bad");
            assert!(error.starts_with(want), "{error}");
        }
    }

    #[test]
    fn figures_that_cannot_be_added_are_refused() {
        let mut report = sample::report();
        report.processes[0].running_ns = u64::MAX;
        let bytes = serde_json::to_vec(&report).expect("JSON");
        assert!(
            of(&bytes)
                .expect_err("too large")
                .ends_with("larger than any trace's")
        );
    }

    proptest! {
        #[test]
        fn damaged_reports_never_panic(at in 0usize..6000, byte in any::<u8>(), cut in any::<bool>()) {
            let mut bytes = sample();
            let at = at % bytes.len();
            if cut { bytes.truncate(at) } else { bytes[at] = byte }
            if let Ok(report) = of(&bytes) {
                let compared = crate::compare::compare(&report, &sample::report());
                let _ = crate::compare::text(&compared, 100, false);
            }
        }
    }
}
