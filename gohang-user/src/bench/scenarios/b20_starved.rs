//! B20: work that is starved by its quota, and work that is stuck.

use std::process::Command;
use std::time::Duration;

use serde_json::Value;

use super::check::Check;
use super::outcome::Outcome;
use super::report::{Said, Unit};
use super::scenario::{Need, Scenario};
use super::stand::Stand;
use crate::bench::Extent;
use crate::experiment::ExperimentError;
use crate::process::escape;
use crate::report::Severity;

pub(super) const SCENARIO: Scenario = Scenario {
    id: "B20",
    title: "Starved, not stuck",
    source: "kubernetes-sigs/apiserver-network-proxy#690",
    reported: "goroutines in CI starved for 30 s and longer, taken for a deadlock",
    scale: "5 % of a CPU and a limit of some seconds for minutes of CI; what is starved would be \
            done in a second or two with a CPU of its own, and a deadlock under the same quota \
            stands beside it",
    needs: &[Need::Go],
    estimate: |extent| (limit(extent) + Duration::from_secs(5)) * 2,
    run,
};

/// Time limit of the command.
const fn limit(extent: Extent) -> Duration {
    match extent {
        Extent::Full => Duration::from_secs(10),
        Extent::Quick => Duration::from_secs(4),
    }
}

/// Longest that ending it and judging may take.
const AFTER: Duration = Duration::from_secs(60);
/// As `timeout(1)` has it, and so `gohang run`.
const HUNG: i32 = 124;

fn run(stand: &mut Stand<'_>) -> Result<Outcome, ExperimentError> {
    let mut outcome = Outcome::default();
    let program = stand.program("starve", include_str!("go/starve.go"))?;
    let limit = limit(stand.extent);
    // Longer than the limit under that quota, and done within what lifting it allows.
    let work_ms = limit.as_millis() as u64 / 8;
    for (setting, args, cause, lift) in [
        (
            "starved",
            vec!["work".to_owned(), work_ms.to_string()],
            "throttled",
            "resumed",
        ),
        (
            "deadlock",
            vec!["stuck".to_owned()],
            "deadlock",
            "no_progress",
        ),
    ] {
        let folder = stand.folder().join(format!("b20-{setting}"));
        std::fs::create_dir_all(&folder).map_err(|source| ExperimentError::System {
            action: "make a folder for a verdict",
            source,
        })?;
        let mut command = Command::new("/proc/self/exe");
        command
            .args(["run", "--no-systemd", "--cpu-quota", "5%", "--timeout"])
            .arg(format!("{}ms", limit.as_millis()))
            .args([
                "--lift-quota",
                "4s",
                "--dump-time",
                "2s",
                "--grace",
                "2s",
                "--bundle-dir",
            ])
            .arg(&folder)
            .arg("--")
            .arg(&program)
            .args(args);
        let mut job = stand.start("run", command, None)?;
        let mut status = None;
        let waited = stand.wait(None, limit + AFTER, || {
            status = job.ended()?;
            Ok(status.is_some())
        });
        // It has a group of its own to take away.
        job.end(Duration::from_secs(10));
        waited?;
        let code = status.and_then(|status| status.code());
        let verdict = verdict(stand, &folder)?;
        let text = |name: &str| escape(verdict[name].as_str().unwrap_or_default());
        outcome.said.push(Said {
            setting: setting.to_owned(),
            rule: "run".to_owned(),
            severity: Severity::Critical,
            headline: text("summary"),
        });
        let elapsed = verdict["elapsed_ns"].as_f64();
        let published = (cause == "throttled").then_some(30e9);
        outcome.row(
            setting,
            "without progress when it was judged",
            published,
            elapsed,
            Unit::Ns,
        );
        let same = |is: bool| f64::from(u8::from(is));
        for (what, is) in [
            (format!("its cause is {cause}"), text("cause") == cause),
            (format!("lifting the quota: {lift}"), text("lift") == lift),
            (format!("exit code {HUNG}"), code == Some(HUNG)),
        ] {
            let what = format!("{setting}: verdict: {what}");
            outcome.check(Check::at_least(what, same(is), 1.0, Unit::Count));
        }
    }
    Ok(outcome)
}

/// What `gohang open` reads of the bundle in a folder.
fn verdict(stand: &mut Stand<'_>, folder: &std::path::Path) -> Result<Value, ExperimentError> {
    let wrong = |what: String| ExperimentError::Workload { what };
    let files = std::fs::read_dir(folder).map_err(|error| wrong(error.to_string()))?;
    let bundle = files.flatten().map(|entry| entry.path()).find(|path| {
        let name = path.file_name().and_then(|name| name.to_str());
        name.is_some_and(|name| name.ends_with(".tar.zst"))
    });
    let bundle = bundle.ok_or_else(|| wrong("gohang run left no bundle".to_owned()))?;
    let mut command = Command::new("/proc/self/exe");
    command.args(["open", "-o", "json"]).arg(bundle);
    let mut job = stand.start("open", command, None)?;
    stand.until_ended(&mut job, None, AFTER)?;
    let document: Value = serde_json::from_str(&job.output())
        .map_err(|error| wrong(format!("gohang open printed no document: {error}")))?;
    Ok(document["verdict"].clone())
}
