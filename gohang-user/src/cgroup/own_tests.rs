//! Tests of gohang's own groups: on fixtures, and on the machine where it allows it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use super::layout::CgroupLayout;
use super::limits::Limits;
use super::membership::Membership;
use super::own::{Kept, OwnError, OwnGroups, WhyKept};
use super::own_group::OwnGroup;
use super::stat::CpuStat;
use super::{CgroupIds, Version};
use crate::process::{INIT_PID_NS_INODE, ProcRoot};

const LONG: Duration = Duration::from_secs(10);
const MS: u64 = 1_000_000;

/// A `/proc` in which this process runs, in `own` of a version 2 hierarchy.
struct Fixture {
    dir: tempfile::TempDir,
}

impl Fixture {
    fn new(own: &str) -> Self {
        let fixture = Self {
            dir: tempfile::tempdir().unwrap(),
        };
        let mount = fixture.mount();
        fs::create_dir_all(&mount).unwrap();
        let line = format!("1 2 0:26 / {} rw - cgroup2 none rw\n", mount.display());
        fixture.file("proc/self/mountinfo", &line);
        fixture.file("proc/self/cgroup", &format!("0::{own}\n"));
        fs::create_dir_all(fixture.dir.path().join("proc/self/ns")).unwrap();
        let link = format!("pid:[{INIT_PID_NS_INODE}]");
        std::os::unix::fs::symlink(link, fixture.dir.path().join("proc/self/ns/pid")).unwrap();
        fixture.process(std::process::id(), 5000);
        fixture
    }

    fn mount(&self) -> PathBuf {
        self.dir.path().join("cg")
    }

    fn file(&self, path: &str, text: &str) {
        let path = self.dir.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn process(&self, pid: u32, start_ticks: u64) {
        let zeros = "0 ".repeat(17);
        self.file(
            &format!("proc/{pid}/stat"),
            &format!("{pid} (x) S 1 {zeros}{start_ticks} 0\n"),
        );
    }

    fn group(&self, name: &str) {
        fs::create_dir_all(self.mount().join(name)).unwrap();
    }

    fn own(&self) -> OwnGroups {
        let proc = ProcRoot::new(self.dir.path().join("proc"));
        OwnGroups::new(&CgroupLayout::read(&proc).unwrap(), &proc).unwrap()
    }
}

#[test]
fn each_place_is_tried_and_its_refusal_told() {
    let fixture = Fixture::new("/user.slice/me");
    fixture.file("cg/cgroup.controllers", "memory pids\n");
    fixture.file("cg/user.slice/cgroup.controllers", "cpu memory\n");
    // Nobody may write to a directory in place of a file.
    fixture.group("user.slice/cgroup.subtree_control/x");
    fixture.file("cg/user.slice/me/cgroup.controllers", "cpu\n");
    fixture.file("cg/user.slice/me/cgroup.subtree_control", "cpu\n");
    let error = fixture.own().create("test").unwrap_err();
    let OwnError::NoPlace { tried } = &error else {
        panic!("{error}")
    };
    assert_eq!(tried.len(), 3);
    assert!(
        tried[0].contains("no cpu controller to share out"),
        "{tried:?}"
    );
    assert!(tried[1].contains("cgroup.subtree_control"), "{tried:?}");
    // A directory made here does not come with the kernel's files.
    assert!(tried[2].contains("has no CPU quota"), "{tried:?}");
    assert!(error.to_string().contains("run gohang as root"), "{error}");
    assert!(
        !fs::read_dir(fixture.mount().join("user.slice/me"))
            .unwrap()
            .flatten()
            .any(|entry| { entry.file_name().to_string_lossy().starts_with("gohang-") })
    );
}

#[test]
fn labels() {
    let fixture = Fixture::new("/");
    for label in ["", "a/b", "..", "a b", "é", &"x".repeat(65)] {
        let error = fixture.own().create(label).unwrap_err();
        assert!(matches!(error, OwnError::BadLabel { .. }), "{error}");
    }
    let error = fixture.own().remove_leftovers("system").unwrap_err();
    assert!(matches!(error, OwnError::BadLabel { .. }), "{error}");
}

#[test]
fn leftovers_of_ended_processes_only() {
    let fixture = Fixture::new("/me");
    fixture.process(700, 9000);
    let ns = INIT_PID_NS_INODE;
    let me = std::process::id();
    for name in [
        format!("gohang-demo-{ns}-600-1"),
        format!("me/gohang-demo-{ns}-601-1"),
        format!("gohang-demo-{ns}-602-1/inside"),
        format!("gohang-demo-{ns}-700-9000"),
        // The number of process 700 belonged to another before.
        format!("gohang-demo-{ns}-700-8000"),
        "gohang-demo-1-600-1".to_owned(),
        format!("gohang-a-b-{ns}-{me}-5000"),
        format!("gohang-other-{ns}-603-1"),
        "gohang-demo".to_owned(),
        format!("gohang-{ns}-600-1"),
        "gohang-demo-x-600-1".to_owned(),
        format!("foreign-demo-{ns}-600-1"),
    ] {
        fixture.group(&name);
    }
    let mut found = fixture.own().remove_leftovers("gohang-demo").unwrap();
    found.removed.sort();
    found.kept.sort_by(|a, b| a.path.cmp(&b.path));
    let path = |name: &str| PathBuf::from(format!("/{name}"));
    assert_eq!(
        found.removed,
        [
            path(&format!("gohang-demo-{ns}-600-1")),
            path(&format!("gohang-demo-{ns}-700-8000")),
            path(&format!("me/gohang-demo-{ns}-601-1")),
        ]
    );
    let kept = |name: &str, why| Kept {
        path: path(name),
        why,
    };
    assert_eq!(
        found.kept,
        [
            kept("gohang-demo-1-600-1", WhyKept::OwnerUnknown),
            kept(&format!("gohang-demo-{ns}-602-1"), WhyKept::InUse),
            kept(&format!("gohang-demo-{ns}-700-9000"), WhyKept::OwnerLives),
        ]
    );
    let left = fs::read_dir(fixture.mount()).unwrap().count();
    assert_eq!(left, 10);
    let all = fixture.own().remove_leftovers("gohang-").unwrap();
    assert_eq!(all.removed, [path(&format!("gohang-other-{ns}-603-1"))]);
    assert!(all.kept.contains(&kept(
        &format!("gohang-a-b-{ns}-{me}-5000"),
        WhyKept::OwnerLives
    )));
}

/// A group of the machine's own; says so where it does not allow one.
fn real(label: &str) -> Option<(OwnGroups, OwnGroup)> {
    let proc = ProcRoot::default();
    let layout = CgroupLayout::read(&proc).unwrap();
    if let Err(error) = layout.cpu() {
        println!("skipped: {error}");
        return None;
    }
    let own = OwnGroups::new(&layout, &proc).unwrap();
    match own.create(label) {
        Ok(group) => Some((own, group)),
        Err(error @ OwnError::NoPlace { .. }) => {
            println!("skipped: {error}");
            None
        }
        Err(error) => panic!("{error}"),
    }
}

/// A shell that runs `script`.
fn shell(script: &str) -> Child {
    Command::new("/bin/sh")
        .args(["-c", script])
        .stdin(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for something that the kernel or another process does soon.
fn wait_for(what: &str, mut done: impl FnMut() -> bool) {
    let end = Instant::now() + LONG;
    while !done() {
        assert!(Instant::now() < end, "{what} within {LONG:?}");
        thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn a_process_is_throttled_killed_and_its_group_removed() {
    let Some((own, group)) = real("test-throttle") else {
        return;
    };
    let proc = ProcRoot::default();
    assert_eq!(group.limit().unwrap().unwrap().quota_ns, None);
    group.set_quota(Some(2 * MS), 20 * MS).unwrap();
    assert_eq!(group.limit().unwrap().unwrap().cpus(), Some(0.1));

    // It starts to spin once it is inside.
    let mut child = shell("read x; while :; do :; done");
    group.add_process(child.id()).unwrap();
    drop(child.stdin.take());
    let member = Membership::read(&proc, child.id()).unwrap();
    assert_eq!(member.cpu().unwrap().path, group.path());
    assert_eq!(group.processes().unwrap(), [child.id()]);

    let limits = Limits::read(own.hierarchy(), group.path()).unwrap();
    assert_eq!(limits.controlled_group(), Some(group.path()));
    assert_eq!(limits.effective().unwrap().path, group.path());
    let mut ids = CgroupIds::new(own.hierarchy().clone());
    assert_eq!(
        ids.path_of(group.id().unwrap()).unwrap(),
        Some(group.path())
    );

    let early = group.stat().unwrap().unwrap();
    let mut grown = CpuStat::default();
    wait_for("five throttled periods", || {
        grown = group.stat().unwrap().unwrap().since(&early).unwrap();
        grown.nr_throttled.unwrap() >= 5
    });
    assert!(grown.throttled_ns.unwrap() > 0);
    if let Some(local) = CpuStat::read_local_throttled_ns(group.dir()).unwrap() {
        assert!(local > 0);
    }

    let (dir, path) = (group.dir().to_path_buf(), group.path().to_path_buf());
    assert!(matches!(
        own.create("test-throttle"),
        Err(OwnError::Exists { .. })
    ));
    group.close(LONG).unwrap();
    assert!(!dir.exists());
    assert!(Limits::read(own.hierarchy(), &path).unwrap_err().is_gone());
    child.wait().unwrap();
}

#[test]
fn a_group_out_of_scope_takes_its_processes_with_it() {
    let Some((_, group)) = real("test-drop") else {
        return;
    };
    group.set_quota(Some(MS), 100 * MS).unwrap();
    // Children that fork on while they are killed.
    let mut child = shell("read x; while :; do sleep 1000 & sleep 1000 & wait; done");
    group.add_process(child.id()).unwrap();
    drop(child.stdin.take());
    wait_for("the children", || group.processes().unwrap().len() >= 3);
    let dir = group.dir().to_path_buf();
    drop(group);
    assert!(!dir.exists());
    assert!(!child.wait().unwrap().success());
}

#[test]
fn a_group_in_use_is_not_removed() {
    let Some((own, mut group)) = real("test-busy") else {
        return;
    };
    let mut child = shell("read x");
    group.add_process(child.id()).unwrap();
    let error = group.remove(Duration::from_millis(20)).unwrap_err();
    assert!(
        error.to_string().contains(&child.id().to_string()),
        "{error}"
    );
    let found = own.remove_leftovers("gohang-test-busy").unwrap();
    assert_eq!(
        found.kept,
        [Kept {
            path: group.path().into(),
            why: WhyKept::OwnerLives
        }]
    );
    // It ends by itself, and the group can go although nobody has collected it.
    drop(child.stdin.take());
    group.remove(LONG).unwrap();
    assert!(
        group
            .add_process(child.id())
            .unwrap_err()
            .to_string()
            .contains("cannot write")
    );
    child.wait().unwrap();
}

#[test]
fn a_single_thread_is_moved_on_version_1() {
    let Some((own, group)) = real("test-thread") else {
        return;
    };
    if group.version() != Version::V1 {
        println!("skipped: the cpu controller is on cgroup v2");
        return;
    }
    let (send_tid, tid) = mpsc::channel();
    let (go_on, wait) = mpsc::channel::<()>();
    let worker = thread::spawn(move || {
        // SAFETY: gettid takes nothing and cannot fail.
        send_tid.send(unsafe { libc::gettid() }).unwrap();
        let _ = wait.recv();
    });
    let tid = u32::try_from(tid.recv().unwrap()).unwrap();
    group.add_thread(tid).unwrap();
    let proc = ProcRoot::default();
    let cpu_of = |tid| {
        Membership::read(&proc, tid)
            .unwrap()
            .cpu()
            .unwrap()
            .path
            .clone()
    };
    assert_eq!(cpu_of(tid), group.path());
    assert_ne!(cpu_of(std::process::id()), group.path());
    // Its process is this one.
    assert!(matches!(group.kill(LONG), Err(OwnError::SelfInside { .. })));
    drop(go_on);
    worker.join().unwrap();
    wait_for("the thread's end", || group.processes().unwrap().is_empty());
    drop(group);
    assert_eq!(own.remove_leftovers("gohang-test-thread").unwrap().kept, []);
}

#[test]
fn everything_at_once_on_version_2() {
    let layout = CgroupLayout::read(&ProcRoot::default()).unwrap();
    let Some(v2) = layout.v2() else {
        println!("skipped: cgroup v2 is not mounted");
        return;
    };
    // Made by hand, because the cpu controller may be elsewhere.
    let dir = v2
        .mount_point
        .join(format!("gohang-test-v2-{}", std::process::id()));
    if let Err(error) = fs::create_dir(&dir) {
        println!(
            "skipped: cannot make a group in {}: {error}",
            v2.mount_point.display()
        );
        return;
    }
    let path = v2.path_of(&dir).unwrap();
    let group = OwnGroup::new(Version::V2, dir.clone(), path, None);
    let mut child = shell("read x; sleep 1000 & sleep 1000 & wait");
    group.add_process(child.id()).unwrap();
    drop(child.stdin.take());
    wait_for("the children", || group.processes().unwrap().len() >= 3);
    let own = Membership::read(&ProcRoot::default(), child.id()).unwrap();
    assert_eq!(own.v2().unwrap().path, group.path());
    group.kill(LONG).unwrap();
    assert!(group.processes().unwrap().is_empty());
    drop(group);
    assert!(!Path::new(&dir).exists());
    child.wait().unwrap();
}
