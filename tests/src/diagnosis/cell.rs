//! One cell of the matrix: a workload and its twin, traced one after the other.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use super::elsewhere::Elsewhere;
use super::program::{Built, pinned_cpus};
use super::table::{Onset, Row, Setting};
use crate::actor::{Actor, pause_ms};
use crate::group::Group;
use crate::product::Gohang;
use crate::run::Settings;

/// Longer than it takes gohang to end after its time.
const SLACK: Duration = Duration::from_secs(30);
/// From the beginning of a failure to that of a trace of it.
const SETTLE_MS: u64 = 100;
/// Most runs of a twin that are disturbed.
const TWIN_RUNS: u32 = 5;
/// 20 ms in 100 ms are 20 % of one CPU.
const PERIOD_US: u64 = 100_000;

/// What gohang said of one process.
#[derive(Debug)]
pub struct Trace {
    /// Alerts' rules, most important first, each once.
    pub rules: Vec<String>,
    /// Their headlines in that order.
    pub headlines: Vec<String>,
    /// Its process in the report.
    pub process: Value,
    /// The share of a CPU that others used of its CPUs, if that was much.
    pub elsewhere: Option<f64>,
}

impl Trace {
    /// Whether what was said may be about others: a thread that waits for a CPU while somebody
    /// else has it is late, and there is no more to it.
    pub fn is_about_others(&self) -> bool {
        self.elsewhere.is_some() && self.rules == ["slow-delivery"]
    }
}

/// What a cell says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The expected rule came first; and the others.
    Told(Vec<String>),
    /// It is not expected yet, and did not come first; what came.
    Pending(Vec<String>),
    /// It is not expected yet and came first all the same.
    ToldEarly(Vec<String>),
    /// Another rule came first, or none.
    WrongFirst(Vec<String>),
    /// A rule outside the allowed set.
    NotAllowed(Vec<String>),
    /// There is no result.
    Missing(String),
}

impl Outcome {
    /// Judges the rules of a row's workload.
    pub fn judge(row: &Row, rules: &[String]) -> Self {
        let foreign = |rule: &&String| **rule != row.first && !row.also.contains(*rule);
        let outside: Vec<String> = rules.iter().filter(foreign).cloned().collect();
        if !outside.is_empty() {
            return Self::NotAllowed(rules.to_vec());
        }
        let is_first = rules.first() == Some(&row.first);
        match (is_first, row.pending.is_some()) {
            (true, false) => Self::Told(rules[1..].to_vec()),
            (true, true) => Self::ToldEarly(rules[1..].to_vec()),
            (false, true) => Self::Pending(rules.to_vec()),
            (false, false) => Self::WrongFirst(rules.to_vec()),
        }
    }

    /// Whether the matrix stands with it.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Self::Told(_) | Self::Pending(_) | Self::ToldEarly(_))
    }
}

impl std::fmt::Display for Outcome {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let list = |rules: &[String]| match rules {
            [] => "none".to_owned(),
            some => some.join(", "),
        };
        let others = |rules: &[String]| match rules {
            [] => String::new(),
            some => format!(" + {}", some.join(", ")),
        };
        match self {
            Self::Told(rest) => write!(f, "told{}", others(rest)),
            Self::ToldEarly(rest) => write!(f, "told though pending{}", others(rest)),
            Self::Pending(rules) => write!(f, "pending: {}", list(rules)),
            Self::WrongFirst(rules) => write!(f, "WRONG FIRST: {}", list(rules)),
            Self::NotAllowed(rules) => write!(f, "NOT ALLOWED: {}", list(rules)),
            Self::Missing(why) => write!(f, "MISSING: {why}"),
        }
    }
}

/// Traces a process for so long; `begin` is called once it is traced.
///
/// # Errors
/// When gohang fails or its report lacks the process.
pub fn trace(
    gohang: &Path,
    pid: i32,
    ms: u64,
    begin: impl FnOnce() -> Result<()>,
) -> Result<Trace> {
    let (pid_text, length) = (pid.to_string(), format!("{ms}ms"));
    let args = ["trace", "-p", &pid_text, "-d", &length, "-o", "json"];
    let mut gohang = Gohang::spawn(gohang, &args.map(str::to_owned))?;
    gohang.wait_ready()?;
    let elsewhere = Elsewhere::watch(pinned_cpus()?, pid)?;
    begin()?;
    let end = gohang.wait(Duration::from_millis(ms) + SLACK)?;
    end.expect_success()?;
    let document: Value = serde_json::from_slice(&end.stdout).context("not one JSON document")?;
    let mut found = Trace {
        rules: Vec::new(),
        headlines: Vec::new(),
        process: Value::Null,
        elsewhere: elsewhere.much()?,
    };
    let processes = document["processes"].as_array().context("no processes")?;
    let process = processes.iter().find(|process| process["pid"] == pid);
    found.process = process.context("the process is not in the report")?.clone();
    for alert in document["alerts"].as_array().context("no alerts")? {
        ensure!(alert["pid"] == pid, "an alert of another process: {alert}");
        let text = |key: &str| alert[key].as_str().map(str::to_owned);
        let rule = text("rule").context("an alert without a rule")?;
        if !found.rules.contains(&rule) {
            found.headlines.push(format!(
                "{rule}: {}",
                text("headline").context("no headline")?
            ));
            found.rules.push(rule);
        }
    }
    Ok(found)
}

/// Runs a row's workload (or, with the other setting, its twin) and traces it.
///
/// # Errors
/// When it, or gohang, fails, or when gohang does not take it for the Go program that it is.
fn run(
    settings: &Settings,
    row: &Row,
    setting: &Setting,
    built: &Built,
    version: &str,
) -> Result<Trace> {
    let quota = |percent| (PERIOD_US / 100 * percent, PERIOD_US);
    let group = Group::new(&settings.hierarchy()?, setting.quota_percent.map(quota))?;
    let mut words = row.way.clone();
    if row.onset == Onset::During {
        words.push("wait=1".to_owned());
    }
    let mut actor = built.start(&words, setting, &group)?;
    pause_ms(SETTLE_MS);
    let pid = actor.pid();
    let begin = |actor: &mut Actor| match row.onset {
        Onset::During => actor.go(),
        Onset::Before => Ok(()),
    };
    let found = trace(settings.gohang()?, pid, row.trace_ms, || begin(&mut actor));
    // It must have lived to the end of the trace.
    let alive = Path::new("/proc")
        .join(pid.to_string())
        .join("exe")
        .exists();
    actor.kill();
    let found = found?;
    ensure!(alive, "it ended during the trace");
    let go = format!("go{version}");
    ensure!(
        found.process["go"] == go.as_str(),
        "reported as {}",
        found.process["go"]
    );
    Ok(found)
}

/// Runs the failing workload and judges what is said of it; with the headlines.
pub fn run_sick(
    settings: &Settings,
    row: &Row,
    built: &Built,
    version: &str,
) -> (Outcome, Vec<String>) {
    match run(settings, row, &row.sick, built, version) {
        Ok(found) => (Outcome::judge(row, &found.rules), found.headlines),
        Err(e) => (Outcome::Missing(format!("{e:#}")), Vec::new()),
    }
}

/// Runs the healthy twin, which must be preempted and raise nothing. A run that others of this
/// machine disturbed is made again.
///
/// # Errors
/// What it raised, or what kept it from running.
pub fn run_twin(settings: &Settings, row: &Row, built: &Built, version: &str) -> Result<u64> {
    let mut runs = 1;
    let found = loop {
        let found = run(settings, row, &row.healthy, built, version)?;
        if runs >= TWIN_RUNS || !found.is_about_others() {
            break found;
        }
        runs += 1;
    };
    ensure!(
        found.rules.is_empty(),
        "{} (others used {:.0} % of a CPU; {runs} runs)",
        found.headlines.join("; "),
        100.0 * found.elsewhere.unwrap_or(0.0)
    );
    let episodes = found.process["episodes"].as_u64().unwrap_or(0);
    ensure!(episodes > 0, "no signals at all");
    Ok(episodes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(pending: bool) -> Row {
        let pending = if pending { r#","pending":"why""# } else { "" };
        serde_json::from_str(&format!(
            r#"{{"name":"a","program":"failures","way":[],"sick":{{}},"healthy":{{}},
                "first":"masked","also":["undelivered"]{pending}}}"#
        ))
        .expect("a row")
    }

    fn judge(pending: bool, rules: &[&str]) -> Outcome {
        let rules: Vec<String> = rules.iter().map(|r| (*r).to_owned()).collect();
        Outcome::judge(&row(pending), &rules)
    }

    #[test]
    fn the_first_rule_counts_and_others_must_be_allowed() {
        let both = ["masked", "undelivered"];
        assert!(matches!(judge(false, &both), Outcome::Told(rest) if rest == ["undelivered"]));
        for wrong in [
            &["undelivered", "masked"][..],
            &["undelivered"],
            &[],
            &["masked", "ignored"],
            &["ignored", "masked"],
        ] {
            assert!(!judge(false, wrong).is_accepted(), "{wrong:?}");
        }
    }

    #[test]
    fn a_pending_rule_may_be_absent_but_no_other_comes_in() {
        assert_eq!(judge(true, &[]), Outcome::Pending(Vec::new()));
        assert!(judge(true, &["undelivered"]).is_accepted());
        assert_eq!(judge(true, &["masked"]), Outcome::ToldEarly(Vec::new()));
        assert!(!judge(true, &["ignored"]).is_accepted());
        assert!(!judge(true, &["masked", "ignored"]).is_accepted());
    }
}
