use std::os::unix::fs::symlink;

use proptest::prelude::*;

use super::*;

const V1: &str = "32 31 0:29 / /sys/fs/cgroup/cpu,cpuacct rw shared:9 - cgroup cgroup rw,cpu,cpuacct\n\
    34 31 0:31 / /sys/fs/cgroup/cpuset rw - cgroup cgroup rw,cpuset\n";
const V2: &str = "30 23 0:26 / /sys/fs/cgroup rw,nosuid shared:4 - cgroup2 cgroup2 rw\n";
const V1_CGROUP: &str = "4:cpuset:/set\n3:cpu,cpuacct:/a/b\n0::/u\n";

/// What 1.25 and what 1.26 find, as text.
fn found(cgroup: &str, mountinfo: &str) -> [Option<(Version, String)>; 2] {
    [false, true].map(|matches| {
        let (version, path) = find(cgroup.as_bytes(), mountinfo.as_bytes(), matches)?;
        Some((version, String::from_utf8(path).expect("text")))
    })
}

fn both(version: Version, path: &str) -> [Option<(Version, String)>; 2] {
    [Some((version, path.into())), Some((version, path.into()))]
}

#[test]
fn version_1_with_the_controller_wins() {
    let at = "/sys/fs/cgroup/cpu,cpuacct/a/b";
    for mounts in [[V1, V2].concat(), [V2, V1].concat(), V1.into()] {
        assert_eq!(found(V1_CGROUP, &mounts), both(Version::V1, at));
    }
    assert_eq!(found("0::/u\n", V2), both(Version::V2, "/sys/fs/cgroup/u"));
    // cpuset and cpuacct are not cpu.
    let cgroup = "4:cpuset:/set\n3:cpuacct:/a\n0::/u\n";
    assert_eq!(found(cgroup, V2), both(Version::V2, "/sys/fs/cgroup/u"));
    // A hierarchy that the process cannot see.
    let [old, new] = found(V1_CGROUP, V2);
    assert_eq!(old, Some((Version::V1, "/sys/fs/cgroup/a/b".into())));
    assert_eq!(new, None);
    assert_eq!(found("4:cpuset:/set\n", V1), [None, None]);
    assert_eq!(found("", V1), [None, None]);
    assert_eq!(found(V1_CGROUP, ""), [None, None]);
}

#[test]
fn a_part_of_the_hierarchy_is_seen_from_1_26_on() {
    let part = "30 23 0:26 /docker/c1 /sys/fs/cgroup ro - cgroup2 cgroup rw\n";
    assert_eq!(
        found("0::/docker/c1/x\n", part),
        [
            Some((Version::V2, "/sys/fs/cgroup/docker/c1/x".into())),
            Some((Version::V2, "/sys/fs/cgroup/x".into()))
        ]
    );
    assert_eq!(
        found("0::/docker/c1\n", part)[1],
        Some((Version::V2, "/sys/fs/cgroup".into()))
    );
    // c10 is not below c1.
    assert_eq!(found("0::/docker/c10\n", part)[1], None);
    // The first that shows the group, and for 1.25 the last of all.
    let second = "31 23 0:26 / /mnt\\040x rw - cgroup2 none rw\n";
    assert_eq!(
        found("0::/docker/c10\n", &[part, second].concat()),
        both(Version::V2, "/mnt x/docker/c10")
    );
    // Outside the namespace.
    let mount = |root: &str| format!("30 23 0:26 {root} /c rw - cgroup2 none rw\n");
    assert_eq!(found("0::/../../init\n", &mount("/.."))[1], None);
    assert_eq!(found("0::/../init\n", &mount("/"))[1], None);
    assert_eq!(
        found("0::/../../init\n", &mount("/../.."))[1],
        Some((Version::V2, "/c/init".into()))
    );
    assert_eq!(
        found("0::/\n", &mount("/")),
        [
            Some((Version::V2, "/c/".into())),
            Some((Version::V2, "/c".into()))
        ]
    );
}

#[test]
fn damage_ends_the_search_as_in_the_runtime() {
    for mounts in [
        "x\n",
        "1 2 0:3 root /p rw - cgroup2 x rw\n",
        "1 2 0:3 / /p rw -\n",
    ] {
        assert_eq!(found("0::/u\n", &[mounts, V2].concat()), [None, None]);
    }
    assert_eq!(found("0:/u\n0::/u\n", V2), [None, None]);
    assert_eq!(found("0::u\n", V2), [None, None]);
    assert_eq!(unescape(b"a\\04"), None);
    assert_eq!(unescape(b"a\\049"), None);
    assert_eq!(unescape(b"a\\777"), None);
    let long = format!("0::/{}\n", "x".repeat(PATH_MAX));
    assert_eq!(found(&long, V2), [None, None]);
}

fn version(raw: &str) -> GoVersion {
    GoVersion::parse(raw).expect("a version")
}

/// A `/proc` with process 7 in group `/a` of version 2, of a part of the hierarchy.
fn fixture(max: Option<&str>) -> (tempfile::TempDir, ProcRoot) {
    let dir = tempfile::tempdir().expect("a directory");
    let pid = dir.path().join("7");
    fs::create_dir_all(pid.join("ns")).expect("made");
    fs::create_dir_all(dir.path().join("self/ns")).expect("made");
    fs::create_dir_all(pid.join("root/cg/a")).expect("made");
    fs::write(pid.join("cgroup"), "0::/part/a\n").expect("written");
    let mount = "30 23 0:26 /part /cg rw - cgroup2 cgroup rw\n";
    fs::write(pid.join("mountinfo"), mount).expect("written");
    if let Some(max) = max {
        fs::write(pid.join("root/cg/a/cpu.max"), max).expect("written");
    }
    symlink("cgroup:[1]", dir.path().join("self/ns/cgroup")).expect("linked");
    symlink("cgroup:[1]", pid.join("ns/cgroup")).expect("linked");
    let proc = ProcRoot::new(dir.path());
    (dir, proc)
}

#[test]
fn the_quota_is_read_through_the_processs_root() {
    let (dir, proc) = fixture(Some("50000 100000\n"));
    let read = |raw: &str| LeafQuota::read(&proc, 7, &version(raw)).expect("readable");
    let found = read("go1.27.3");
    assert_eq!(found.dir.as_deref(), Some(Path::new("/cg/a")));
    assert_eq!(found.limit.and_then(|limit| limit.cpus()), Some(0.5));
    // 1.25 looks beside the mount, 1.24 not at all.
    for raw in ["go1.25.5", "go1.24.11"] {
        let nothing = read(raw);
        assert_eq!((nothing.dir, nothing.limit), (None, None), "{raw}");
    }
    // In a namespace of its own both see the mount's root as theirs.
    let link = dir.path().join("7/ns/cgroup");
    fs::remove_file(&link).expect("removed");
    symlink("cgroup:[2]", &link).expect("linked");
    assert_eq!(read("go1.25.5"), read("go1.27.3"));
    assert!(
        LeafQuota::read(&proc, 8, &version("go1.27.3"))
            .expect_err("no such process")
            .is_gone()
    );
}

#[test]
fn no_file_and_no_limit_are_told_apart_by_the_group() {
    for (max, group) in [
        (None, false),
        (Some("max 100000\n"), true),
        (Some("soon\n"), true),
    ] {
        let (_dir, proc) = fixture(max);
        let found = LeafQuota::read(&proc, 7, &version("go1.26.0")).expect("readable");
        assert_eq!((found.dir.is_some(), found.limit), (group, None), "{max:?}");
    }
}

proptest! {
    #[test]
    fn any_bytes_are_searched_without_panic(
        cgroup in prop::collection::vec(any::<u8>(), 0..80),
        mounts in prop::collection::vec(any::<u8>(), 0..200),
        cut in 0..V1.len(),
    ) {
        for matches in [false, true] {
            let _ = find(&cgroup, &mounts, matches);
            let _ = find(V1_CGROUP.as_bytes(), &V1.as_bytes()[cut..], matches);
            let _ = find(V1_CGROUP.as_bytes(), &V1.as_bytes()[..cut], matches);
        }
    }

    #[test]
    fn a_group_below_the_whole_hierarchy_is_found_alike(group in "(/[a-z.]{1,5}[a-z]){1,4}") {
        let [old, new] = found(&format!("0::{group}\n"), V2);
        prop_assert_eq!(&old, &new);
        prop_assert_eq!(old.map(|(_, path)| path), Some(format!("/sys/fs/cgroup{group}")));
    }
}
