//! Real dumps: of one program, built by each Go version, with goroutines of known number and
//! kind; and of a test that hangs.

use std::fs;
use std::path::Path;
use std::time::Instant;

use proptest::prelude::*;

use super::*;
use crate::golang::gotest::TestStream;

const VERSIONS: [&str; 8] = [
    "1.19.8", "1.21.13", "1.22.10", "1.23.9", "1.24.11", "1.25.5", "1.26.6", "1.27.3",
];

fn text(name: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dumps");
    fs::read_to_string(folder.join(name)).unwrap()
}

fn minor(version: &str) -> u32 {
    version.split('.').nth(1).unwrap().parse().unwrap()
}

/// The group whose innermost own function is `function`.
fn of<'a>(groups: &'a [Group], function: &str) -> &'a Group {
    let in_it = |group: &&Group| group.frames.iter().any(|frame| frame.function == function);
    groups
        .iter()
        .find(in_it)
        .unwrap_or_else(|| panic!("no {function}: {groups:#?}"))
}

#[test]
fn every_version_is_read_whole() {
    for version in VERSIONS {
        let text = text(&format!("go{version}.txt"));
        let dump = parse(&text);
        assert_eq!(dump.reason.as_deref(), Some("SIGQUIT: quit"), "{version}");
        let headers = text
            .lines()
            .filter(|line| line.starts_with("goroutine ") && line.ends_with(':'));
        assert_eq!(dump.goroutines.len(), headers.count(), "{version}");
        let created = text
            .lines()
            .filter(|line| line.starts_with("created by "))
            .count();
        let with_creator = dump.goroutines.iter().filter(|g| g.created_by.is_some());
        assert_eq!(with_creator.count(), created, "{version}");
        // Every line of a place is the place of a frame or of a creator.
        let places = text.lines().filter(|line| line.starts_with('\t')).count();
        let unavailable = dump.goroutines.iter().filter(|g| g.unavailable).count();
        let frames: usize = dump.goroutines.iter().map(|g| g.frames.len()).sum();
        assert_eq!(frames + created + unavailable, places, "{version}");
        assert!(
            dump.goroutines
                .iter()
                .all(|g| !g.frames.is_empty() || g.unavailable)
        );
        for goroutine in &dump.goroutines {
            let parent = goroutine.created_by.as_ref().and_then(|by| by.goroutine);
            let told = minor(version) >= 21 && goroutine.created_by.is_some();
            assert_eq!(parent.is_some(), told, "{version} {goroutine:?}");
        }
        let has_m = dump.goroutines.iter().any(|g| g.header.m.is_some());
        assert_eq!(has_m, minor(version) >= 22, "{version}");
    }
}

#[test]
fn the_same_stacks_are_one_group() {
    for version in VERSIONS {
        let dump = parse(&text(&format!("go{version}.txt")));
        let groups = group(&dump.goroutines);
        let sum: usize = groups.iter().map(|group| group.ids.len()).sum();
        assert_eq!(sum, dump.goroutines.len());
        let receivers = of(&groups, "main.(*holder).receive");
        assert_eq!(
            (receivers.ids.len(), receivers.status.as_str()),
            (3, "chan receive")
        );
        let lockers = of(&groups, "main.lock");
        assert_eq!(lockers.ids.len(), 2, "{version}");
        let locked = dump
            .goroutines
            .iter()
            .find(|g| g.header.status == "chan send")
            .unwrap();
        assert!(locked.header.locked, "{version}");
        assert_eq!(
            of(&groups, "main.main.func1").status,
            "chan receive (nil chan)"
        );
        assert_eq!(of(&groups, "main.main.func2").status, "select (no cases)");
        // A processor-bound goroutine was stopped where it was, or did not stop in time: the
        // machine was busy.
        let spins = |g: &&Goroutine| {
            g.unavailable || g.frames.iter().any(|frame| frame.function == "main.spin")
        };
        assert_eq!(dump.goroutines.iter().filter(spins).count(), 1, "{version}");
    }
}

#[test]
fn who_did_not_stop_is_told() {
    for version in ["1.21.13", "1.27.3"] {
        let dump = parse(&text(&format!("go{version}-asyncpreemptoff.txt")));
        let stuck: Vec<&Goroutine> = dump.goroutines.iter().filter(|g| g.unavailable).collect();
        assert_eq!(stuck.len(), 1, "{version}");
        assert_eq!(stuck[0].header.status, "running");
        assert!(stuck[0].frames.is_empty());
        let by = stuck[0].created_by.as_ref().unwrap();
        assert_eq!(by.frame.function, "main.main");
        assert!(by.frame.file.ends_with("main.go") && by.frame.line > 0);
    }
}

#[test]
fn a_test_that_hangs_is_in_focus() {
    for version in ["1.21.13", "1.27.3"] {
        let plain = text(&format!("go{version}-timeout.txt"));
        let mut printed = Vec::new();
        let mut stream = TestStream::default();
        let json = text(&format!("go{version}-timeout.jsonl"));
        stream.feed(json.as_bytes(), Instant::now(), |_, line| {
            printed.extend_from_slice(line)
        });
        for text in [plain, String::from_utf8(printed).unwrap()] {
            let dump = parse(&text);
            assert_eq!(
                dump.reason.as_deref(),
                Some("panic: test timed out after 1s")
            );
            let focus = dump.focus();
            assert_eq!(focus.len(), 1, "{focus:?}");
            assert_eq!(focus[0].test(), Some("example.com/hang.TestHang.func1"));
            let place = focus[0].place().unwrap();
            assert_eq!(place.function, "example.com/hang.wait");
            assert_eq!(
                (place.file.as_str(), place.line),
                ("example.com/hang/hang_test.go", 5)
            );
            assert_eq!(focus[0].header.status, "chan receive");
        }
    }
    // Without tests, what is not the runtime's.
    let dump = parse(&text("go1.27.3.txt"));
    let focus = dump.focus();
    let places: Vec<_> = focus.iter().filter_map(|g| g.place()).collect();
    assert!(
        places
            .iter()
            .all(|place| !place.function.starts_with("runtime."))
    );
    assert!(places.iter().any(|place| place.function == "main.lock"));
    assert!(
        focus.len() >= 10 && focus.len() < dump.goroutines.len(),
        "{}",
        focus.len()
    );
}

#[test]
fn one_printed_twice_is_one() {
    let once = "goroutine 1 [running]:\n\tgoroutine running on other thread; stack unavailable\n\n";
    let again = "goroutine 1 [running]:\nmain.main()\n\t/a.go:1 +0x1\n\n";
    let thread = "goroutine 0 [idle]:\nruntime.futex()\n\t/b.s:2 +0x3\n\n";
    let dump = parse(&[once, thread, "-----\n\n", again, thread].concat());
    assert_eq!(dump.goroutines.len(), 3);
    assert_eq!(dump.goroutines[0].frames.len(), 1);
    assert!(parse("").goroutines.is_empty());
}

proptest! {
    #[test]
    fn damaged_dumps_never_panic(
        version in proptest::sample::select(&VERSIONS[..]),
        cut in 0usize..12_000,
        from in 0usize..12_000,
        with in "\\PC{0,20}|\n\n|goroutine 1 \\[|:",
    ) {
        let whole = text(&format!("go{version}.txt"));
        let at = |at: usize| (0..=at.min(whole.len())).rev().find(|&at| whole.is_char_boundary(at)).unwrap_or(0);
        let (from, cut) = (at(from), at(cut));
        let damaged = [&whole[..cut], &with, &whole[from..]].concat();
        let dump = parse(&damaged);
        let groups = group(&dump.goroutines);
        let sum: usize = groups.iter().map(|group| group.ids.len()).sum();
        prop_assert_eq!(sum, dump.goroutines.len());
        let _ = dump.focus();
    }

    #[test]
    fn anything_is_taken(text in "(goroutine [0-9] \\[.{0,9}\\]:\n|.{0,20}\n|\t.{0,9}:[0-9]\n|[a-z.]{0,9}\\(.{0,5}\\)\n){0,12}") {
        let dump = parse(&text);
        let _ = (group(&dump.goroutines), dump.focus());
    }
}
