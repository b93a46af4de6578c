//! What goes into a bundle, the most important first.

use std::io;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::goroutines::grouped;
use crate::bundle::{About, Collector, Part, Redactor, Status, file_stem, is_member_name};
use crate::process::escape;
use crate::run::evidence::{Evidence, Sample, StepOutcome, Tests};
use crate::run::explain::{Verdict, markdown, wall};
use crate::sink::json;
use crate::sink::loss::loss_line;

/// Raised when a field changes its meaning or goes away.
pub const TIMELINE_VERSION: u32 = 1;
/// What stands for the value of a variable.
const REDACTED: &str = "[redacted]";

/// What happened when: `timeline.json`.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Timeline {
    /// Version of this document's form.
    pub schema_version: u32,
    /// When the command was started (RFC 3339).
    pub started: String,
    /// Events, in their order.
    pub events: Vec<TimelineEvent>,
    /// What the groups counted, oldest first.
    pub samples: Vec<Sample>,
}

/// Something that happened.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct TimelineEvent {
    /// When, since the command's start.
    pub at_ns: u64,
    /// How long it took; null for a moment.
    pub took_ns: Option<u64>,
    /// What: `started`, `test_begun`, `last_progress`, `decided`, `step`, `ended`.
    pub what: String,
    /// Which test, which step and how it went.
    pub detail: String,
}

/// The name of a bundle, without its end.
pub(super) fn stem(evidence: &Evidence) -> String {
    let decided = evidence.started.wall_ns.saturating_add(evidence.decided_ns);
    // `2026-01-02T03:04:05Z` without what is awkward in a file's name.
    let time = UNIX_EPOCH + Duration::from_nanos(decided);
    let time = humantime::format_rfc3339_seconds(time).to_string();
    let time: String = time.chars().filter(|c| !"-:".contains(*c)).collect();
    format!("gohang-{}-{time}", file_stem(&evidence.command))
}

/// What the manifest tells.
pub(super) fn about(evidence: &Evidence, redacted: bool, size_cap_bytes: u64) -> About {
    let go = evidence
        .processes
        .iter()
        .filter_map(|process| process.go.as_ref());
    let mut go: Vec<String> = go.map(|go| go.version.clone()).collect();
    go.sort();
    go.dedup();
    let collectors = evidence.steps.iter().map(|step| Collector {
        name: name_of(&step.name),
        status: match step.outcome {
            StepOutcome::Done => Status::Done,
            StepOutcome::Failed => Status::Failed,
            StepOutcome::TimedOut => Status::TimedOut,
            StepOutcome::Skipped => Status::Skipped,
        },
        took_ns: (step.outcome != StepOutcome::Skipped).then_some(step.took_ns),
        note: step.detail.clone(),
    });
    let now = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    About {
        kernel: evidence.kernel.clone(),
        go,
        command: evidence.command.clone(),
        written: wall(crate::run::evidence::nanoseconds(now)),
        redacted,
        size_cap_bytes,
        collectors: collectors.collect(),
        loss: evidence
            .trace
            .report
            .as_ref()
            .map(|report| loss_line(&report.loss)),
    }
}

/// The name of a value that JSON has as a word.
fn name_of(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(Value::String(name)) => name,
        other => format!("{other:?}"),
    }
}

/// Everything.
///
/// # Errors
/// Something has no form in JSON.
pub(super) fn parts(evidence: &Evidence, verdict: &Verdict) -> io::Result<Vec<Part>> {
    let mut parts = vec![
        Part::text("VERDICT.md", markdown(verdict)),
        document("verdict.json", verdict)?,
    ];
    let dumps: Vec<_> = evidence
        .dumps
        .iter()
        .map(|dump| (dump, dump.parse()))
        .collect();
    let known = dumps
        .iter()
        .filter(|(_, parsed)| !parsed.goroutines.is_empty());
    let known: String = known
        .map(|(dump, parsed)| {
            let pid = dump
                .pid
                .map_or_else(String::new, |pid| format!(", pid {pid}"));
            format!("## {}{pid}\n\n{}", escape(&dump.package), grouped(parsed))
        })
        .collect();
    if !known.is_empty() {
        parts.push(Part::text("goroutines.txt", known));
    }
    parts.push(document("timeline.json", &timeline(evidence))?);
    for (index, (dump, _)) in dumps.iter().enumerate() {
        let what = match (dump.package.rsplit('/').next(), dump.pid) {
            (Some(last), _) if !last.is_empty() => last.to_owned(),
            (_, Some(pid)) => format!("pid-{pid}"),
            _ => "output".to_owned(),
        };
        parts.push(Part::text(
            named("dumps", &what, index, ".txt"),
            dump.text.as_bytes(),
        ));
    }
    parts.push(Part::text("output.txt", evidence.tail.text.as_bytes()));
    let printed = printed(&evidence.tests);
    if !printed.is_empty() {
        parts.push(Part::text("tests.txt", printed));
    }
    for process in &evidence.processes {
        parts.push(document(&format!("proc/{}.json", process.pid), process)?);
    }
    if !evidence.sockets.is_empty() {
        parts.push(document("proc/sockets.json", &evidence.sockets)?);
    }
    for (index, (path, text)) in evidence.place.files.iter().enumerate() {
        parts.push(Part::text(
            named("cgroup", path, index, ""),
            text.as_bytes(),
        ));
    }
    // What has files of its own is not said twice.
    let mut rest = evidence.clone();
    rest.place.files.clear();
    rest.processes.clear();
    rest.sockets.clear();
    rest.dumps.iter_mut().for_each(|dump| dump.text.clear());
    rest.tail.text.clear();
    rest.tests.running_output.clear();
    rest.tests.ended.iter_mut().for_each(|t| t.output.clear());
    rest.samples.clear();
    rest.trace.report = None;
    parts.push(document("evidence.json", &rest)?);
    if let Some(report) = &evidence.trace.report {
        parts.push(document("report.json", report)?);
    }
    let served = evidence.fetched.iter().enumerate();
    for (index, fetched) in served.filter(|(_, fetched)| !fetched.body.is_empty()) {
        let place = fetched.url.strip_prefix("http://").unwrap_or(&fetched.url);
        let path = format!("{}-{place}", fetched.pid);
        let name = named("fetched", &path, index, "");
        parts.push(Part::whole(name, fetched.body.clone()));
    }
    Ok(parts)
}

/// What tests printed that failed, were skipped, or hung.
fn printed(tests: &Tests) -> String {
    let ended = tests.ended.iter().map(|ended| {
        let how = name_of(&ended.outcome);
        (how, &ended.package, &ended.test, &ended.output)
    });
    let running = tests.running.iter().zip(&tests.running_output);
    let running = running.map(|(running, output)| {
        let how = "running".to_owned();
        (how, &running.package, &running.test, output)
    });
    let all = ended
        .chain(running)
        .filter(|(.., output)| !output.is_empty());
    all.map(|(how, package, test, output)| {
        let name = format!("{how} {package} {test}");
        let end = if output.ends_with('\n') { "" } else { "\n" };
        format!("## {}\n\n{output}{end}\n", escape(name.trim()))
    })
    .collect()
}

/// A member's name for something that has a path.
fn named(folder: &str, path: &str, index: usize, end: &str) -> String {
    let kept = path.split('/').filter(|part| !part.is_empty()).map(|part| {
        let plain = part.chars().map(|c| {
            let keeps = c.is_ascii_alphanumeric() || "._+@-".contains(c);
            if keeps { c } else { '_' }
        });
        let plain: String = plain.collect();
        if plain.starts_with('.') {
            format!("_{plain}")
        } else {
            plain
        }
    });
    let kept: Vec<String> = kept.collect();
    let path = kept.join("/");
    let name = if end.is_empty() {
        format!("{folder}/{path}")
    } else {
        format!("{folder}/{index}-{path}{end}")
    };
    if is_member_name(&name) {
        return name;
    }
    // Too long: the file's own name, told apart by its number.
    let last = kept.last().map_or("", String::as_str);
    let last: String = last.chars().take(60).collect();
    format!("{folder}/{index}-{last}{end}")
}

fn document(name: &str, value: &impl Serialize) -> io::Result<Part> {
    let mut text = Vec::new();
    json::write_document(&mut text, value)?;
    Ok(Part::whole(name, text))
}

fn timeline(evidence: &Evidence) -> Timeline {
    let moment = |at_ns: u64, what: &str, detail: String| TimelineEvent {
        at_ns,
        took_ns: None,
        what: what.to_owned(),
        detail,
    };
    let decided = evidence.decided_ns;
    let mut events = vec![
        moment(0, "started", evidence.command.join(" ")),
        moment(
            decided.saturating_sub(evidence.progress.idle_ns),
            "last_progress",
            String::new(),
        ),
        moment(
            decided,
            "decided",
            evidence
                .exceeded
                .as_ref()
                .map_or_else(String::new, |exceeded| exceeded.option.clone()),
        ),
    ];
    events.extend(evidence.tests.running.iter().map(|test| {
        let name = format!("{} {}", test.package, test.test);
        moment(
            decided.saturating_sub(test.ran_ns),
            "test_begun",
            name.trim().to_owned(),
        )
    }));
    events.extend(evidence.steps.iter().map(|step| TimelineEvent {
        at_ns: decided.saturating_add(step.begun_ns),
        took_ns: Some(step.took_ns),
        what: "step".to_owned(),
        detail: format!(
            "{} {}: {}",
            name_of(&step.name),
            name_of(&step.outcome),
            step.detail
        ),
    }));
    events.extend(evidence.end.as_ref().map(|end| {
        let how = match (end.exit_code, end.signal) {
            (Some(code), _) => format!("exit code {code}"),
            (None, Some(signal)) => format!("signal {signal}"),
            (None, None) => String::new(),
        };
        moment(end.at_ns, "ended", how)
    }));
    events.sort_by_key(|event| event.at_ns);
    Timeline {
        schema_version: TIMELINE_VERSION,
        started: wall(evidence.started.wall_ns),
        events,
        samples: evidence.samples.clone(),
    }
}

/// The evidence without values of the environment, secrets and host names, and without what
/// is no text.
///
/// # Errors
/// It has no form in JSON, which it always has.
pub(super) fn redacted(evidence: &Evidence, redactor: &mut Redactor) -> Result<Evidence, String> {
    let mut evidence = evidence.clone();
    for process in &mut evidence.processes {
        for (name, value) in &mut process.environment {
            // Where modules come from matters; who may fetch them does not.
            if !name.starts_with("GO") {
                REDACTED.clone_into(value);
            }
        }
        redactor.arguments(&mut process.args);
    }
    redactor.arguments(&mut evidence.command);
    if evidence.fetched.iter().any(|one| !one.body.is_empty()) {
        let why = "what Go programs served but their goroutines is left out: it is not redacted";
        evidence.lacking.push(why.to_owned());
    }
    let mut value = serde_json::to_value(&evidence).map_err(|why| why.to_string())?;
    walk(&mut value, redactor);
    let mut redacted: Evidence = serde_json::from_value(value).map_err(|why| why.to_string())?;
    if !redacted.host.is_empty() {
        redacted.host = redactor.host(&evidence.host).to_owned();
    }
    Ok(redacted)
}

/// Every text in a value; names of fields stay.
fn walk(value: &mut Value, redactor: &mut Redactor) {
    match value {
        Value::String(text) => {
            if let std::borrow::Cow::Owned(redacted) = redactor.text(text) {
                *text = redacted;
            }
        }
        Value::Array(values) => values.iter_mut().for_each(|value| walk(value, redactor)),
        Value::Object(fields) => fields.values_mut().for_each(|value| walk(value, redactor)),
        _ => {}
    }
}
