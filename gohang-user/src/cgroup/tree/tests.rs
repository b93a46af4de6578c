//! Tests of a run's groups on the machine, where it allows any.

use std::fs;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use super::super::limits::Limits;
use super::super::stat::CpuStat;
use super::*;

const LONG: Duration = Duration::from_secs(10);
const MS: u64 = 1_000_000;
const WANTED: [Controller; 4] = [
    Controller::Cpu,
    Controller::Cpuacct,
    Controller::Memory,
    Controller::Pids,
];

fn layout() -> (ProcRoot, CgroupLayout) {
    let proc = ProcRoot::default();
    let layout = CgroupLayout::read(&proc).unwrap();
    (proc, layout)
}

/// Groups on this machine; says so where it does not allow any.
fn real(label: &str, wanted: &[Controller]) -> Option<OwnTree> {
    let (proc, layout) = layout();
    match OwnTree::create(&layout, &proc, label, wanted) {
        Ok(tree) => Some(tree),
        Err(error @ (OwnError::NoPlace { .. } | OwnError::Cgroup(_))) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A shell that runs `script` once its input is closed.
fn shell(script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", &format!("read x; {script}")])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

fn start_in(tree: &OwnTree, script: &str) -> Child {
    let mut child = shell(script);
    tree.adopt(child.id()).unwrap();
    drop(child.stdin.take());
    child
}

fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what} within {LONG:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn everything_started_inside_is_inside_and_ends_with_it() {
    let Some(tree) = real("test-tree", &WANTED) else {
        return;
    };
    // One that leaves its session and its parent, and goes on forking.
    let mut child = start_in(
        &tree,
        "setsid sh -c 'while :; do sleep 0.01 & sleep 1000 & wait $!; done' & exit 3",
    );
    assert_eq!(child.wait().unwrap().code(), Some(3));
    wait_for("the daemon's children", || {
        tree.processes().unwrap().len() >= 2
    });
    for branch in tree.branches() {
        let inside = subtree::processes(&branch.dir).unwrap();
        assert!(!inside.is_empty(), "{}", branch.dir.display());
        assert!(branch.path.is_absolute());
    }
    // Groups that were made inside go as well.
    let inner = tree.branches()[0].dir.join("inner/deeper");
    fs::create_dir_all(&inner).unwrap();
    let dirs: Vec<PathBuf> = tree.branches().iter().map(|b| b.dir.clone()).collect();
    tree.close(LONG).unwrap();
    assert!(dirs.iter().all(|dir| !dir.exists()), "{dirs:?}");
}

#[test]
fn a_quota_holds_and_can_be_lifted() {
    let Some(tree) = real("test-quota", &WANTED) else {
        return;
    };
    let Some(branch) = tree.branch(Controller::Cpu).cloned() else {
        println!("skipped: no cpu controller: {:?}", tree.missing());
        return;
    };
    tree.set_cpu_quota(Some(2 * MS), 20 * MS).unwrap();
    tree.set_cpu_weight(Weight::Share(200)).unwrap();
    let limits = Limits::read(&branch.hierarchy, &branch.path).unwrap();
    assert_eq!(limits.effective().unwrap().limit.cpus(), Some(0.1));
    let mut child = start_in(&tree, "while :; do :; done");
    wait_for("throttled periods", || {
        let stat = CpuStat::read(&branch.dir).unwrap().unwrap();
        stat.nr_throttled.unwrap() >= 3
    });
    assert!(tree.lift_cpu_quota().unwrap());
    assert!(!tree.lift_cpu_quota().unwrap());
    drop(tree);
    assert!(!branch.dir.exists());
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
}

#[test]
fn the_number_of_tasks_is_limited() {
    let Some(tree) = real("test-tasks", &WANTED) else {
        return;
    };
    if let Err(error) = tree.set_tasks_max(2) {
        println!("skipped: {error}");
        return;
    }
    let mut child = start_in(&tree, "sleep 0.2 & sleep 0.2 & wait; exit 0");
    assert_ne!(child.wait().unwrap().code(), Some(0));
    tree.close(LONG).unwrap();
}

#[test]
fn cpus_are_restricted() {
    let Some(tree) = real("test-cpus", &[Controller::Cpuset]) else {
        return;
    };
    if tree.branch(Controller::Cpuset).is_none() {
        println!("skipped: {:?}", tree.missing());
        return;
    }
    tree.set_cpus("0").unwrap();
    let mut child = start_in(&tree, "sleep 1000");
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    assert!(status.contains("Cpus_allowed_list:\t0\n"), "{status}");
    let refused = tree.set_cpus("4000-4095").unwrap_err();
    assert!(refused.to_string().contains("4000-4095"), "{refused}");
    tree.close(LONG).unwrap();
    child.wait().unwrap();
}

#[test]
fn what_was_not_had_is_lacking() {
    let Some(tree) = real("test-lacking", &[]) else {
        return;
    };
    let error = tree.set_tasks_max(1).unwrap_err().to_string();
    assert!(error.contains("pids"), "{error}");
}

#[test]
fn a_child_of_an_existing_group() {
    let Some(outer) = real("test-outer", &WANTED) else {
        return;
    };
    let (proc, layout) = layout();
    let Some(branch) = outer.branch(Controller::Cpu).or(outer.v2()) else {
        return;
    };
    let path = branch.path.clone();
    outer
        .set_cpu_quota(Some(50 * MS), 100 * MS)
        .unwrap_or_else(|error| println!("{error}"));
    let before = Limits::read(&branch.hierarchy, &path).unwrap();
    let inner = OwnTree::create_inside(&layout, &proc, "test-inner", &WANTED, &path).unwrap();
    let child_branch = inner
        .branches()
        .iter()
        .find(|inner| inner.hierarchy == branch.hierarchy)
        .unwrap();
    assert_eq!(child_branch.path.parent(), Some(path.as_path()));
    let mut child = start_in(&inner, "exec sleep 1000");
    assert_eq!(inner.processes().unwrap(), [child.id()]);
    inner.close(LONG).unwrap();
    assert_eq!(Limits::read(&branch.hierarchy, &path).unwrap(), before);
    child.wait().unwrap();
    let error = OwnTree::create_inside(
        &layout,
        &proc,
        "test-none",
        &WANTED,
        Path::new("/nonexistent/gohang"),
    );
    assert!(matches!(error, Err(OwnError::NoGroup { .. })), "{error:?}");
}

#[test]
fn what_an_ended_process_left_is_ended_and_removed() {
    let Some(mut tree) = real("test-left", &WANTED) else {
        return;
    };
    let (proc, layout) = layout();
    let mut child = start_in(&tree, "sleep 1000 & sleep 1000 & wait");
    wait_for("the children", || tree.processes().unwrap().len() == 3);
    // While its owner lives, it is left alone.
    assert_eq!(clear(&layout, &proc, "test-left", LONG).unwrap(), []);
    // Under a name whose owner has ended. Version 2 has no renaming.
    let me = Owner::this(&proc).unwrap();
    let ended = Owner {
        start_ticks: me.start_ticks + 1,
        ..me
    };
    let name = ended.name("test-left");
    let moved: Vec<PathBuf> = tree
        .branches()
        .iter()
        .map(|branch| {
            let to = branch.dir.with_file_name(&name);
            fs::create_dir(&to).unwrap();
            for pid in subtree::processes(&branch.dir).unwrap() {
                write(&to.join("cgroup.procs"), &pid.to_string()).unwrap();
            }
            to
        })
        .collect();
    tree.remove(LONG).unwrap();
    let found = clear(&layout, &proc, "test-left", LONG).unwrap();
    assert_eq!(found.len(), 1, "{found:?}");
    assert_eq!((found[0].owner, found[0].killed), (ended, 3));
    assert_eq!(found[0].kept, None);
    let mut groups = found[0].groups.clone();
    groups.sort();
    let mut expected = moved.clone();
    expected.sort();
    assert_eq!(groups, expected);
    assert!(moved.iter().all(|dir| !dir.exists()));
    assert_eq!(child.wait().unwrap().signal(), Some(libc::SIGKILL));
    let label = OwnTree::create(&layout, &proc, "a/b", &WANTED);
    assert!(matches!(label, Err(OwnError::BadLabel { .. })));
}

#[test]
fn groups_lie_within_the_limits_that_hold_here() {
    let Some(outer) = real("test-within", &WANTED) else {
        return;
    };
    // A process inside would make its groups inside, since ours are never left.
    for branch in outer.branches() {
        let places = branch::places(&branch.hierarchy, Some(&branch.path));
        assert_eq!(places, std::slice::from_ref(&branch.dir));
    }
}
