//! gohang's episodes against the reference's, for Go programs.

use anyhow::{Result, ensure};

use crate::actor::{Target, pause_ms};
use crate::go::Workload;
use crate::group::Group;
use crate::run::{Report, Settings, Test};
use crate::stage::Stage;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "agreement::go",
            body: by_pid,
        },
        Test {
            name: "agreement::go_quota",
            body: quota,
        },
        Test {
            name: "agreement::go_short_lived",
            body: short_lived,
        },
    ]
}

/// Every version, stripped and not, spinning and collecting.
fn by_pid(settings: &Settings, report: &mut Report) -> Result<()> {
    run(settings, report, &Workload::all(settings)?, None)
}

/// The same under a quota of 20 %: of the programs that are given.
fn quota(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((20_000, 100_000)))?;
    run(settings, report, &Workload::given(settings)?, Some(&group))
}

fn run(
    settings: &Settings,
    report: &mut Report,
    workloads: &[Workload],
    group: Option<&Group>,
) -> Result<()> {
    let mut stage = Stage::set(settings)?;
    let mut targets = Vec::new();
    for (i, workload) in workloads.iter().enumerate() {
        let kind = if i % 2 == 0 { "spin" } else { "gc" };
        let mut actor = workload.start(&[kind, "30"], group)?;
        actor.expect("ready")?;
        targets.push(Target::foreign(actor));
    }
    let pids: Vec<String> = targets.iter().map(|t| t.pid.to_string()).collect();
    for target in &targets {
        stage.count(target.pid);
    }
    stage.trace_with(&["-p", &pids.join(",")])?;
    pause_ms(5_000);
    let scene = stage.end(0, report)?;
    for (workload, target) in workloads.iter().zip(&mut targets) {
        target.actor.kill();
        let pid = u32::try_from(target.pid)?;
        let n = scene.reference.iter().filter(|e| e.pid == pid).count();
        report.note(format!("{workload}: {n} episodes"));
        if let Some(stream) = &scene.stream {
            let go = &stream.process(pid)?["go"];
            let expected = format!("go{}", workload.version);
            ensure!(go == expected.as_str(), "{workload} was reported as {go}");
        }
    }
    ensure!(
        scene.reference.len() >= 50,
        "only {} episodes",
        scene.reference.len()
    );
    Ok(())
}

/// Programs of 50 ms that start after the trace, found without being named: none of their
/// signals may be lost.
fn short_lived(settings: &Settings, report: &mut Report) -> Result<()> {
    let workloads = Workload::all(settings)?;
    let mut stage = Stage::set(settings)?;
    stage.trace_with(&[])?;
    for workload in workloads.iter().cycle().take(24) {
        let mut actor = workload.start(&["short"], None)?;
        stage.count(actor.pid());
        actor.wait()?;
    }
    let scene = stage.end(0, report)?;
    ensure!(
        scene.reference.len() >= 100,
        "only {} episodes",
        scene.reference.len()
    );
    Ok(())
}
