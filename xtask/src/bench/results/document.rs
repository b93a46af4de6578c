//! What the page needs of `gohang bench -o json`.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Deserialize;

use super::scenarios::Scenarios;
use crate::process::output;

/// The form of the document that is understood here.
const SCHEMA_VERSION: u32 = 1;

/// The document.
#[derive(Debug, Deserialize)]
pub struct Document {
    schema_version: u32,
    /// gohang's version.
    pub gohang_version: String,
    /// When it was started (RFC 3339).
    pub started: String,
    /// Whether it was the quick form, whose figures are rough.
    pub quick: bool,
    pub machine: Machine,
    measured: Vec<Measured>,
}

/// Where it ran.
#[derive(Debug, Deserialize)]
pub struct Machine {
    pub kernel: String,
    pub architecture: String,
    pub cpus: u64,
    pub cpu_model: Option<String>,
    pub load_before: Option<f64>,
}

#[derive(Debug, Deserialize)]
#[serde(tag = "part", rename_all = "snake_case")]
enum Measured {
    Delivery(Delivery),
    Scenarios(Scenarios),
    /// A part that the page does not have yet.
    #[serde(other)]
    Other,
}

/// The classic experiment.
#[derive(Debug, Deserialize)]
pub struct Delivery {
    pub send_every_ns: u64,
    pub run_ns: u64,
    pub precision: String,
    pub cgroup_version: u8,
    pub cells: Vec<Cell>,
    pub published: Vec<Claim>,
    pub restarted_clock_method: String,
    pub loss: BTreeMap<String, u64>,
    pub impossible: BTreeMap<String, u64>,
}

/// One run.
#[derive(Debug, Deserialize)]
pub struct Cell {
    pub quota_ns: Option<u64>,
    pub period_ns: Option<u64>,
    pub method: String,
    pub from: String,
    pub sends: u64,
    pub coalesced: u64,
    pub episodes: u64,
    pub latency: Figures,
    pub causes: BTreeMap<String, Cause>,
    pub restarted: Restarted,
}

/// Figures of a distribution.
#[derive(Debug, Deserialize)]
pub struct Figures {
    pub mean_ns: Option<u64>,
    pub deviation_ns: Option<u64>,
    pub p50_ns: Option<u64>,
    pub p99_ns: Option<u64>,
    pub max_ns: Option<u64>,
    pub buckets: Vec<Bucket>,
}

/// So many times from `lo_ns` to below `hi_ns`.
#[derive(Debug, Deserialize)]
pub struct Bucket {
    pub lo_ns: u64,
    pub hi_ns: u64,
    pub count: u64,
}

/// A cause's part.
#[derive(Debug, Deserialize)]
pub struct Cause {
    pub total_ns: u64,
}

/// What a clock restarted at every send shows.
#[derive(Debug, Deserialize)]
pub struct Restarted {
    pub latency: Figures,
    pub wrong: u64,
    pub max_error_ns: Option<u64>,
}

/// A published figure.
#[derive(Debug, Deserialize)]
pub struct Claim {
    pub quota_ns: Option<u64>,
    pub period_ns: Option<u64>,
    pub statistic: String,
    pub published_ns: u64,
    pub ways: Vec<Way>,
    pub verdict: String,
}

/// Its counterpart in one run.
#[derive(Debug, Deserialize)]
pub struct Way {
    pub method: String,
    pub from: String,
    pub measured_ns: u64,
    pub restarted_ns: u64,
    pub holds: bool,
    pub like_restarted: bool,
}

impl Document {
    /// Reads it.
    ///
    /// # Errors
    /// It is something else, or of another version.
    pub fn read(text: &str) -> Result<Self> {
        let document: Self =
            serde_json::from_str(text).context("this is no output of `gohang bench -o json`")?;
        if document.schema_version != SCHEMA_VERSION {
            bail!(
                "the document has version {}, this xtask knows {SCHEMA_VERSION}",
                document.schema_version
            );
        }
        Ok(document)
    }

    /// The classic experiment.
    ///
    /// # Errors
    /// It was not run.
    pub fn delivery(&self) -> Result<&Delivery> {
        self.measured
            .iter()
            .find_map(|measured| match measured {
                Measured::Delivery(delivery) => Some(delivery),
                Measured::Scenarios(_) | Measured::Other => None,
            })
            .context("the document has no part `delivery`")
    }

    /// The scenarios, if they were run.
    pub fn scenarios(&self) -> Option<&Scenarios> {
        self.measured.iter().find_map(|measured| match measured {
            Measured::Scenarios(scenarios) => Some(scenarios),
            Measured::Delivery(_) | Measured::Other => None,
        })
    }
}

/// A limit in words.
pub fn limit(quota_ns: Option<u64>, period_ns: Option<u64>) -> String {
    match quota_ns.zip(period_ns) {
        Some((quota_ns, period_ns)) if period_ns > 0 => {
            let percent = quota_ns as f64 * 100.0 / period_ns as f64;
            format!("{percent} % of a CPU")
        }
        _ => "no limit".to_owned(),
    }
}

/// How signals were sent, in the words of a programmer.
pub fn method(name: &str) -> &str {
    match name {
        "out_of_band" => "MSG_OOB",
        other => other,
    }
}

/// Nanoseconds with three significant digits and a unit.
pub fn duration(ns: u64) -> String {
    let value = ns as f64;
    let (value, unit) = match ns {
        0..1_000 => return format!("{ns} ns"),
        1_000..999_500 => (value / 1e3, "us"),
        999_500..999_500_000 => (value / 1e6, "ms"),
        _ => (value / 1e9, "s"),
    };
    let decimals = match value {
        ..9.995 => 2,
        ..99.95 => 1,
        _ => 0,
    };
    format!("{value:.decimals$} {unit}")
}

/// The day (UTC) of a time in seconds since 1970.
///
/// # Errors
/// `date` does not know it.
pub fn day(unix_s: u64) -> Result<String> {
    let time = format!("@{unix_s}");
    output(Command::new("date").args(["-u", "-d", &time, "+%Y-%m-%d"]))
}

/// A duration, or nothing.
pub fn some_duration(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), duration)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_three_digits() {
        for (ns, want) in [
            (999, "999 ns"),
            (1_000, "1.00 us"),
            (9_996, "10.0 us"),
            (99_960, "100 us"),
            (999_499, "999 us"),
            (999_500, "1.00 ms"),
            (90_123_456, "90.1 ms"),
            (2_000_000_000, "2.00 s"),
        ] {
            assert_eq!(duration(ns), want, "{ns}");
        }
        assert_eq!(some_duration(None), "-");
    }

    #[test]
    fn days_are_those_of_the_calendar() {
        assert_eq!(day(951_782_399).expect("a day"), "2000-02-28");
        assert_eq!(day(951_782_400).expect("a day"), "2000-02-29");
    }

    #[test]
    fn limits_are_in_hundredths() {
        assert_eq!(
            limit(Some(12_500_000), Some(100_000_000)),
            "12.5 % of a CPU"
        );
        assert_eq!(limit(None, None), "no limit");
    }

    #[test]
    fn other_documents_are_refused() {
        let text = r#"{"schema_version": 9, "gohang_version": "1", "started": "", "quick": false,
            "machine": {"kernel": "", "architecture": "", "cpus": 1}, "measured": []}"#;
        let error = Document::read(text).expect_err("another version");
        assert!(error.to_string().contains("version 9"), "{error}");
        let document = Document::read(&text.replace('9', "1")).expect("read");
        assert!(document.delivery().is_err());
        let new = text
            .replace('9', "1")
            .replace("[]", r#"[{"part": "later", "x": 1}]"#);
        assert!(Document::read(&new).expect("read").delivery().is_err());
        assert!(Document::read("{}").is_err());
    }
}
