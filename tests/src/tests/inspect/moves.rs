//! Moves to another group: asked about, made, and seen.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::program::{NEWEST, Program, inspect, one, rules};
use crate::actor::pause_ms;
use crate::group::Group;
use crate::product::{Gohang, run};
use crate::run::{Report, Settings, Test};

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "inspect::migration",
            body: migration,
        },
        Test {
            name: "inspect::watched_move",
            body: watched_move,
        },
    ]
}

/// The group of the cpu hierarchy that a process is in, by /proc.
fn group_of(pid: i32) -> Result<String> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let line = |line: &&str| {
        let mut fields = line.splitn(3, ':').skip(1);
        let controllers = fields.next().unwrap_or("");
        controllers.split(',').any(|name| name == "cpu")
    };
    let v2 = |line: &&str| line.starts_with("0::");
    let found = text.lines().find(line).or_else(|| text.lines().find(v2));
    let path = found.and_then(|line| line.splitn(3, ':').nth(2));
    Ok(path.context("no group")?.to_owned())
}

/// A move is described and not made without `--yes`, and made with it: afterwards the runtime
/// goes on with the old group's quota, which is said.
fn migration(settings: &Settings, report: &mut Report) -> Result<()> {
    let hierarchy = settings.hierarchy()?;
    let from = Group::new(&hierarchy, Some((300_000, 100_000)))?;
    let to = Group::new(&hierarchy, Some((100_000, 100_000)))?;
    let program = Program::of(settings, NEWEST, "1.25")?;
    let (actor, printed) = program.start(Some(&from), &[])?;
    let pid = actor.pid();
    let there = to.path().to_string_lossy().into_owned();
    let ask = ["--migrate-to", there.as_str()];
    let before = group_of(pid)?;
    let id = pid.to_string();
    let found = inspect(settings, &[&[id.as_str()], &ask[..]].concat())?;
    let made = &found["moves"][0];
    ensure!(made["done"] == false, "done without --yes: {made}");
    ensure!(group_of(pid)? == before, "moved without --yes");
    ensure!(
        made["after"]["limit"]["cpus"] == 1.0,
        "the limit there: {made}"
    );
    // A quota of one CPU counts for two.
    ensure!(made["after"]["computed"] == printed.min(2), "{made}");
    let found = inspect(settings, &[&[id.as_str(), "--yes"], &ask[..]].concat())?;
    let made = &found["moves"][0];
    let now = group_of(pid)?;
    ensure!(now != before, "not moved with --yes");
    ensure!(made["done"] == true && made["ours"] == true, "{made}");
    ensure!(made["before"]["cgroup"] == before.as_str(), "{made}");
    ensure!(made["after"]["cgroup"] == now.as_str(), "{made}");
    ensure!(made["after"]["gomaxprocs"] == printed, "{made}");
    let threads = made["after"]["threads"].as_array().context("no threads")?;
    ensure!(!threads.is_empty(), "no threads");
    let runtime = made["runtime"].as_str().unwrap_or("");
    ensure!(runtime.contains("the move"), "{runtime}");
    ensure!(
        made["agree"] == (printed <= 2),
        "GOMAXPROCS {printed}: {made}"
    );
    report.note(made["verdict"].as_str().unwrap_or("").to_owned());
    let process = one(settings, pid, &[])?;
    let watches = &process["go"]["gomaxprocs"]["watches"];
    ensure!(watches["current"] == false, "it watches {watches}");
    ensure!(
        rules(&process).contains(&"other-group-watched"),
        "{:?}",
        rules(&process)
    );
    // A second move there is a mistake, and so is one to nowhere.
    for group in [there.as_str(), "/gohang-test-none"] {
        let args = ["inspect", &id, "--yes", "--migrate-to", group];
        let end = run(settings.gohang()?, &args, Duration::from_secs(30))?;
        ensure!(end.status.code() == Some(2), "{group}: {}", end.status);
    }
    Ok(())
}

/// A move that someone else makes is seen, and what follows from it.
fn watched_move(settings: &Settings, _report: &mut Report) -> Result<()> {
    let hierarchy = settings.hierarchy()?;
    let from = Group::new(&hierarchy, None)?;
    let to = Group::new(&hierarchy, Some((100_000, 100_000)))?;
    let program = Program::of(settings, NEWEST, "1.25")?;
    let (actor, _) = program.start(Some(&from), &[])?;
    let args = ["inspect", "-o", "json", "--watch=200ms"];
    let mut args: Vec<String> = args.map(str::to_owned).to_vec();
    args.push(actor.pid().to_string());
    let gohang = Gohang::spawn(settings.gohang()?, &args)?;
    pause_ms(1500);
    to.add(actor.pid())?;
    pause_ms(5000);
    let end = gohang.interrupt()?;
    let text = String::from_utf8(end.stdout)?;
    let rounds: Vec<Value> = text
        .lines()
        .map(serde_json::from_str)
        .collect::<Result<_, _>>()
        .context("not a JSON document a line")?;
    let moves: Vec<&Value> = rounds
        .iter()
        .filter_map(|round| round["moves"].as_array())
        .flatten()
        .collect();
    ensure!(
        moves.len() == 1,
        "{} moves in {} rounds",
        moves.len(),
        rounds.len()
    );
    ensure!(
        moves[0]["ours"] == false && moves[0]["done"] == true,
        "{}",
        moves[0]
    );
    ensure!(moves[0]["before"]["limit"].is_null(), "{}", moves[0]);
    ensure!(moves[0]["after"]["limit"]["cpus"] == 1.0, "{}", moves[0]);
    Ok(())
}
