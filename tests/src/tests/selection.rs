//! What is traced, by group, container, unit and name.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::actor::Target;
use crate::group::Group;
use crate::product::run;
use crate::run::{Report, Settings, Test};

/// Longer than any of these traces.
const LIMIT: Duration = Duration::from_secs(20);
/// A container's id, as in the name of its group.
const CONTAINER: &str = "4bca3f1d9e5a7c204bca3f1d9e5a7c204bca3f1d9e5a7c204bca3f1d9e5a7c20";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "selection::by_group",
            body: by_group,
        },
        Test {
            name: "selection::by_name",
            body: by_name,
        },
    ]
}

/// The processes that a trace with these arguments lists.
fn traced(settings: &Settings, select: &[&str]) -> Result<BTreeSet<i64>> {
    let mut args = vec!["trace", "--non-go", "-o", "json", "-d", "300ms"];
    args.extend(select);
    let end = run(settings.gohang()?, &args, LIMIT)?;
    end.expect_success()?;
    let report: Value = serde_json::from_slice(&end.stdout).context("not one JSON document")?;
    let processes = report["processes"].as_array().context("no processes")?;
    Ok(processes
        .iter()
        .filter_map(|process| process["pid"].as_i64())
        .collect())
}

/// A group selects itself and all below it, a container's id and a unit's name the group that is
/// named after them; nothing else is traced.
fn by_group(settings: &Settings, report: &mut Report) -> Result<()> {
    let outer = Group::new(&settings.hierarchy()?, None)?;
    let docker = outer.named_child(&format!("docker-{CONTAINER}.scope"), None)?;
    // A unit's group has nothing but slices above it.
    let unit = Group::named(&settings.hierarchy()?, "gohang-test.service")?;
    let start = |group: Option<&Group>| Target::start("spin", &[], group);
    let (outside, inner) = (start(None)?, start(Some(&docker))?);
    let in_unit = start(Some(&unit))?;
    let [outside_pid, inner_pid, unit_pid] =
        [&outside, &inner, &in_unit].map(|target| i64::from(target.pid));
    let path = outer.path().to_string_lossy().into_owned();
    for (select, want) in [
        (vec!["--cgroup", path.as_str()], vec![inner_pid]),
        (vec!["--container", &CONTAINER[..12]], vec![inner_pid]),
        (vec!["--unit", "gohang-test.service"], vec![unit_pid]),
        (vec!["--unit", "no-such.service"], vec![]),
    ] {
        let got = traced(settings, &select)?;
        report.note(format!("{}: {} processes", select[0], got.len()));
        ensure!(
            got == want.into_iter().collect(),
            "{select:?} traced {got:?}; outside is {outside_pid}, container {inner_pid}, unit {unit_pid}"
        );
    }
    for target in [outside, inner, in_unit] {
        target.finish()?;
    }
    Ok(())
}

/// A name selects exactly.
fn by_name(settings: &Settings, report: &mut Report) -> Result<()> {
    let target = Target::start("spin", &[], None)?;
    let pid = i64::from(target.pid);
    let comm = std::fs::read_to_string(format!("/proc/{pid}/comm"))?;
    let comm = comm.trim_end();
    let got = traced(settings, &["--comm", comm])?;
    report.note(format!("--comm {comm}: {} processes", got.len()));
    ensure!(got.contains(&pid), "--comm {comm} did not trace {pid}");
    let shorter = &comm[..comm.len() - 1];
    let got = traced(settings, &["--comm", shorter])?;
    ensure!(!got.contains(&pid), "--comm {shorter} traced {comm}");
    target.finish()?;
    Ok(())
}
