//! The benchmark suite's own numbers: what must hold on any machine, however slow.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::life::{eventually, members, running};
use crate::actor::pause_ms;
use crate::go::EVERY_VERSION;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::stream::{check_loss, number};

/// Far more than the quick form takes.
const LIMIT: Duration = Duration::from_secs(60);

/// At least so much of the waiting is for quota when there is 10 % of a CPU, far below what
/// is.
const THROTTLED: f64 = 0.5;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "bench::quick",
            body: quick,
        },
        Test {
            name: "bench::interrupted",
            body: interrupted,
        },
        Test {
            name: "bench::scenarios",
            body: scenarios,
        },
    ]
}

/// A copy of gohang under a path of its own, and what it leaves: another may be at work.
struct Copy<'a> {
    settings: &'a Settings,
    _folder: tempfile::TempDir,
    program: PathBuf,
    before: Vec<PathBuf>,
}

impl<'a> Copy<'a> {
    fn new(settings: &'a Settings) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let program = folder.path().join("gohang");
        std::fs::copy(settings.gohang()?, &program)?;
        Ok(Self {
            before: settings.hierarchy()?.product_groups(),
            settings,
            _folder: folder,
            program,
        })
    }

    fn start(&self) -> Result<Gohang> {
        let args = ["bench", "delivery", "--quick", "-o", "json"].map(str::to_owned);
        Gohang::spawn(&self.program, &args)
    }

    fn groups(&self) -> Result<Vec<PathBuf>> {
        let mut groups = self.settings.hierarchy()?.product_groups();
        groups.retain(|group| !self.before.contains(group));
        Ok(groups)
    }

    fn nothing_left(&self) -> Result<()> {
        let groups = self.groups()?;
        ensure!(groups.is_empty(), "groups are left: {groups:?}");
        let processes = running(&self.program);
        ensure!(processes.is_empty(), "processes are left: {processes:?}");
        Ok(())
    }
}

/// The quick form: every count is that of the sender and of the handler, causes add up, and the
/// quota shows where there is one and nowhere else.
fn quick(settings: &Settings, report: &mut Report) -> Result<()> {
    let copy = Copy::new(settings)?;
    let end = copy.start()?.wait(LIMIT)?;
    end.expect_success()?;
    copy.nothing_left()?;
    let document: Value = serde_json::from_slice(&end.stdout).context("not one document")?;
    ensure!(number(&document, "/schema_version")? == 1, "its version");
    let part = document
        .pointer("/measured/0")
        .filter(|part| part["part"] == "delivery")
        .context("no delivery")?;
    report.note(check_loss(part)?);
    let lost = number(part, "/loss/ring_full")? + number(part, "/loss/map_full")?;
    ensure!(lost == 0, "{lost} records are lost");
    let cells = part["cells"].as_array().context("no runs")?;
    let mut ways = Vec::new();
    for cell in cells {
        let way = (&cell["quota_ns"], &cell["method"], &cell["from"]);
        let name = format!("{} {} {}", way.0, way.1, way.2);
        check(cell, report, &name).context(name)?;
        ensure!(!ways.contains(&way), "{way:?} is there twice");
        ways.push(way);
    }
    ensure!(ways.len() == 8, "{} ways instead of 8", ways.len());
    // Nobody can measure what was published without the quotas that it is about.
    let claims = part["published"].as_array().context("no figures")?;
    ensure!(claims.len() == 4, "{} published figures", claims.len());
    for claim in claims {
        let judged = claim["ways"].as_array().map_or(0, Vec::len);
        ensure!(judged == 4, "{claim} is held against {judged} ways");
    }
    Ok(())
}

/// One run, by its own numbers.
fn check(cell: &Value, report: &mut Report, name: &str) -> Result<()> {
    let of = |pointer: &str| number(cell, pointer);
    let (sends, episodes) = (of("/sends")?, of("/episodes")?);
    let coalesced = of("/coalesced")?;
    let undelivered = cell["undelivered"].as_object().context("no outcomes")?;
    ensure!(undelivered.is_empty(), "not delivered: {undelivered:?}");
    ensure!(
        sends > 0 && episodes > 0,
        "{sends} sends, {episodes} episodes"
    );
    ensure!(
        episodes + coalesced == sends,
        "{episodes} episodes and {coalesced} coalesced are not {sends} sends"
    );
    ensure!(
        of("/handled")? == episodes,
        "the handler ran {} times for {episodes} episodes",
        of("/handled")?
    );
    ensure!(
        of("/episodes_in_histograms")? == episodes,
        "the histograms' count"
    );
    let causes = cell["causes"].as_object().context("no causes")?;
    let (mut count, mut total) = (0, 0);
    for cause in causes.values() {
        count += number(cause, "/count")?;
        total += number(cause, "/total_ns")?;
    }
    ensure!(count == episodes, "{count} causes of {episodes} episodes");
    let latency = of("/latency/total_ns")?;
    ensure!(
        total == latency,
        "components of {total} ns are not latencies of {latency} ns"
    );
    let buckets = cell.pointer("/latency/buckets").and_then(Value::as_array);
    let mut counted = 0;
    for bucket in buckets.context("no buckets")? {
        counted += number(bucket, "/count")?;
    }
    ensure!(counted == episodes, "{counted} in the buckets");
    // A clock that is restarted shows less, by what it is said to be wrong.
    let shown = of("/restarted/latency/total_ns")?;
    ensure!(shown <= latency, "a restarted clock shows more");
    ensure!(
        of("/restarted/mean_error_ns")? == (latency - shown) / episodes,
        "the error of the restarted clock"
    );
    if coalesced == 0 {
        ensure!(of("/restarted/wrong")? == 0, "wrong without a second send");
    }
    let throttled = number(&causes["throttled"], "/total_ns")?;
    let share = throttled as f64 / latency as f64;
    report.note(format!(
        "{name}: {sends} sends, {episodes} episodes, {:.1} % throttled",
        100.0 * share
    ));
    if cell["quota_ns"].is_null() {
        ensure!(throttled == 0, "{throttled} ns of quota without a limit");
    } else if cell["from"] == "outside" {
        ensure!(share >= THROTTLED, "the quota is but {share:.3} of it");
        ensure!(coalesced > 0, "nothing was coalesced");
        ensure!(of("/restarted/wrong")? > 0, "a restarted clock is right");
    }
    Ok(())
}

/// Ctrl-C in the middle of a run: one message, no document, and nothing is left.
fn interrupted(settings: &Settings, report: &mut Report) -> Result<()> {
    let copy = Copy::new(settings)?;
    let bench = copy.start()?;
    let busy = |group: &PathBuf| !members(Path::new(group)).is_empty();
    let at_work = eventually(20_000, || Ok(copy.groups()?.iter().any(busy)))?;
    if !at_work {
        let end = bench.wait(LIMIT)?;
        bail!("no run began, {}: {}", end.status, end.stderr_line());
    }
    pause_ms(300);
    bench.signal(libc::SIGINT)?;
    let end = bench.wait(LIMIT)?;
    report.note(end.stderr_line());
    ensure!(end.status.code() == Some(1), "{}", end.status);
    ensure!(end.stdout.is_empty(), "it printed something");
    ensure!(
        end.stderr.contains("gohang: error: interrupted"),
        "it does not say so"
    );
    copy.nothing_left()
}

/// Two of the scenarios: what gohang says of each is right, and nothing is left.
fn scenarios(settings: &Settings, report: &mut Report) -> Result<()> {
    let Some(root) = &settings.go_root else {
        return Err(skip("no --go-root given"));
    };
    let newest = EVERY_VERSION[EVERY_VERSION.len() - 1];
    let copy = Copy::new(settings)?;
    let mut command = Command::new(&copy.program);
    command
        .args(["bench", "B6", "B8", "--quick", "-o", "json", "--go"])
        .arg(root.join(newest).join("bin/go"))
        // That of the other tests' programs.
        .env("GOCACHE", root.join("workloads/cache"));
    let end = Gohang::spawn_command(&mut command)?.wait(LIMIT)?;
    copy.nothing_left()?;
    let document: Value = serde_json::from_slice(&end.stdout)
        .with_context(|| format!("not one document: {}", end.stderr_line()))?;
    let told = document
        .pointer("/measured/0/scenarios")
        .and_then(Value::as_array)
        .context("no scenarios")?;
    let named = |text: &Value| text.as_str().unwrap_or("-").to_owned();
    let mut ids = Vec::new();
    for one in told {
        let id = named(&one["id"]);
        let checks = one["checks"].as_array().context("no checks")?;
        for check in checks {
            report.note(format!(
                "{id}: {}: {}",
                named(&check["what"]),
                check["found"]
            ));
        }
        ensure!(
            one["verdict"] == "right",
            "{id} is {}, {}, {}: {:?}",
            one["state"],
            one["verdict"],
            one["imbalances"],
            checks
                .iter()
                .filter(|check| check["holds"] != true)
                .collect::<Vec<_>>()
        );
        ensure!(checks.len() > 3, "{id} has {} checks", checks.len());
        ids.push(id);
    }
    ensure!(ids == ["B6", "B8"], "it made {ids:?}");
    end.expect_success()
}
