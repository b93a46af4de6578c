//! What is stated of a process equals what it was set up with.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::program::{
    HEEDS, NEWEST, Program, VERSIONS, forms, heeds_quota, minor, one, rules, text,
};
use crate::actor::{Target, pause_ms};
use crate::group::Group;
use crate::run::{Report, Settings, Test};
use crate::sys;

/// A container's id, as in the name of its group.
const CONTAINER: &str = "5cdb3f1d9e5a7c205cdb3f1d9e5a7c205cdb3f1d9e5a7c205cdb3f1d9e5a7c20";

pub(super) fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "inspect::go_of_each_version",
            body: go_of_each_version,
        },
        Test {
            name: "inspect::nested_limits",
            body: nested_limits,
        },
        Test {
            name: "inspect::container_and_unit",
            body: container_and_unit,
        },
        Test {
            name: "inspect::namespace",
            body: namespace,
        },
        Test {
            name: "inspect::signals",
            body: signals,
        },
        Test {
            name: "inspect::affinity",
            body: affinity,
        },
    ]
}

fn equal(found: &Value, want: &Value, what: &str) -> Result<()> {
    ensure!(found == want, "{what} is {found} instead of {want}");
    Ok(())
}

/// Version, settings, limits of the collector, and GOMAXPROCS as set, computed and read, of
/// programs of every version in a group with a quota.
fn go_of_each_version(settings: &Settings, report: &mut Report) -> Result<()> {
    let group = Group::new(&settings.hierarchy()?, Some((150_000, 100_000)))?;
    let mut looked = 0;
    for (version, line) in forms() {
        let minor = minor(version).context("no minor version")?;
        let program = Program::of(settings, version, line)?;
        let env = [
            ("GOGC", "50"),
            ("GOMEMLIMIT", "123MiB"),
            ("GODEBUG", "madvdontneed=1,gctrace=0"),
        ];
        for set in [None, Some("3")] {
            let mut env = env.to_vec();
            env.extend(set.map(|procs| ("GOMAXPROCS", procs)));
            let (actor, printed) = program.start(Some(&group), &env)?;
            let process = one(settings, actor.pid(), &[])?;
            let go = &process["go"];
            let told = format!("{program}, GOMAXPROCS {set:?}");
            equal(&go["version"], &format!("go{version}").into(), &told)?;
            equal(&go["minor"], &minor.into(), &told)?;
            equal(&go["module"], &"gohang.test/facts".into(), &told)?;
            equal(&go["stripped"], &false.into(), &told)?;
            equal(&go["cgo"], &false.into(), &told)?;
            let procs = &go["gomaxprocs"];
            equal(&procs["seen"], &printed.into(), &format!("{told}, read"))?;
            equal(
                &procs["computed"],
                &printed.into(),
                &format!("{told}, computed"),
            )?;
            equal(&procs["set"], &set.map_or(Value::Null, Value::from), &told)?;
            let heeds = heeds_quota(version) && line == HEEDS;
            equal(&procs["respects_quota"], &heeds.into(), &told)?;
            if heeds {
                equal(&procs["watches"]["current"], &true.into(), &told)?;
            }
            let gc = json!({
                "gogc": "50", "gomemlimit": "123MiB", "percent": 50,
                "memory_limit": 123 << 20, "from_process": true,
            });
            equal(&go["gc"], &gc, &told)?;
            ensure!(
                rules(&process).contains(&"ineffective-setting"),
                "{told}: nothing on madvdontneed=1"
            );
            equal(&process["sigurg"]["caught"], &true.into(), &told)?;
            looked += 1;
        }
    }
    report.note(format!("{looked} processes of {} versions", VERSIONS.len()));
    ensure!(looked == 28, "{looked} processes instead of 28");
    Ok(())
}

/// Every ancestor is listed, and the tightest of them is the effective limit.
fn nested_limits(settings: &Settings, _report: &mut Report) -> Result<()> {
    let hierarchy = settings.hierarchy()?;
    let outer = Group::new(&hierarchy, Some((200_000, 100_000)))?;
    let middle = outer.child("middle", Some((50_000, 50_000)))?;
    let inner = middle.child("inner", None)?;
    let program = Program::of(settings, NEWEST, "1.25")?;
    let (actor, _) = program.start(Some(&inner), &[("GOMAXPROCS", "8")])?;
    let process = one(settings, actor.pid(), &["--sample", "300ms"])?;
    let cpu = &process["groups"]["cpu"];
    let levels = cpu["levels"].as_array().context("no levels")?;
    ensure!(levels.len() >= 3, "{} levels", levels.len());
    equal(&levels[0]["quota_ns"], &Value::Null, "the inner quota")?;
    equal(
        &levels[1]["quota_ns"],
        &50_000_000.into(),
        "the middle quota",
    )?;
    equal(&levels[1]["period_ns"], &50_000_000.into(), "its period")?;
    equal(
        &levels[2]["quota_ns"],
        &200_000_000.into(),
        "the outer quota",
    )?;
    let owner = cpu["effective"]["path"].as_str().unwrap_or("");
    ensure!(
        owner.ends_with("/middle"),
        "{owner} is taken for the tightest"
    );
    equal(
        &cpu["effective"]["cpus"],
        &1.0.into(),
        "the effective limit",
    )?;
    ensure!(!cpu["sample"].is_null(), "no statistics of the sample");
    ensure!(
        rules(&process).contains(&"gomaxprocs-above-quota"),
        "nothing on GOMAXPROCS 8: {:?}",
        rules(&process)
    );
    // Tighter at the leaf.
    inner.set_quota(Some(25_000), 50_000)?;
    let process = one(settings, actor.pid(), &[])?;
    let owner = process["groups"]["cpu"]["effective"]["path"].as_str();
    ensure!(
        owner.is_some_and(|path| path.ends_with("/inner")),
        "{owner:?}"
    );
    // Without GOMAXPROCS, a limit above is one that the runtime does not see.
    inner.set_quota(None, 50_000)?;
    drop(actor);
    let cpus = sys::online_cpus()?.len();
    let (actor, printed) = program.start(Some(&inner), &[])?;
    let process = one(settings, actor.pid(), &[])?;
    let fires = rules(&process).contains(&"parent-tighter");
    ensure!(
        fires == (printed > 2),
        "GOMAXPROCS {printed} of {cpus} CPUs under 1: {:?}",
        rules(&process)
    );
    Ok(())
}

/// A group with a container's name is a container, one with a unit's name a unit.
fn container_and_unit(settings: &Settings, _report: &mut Report) -> Result<()> {
    let hierarchy = settings.hierarchy()?;
    let pod = Group::named(&hierarchy, "gohang-test-kubepods.slice")?;
    let uid = "0a1b2c3d_4e5f_6071_8293_a4b5c6d7e8f9";
    let inside = pod.named_child(&format!("kubepods-burstable-pod{uid}.slice"), None)?;
    let container = inside.named_child(&format!("cri-containerd-{CONTAINER}.scope"), None)?;
    let unit = Group::named(&hierarchy, "gohang-test-inspect.scope")?;
    let target = Target::start("spin", &[], Some(&container))?;
    let process = one(settings, target.pid, &[])?;
    let found = &process["container"];
    equal(&found["runtime"], &"containerd".into(), "the runtime")?;
    equal(&found["id"], &CONTAINER.into(), "the id")?;
    equal(&found["pod_uid"], &uid.replace('_', "-").into(), "the pod")?;
    equal(&process["go"], &Value::Null, "the target as Go")?;
    let target = Target::start("spin", &[], Some(&unit))?;
    let process = one(settings, target.pid, &[])?;
    equal(&process["container"], &Value::Null, "the container")?;
    let found = &process["unit"];
    // On version 1, units are named in systemd's own hierarchy, if there is one.
    if !found.is_null() {
        equal(
            &found["name"],
            &"gohang-test-inspect.scope".into(),
            "the unit",
        )?;
        equal(&found["outlives_processes"], &false.into(), "the scope")?;
    }
    Ok(())
}

/// A process of another PID namespace has its id there too.
fn namespace(settings: &Settings, _report: &mut Report) -> Result<()> {
    let program = Program::of(settings, NEWEST, "1.25")?;
    let mut command = std::process::Command::new("unshare");
    // It ends with its input, wherever it runs.
    command.args(["-p", "-f"]).arg(program.path());
    let mut outside = crate::actor::Actor::spawn(&mut command, None)?;
    let printed = outside.expect_number("procs ")?;
    let children = format!("/proc/{0}/task/{0}/children", outside.pid());
    let children = std::fs::read_to_string(children)?;
    let inside: i32 = children.trim().parse().context("not one child")?;
    let process = one(settings, inside, &[])?;
    equal(&process["ns_pids"], &json!([inside, 1]), "its ids")?;
    equal(
        &process["go"]["gomaxprocs"]["seen"],
        &printed.into(),
        "GOMAXPROCS",
    )?;
    Ok(())
}

/// A thread that blocks SIGURG is named.
fn signals(settings: &Settings, _report: &mut Report) -> Result<()> {
    let target = Target::start("mask", &["hold_ms=60000"], None)?;
    pause_ms(200);
    let process = one(settings, target.pid, &[])?;
    let threads = process["threads"].as_array().context("no threads")?;
    let status = |tid: &Value| {
        let path = format!("/proc/{}/task/{tid}/status", target.pid);
        std::fs::read_to_string(path)
    };
    let mut blocked = 0;
    for thread in threads {
        let text = status(&thread["tid"])?;
        let mask = text.lines().find_map(|line| line.strip_prefix("SigBlk:\t"));
        let mask = u64::from_str_radix(mask.context("no mask")?.trim(), 16)?;
        let want = mask >> 22 & 1 == 1;
        blocked += usize::from(want);
        equal(&thread["sigurg_blocked"], &want.into(), "SIGURG")?;
    }
    ensure!(blocked > 0, "the target blocks nothing");
    let text = text(settings, &["inspect", &target.pid.to_string()])?;
    let text = String::from_utf8_lossy(&text).into_owned();
    ensure!(text.contains("BLOCKED in threads"), "{text}");
    Ok(())
}

/// CPUs that were taken away after the start are shown, and what the runtime makes of that.
fn affinity(settings: &Settings, report: &mut Report) -> Result<()> {
    let program = Program::of(settings, "1.24.11", "1.21")?;
    let (actor, printed) = program.start(None, &[])?;
    for entry in std::fs::read_dir(format!("/proc/{}/task", actor.pid()))? {
        let tid: i32 = entry?.file_name().to_string_lossy().parse()?;
        sys::pin(tid, 0);
    }
    let process = one(settings, actor.pid(), &[])?;
    equal(&process["cpus_allowed"], &"0".into(), "CPUs allowed")?;
    equal(&process["cpus_allowed_count"], &1.into(), "their number")?;
    equal(
        &process["go"]["gomaxprocs"]["computed"],
        &1.into(),
        "computed",
    )?;
    equal(
        &process["go"]["gomaxprocs"]["seen"],
        &printed.into(),
        "GOMAXPROCS",
    )?;
    let fires = rules(&process).contains(&"limit-changed");
    report.note(format!(
        "GOMAXPROCS {printed}, then one CPU: {:?}",
        rules(&process)
    ));
    ensure!(fires == (printed > 1), "{:?}", rules(&process));
    Ok(())
}
