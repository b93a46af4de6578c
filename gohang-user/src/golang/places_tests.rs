//! Tests of naming places in processes of small programs made to measure.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};
use std::path::PathBuf;
use std::sync::Arc;

use super::places::{Place, Places};
use super::safepoint::SafePoint;
use super::synthetic::{Builder, inline_block};
use super::synthetic_pclntab::{TestFunction, pclntab};
use crate::process::ProcRoot;

/// Inside the text segment, which lies at offset 0 and address 0x400000.
const TEXT: u64 = 0x40_0100;

/// A Go program with `main.spin` and, from 0x20 on, a function in assembly.
fn program(name: &str) -> Vec<u8> {
    let mut assembly = TestFunction::new("main.asm", 0x20);
    assembly.flags = 4;
    let functions = [TestFunction::new(name, 0x20), assembly];
    Builder::new(true, false)
        .data_section(".gopclntab", &pclntab(true, TEXT, &functions))
        .data_section(".go.buildinfo", &inline_block("go1.24.11", ""))
        .build()
}

/// A `/proc` with processes of small programs.
struct Fixture {
    dir: tempfile::TempDir,
    places: Places,
}

impl Fixture {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let places = Places::new(ProcRoot::new(dir.path()));
        Self { dir, places }
    }

    fn file(&self, name: &str, content: &[u8]) -> PathBuf {
        let path = self.dir.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(&path, content).unwrap();
        path
    }

    /// A followed process that has `file` mapped at `base`.
    fn process(&mut self, pid: u32, file: &PathBuf, base: u64) {
        let range = format!("{base:x}-{:x}", base + 0x1000);
        let inode = fs::metadata(file).unwrap().ino();
        let maps = format!("{range} r-xp 00000000 fe:00 {inode} /bin/spin\n");
        self.file(&format!("{pid}/maps"), maps.as_bytes());
        let link = self.dir.path().join(format!("{pid}/map_files/{range}"));
        fs::create_dir_all(link.parent().unwrap()).unwrap();
        symlink(file, link).unwrap();
        self.places.follow(pid);
    }

    fn at(&mut self, pid: u32, pc: u64) -> Option<Arc<Place>> {
        self.places.begin_round();
        self.places.at(pid, pc)
    }
}

fn place(function: Option<&str>, safe_point: SafePoint) -> Option<Arc<Place>> {
    Some(Arc::new(Place {
        function: function.map(str::to_owned),
        safe_point: Some(safe_point),
    }))
}

#[test]
fn static_and_moved_processes_of_one_program() {
    let mut fixture = Fixture::new();
    let file = fixture.file("spin", &program("main.spin"));
    for (pid, base) in [(40, 0x40_0000), (41, 0x7f12_3456_0000)] {
        fixture.process(pid, &file, base);
        for _ in 0..2 {
            let spin = place(Some("main.spin"), SafePoint::Safe);
            assert_eq!(fixture.at(pid, base + 0x100), spin);
            assert_eq!(fixture.at(pid, base + 0x11f), spin);
            let assembly = place(Some("main.asm"), SafePoint::Assembly);
            assert_eq!(fixture.at(pid, base + 0x120), assembly);
            // In the file but no function; in no file, as the vDSO.
            assert_eq!(fixture.at(pid, base + 0x10), place(None, SafePoint::NotGo));
            assert_eq!(fixture.at(pid, u64::MAX), place(None, SafePoint::NotGo));
        }
        assert_eq!(fixture.places.files_opened(), 1);
    }
}

#[test]
fn what_was_read_is_remembered_until_the_process_ends() {
    let mut fixture = Fixture::new();
    let file = fixture.file("spin", &program("main.spin"));
    fixture.process(40, &file, 0x40_0000);
    assert!(fixture.at(40, TEXT).is_some());
    // Ended, but not known to have.
    fs::remove_dir_all(fixture.dir.path().join("40")).unwrap();
    assert!(fixture.at(40, TEXT).is_some());
    assert!(fixture.at(40, TEXT + 1).is_some());
    // Without time left only what is remembered.
    fixture.places.exhaust_round();
    assert!(fixture.places.at(40, TEXT).is_some());
    assert!(fixture.places.at(40, TEXT + 2).is_none());
    fixture.places.begin_round();
    assert!(fixture.places.at(40, TEXT + 2).is_some());
    // Another program, of a process that is gone when it is asked.
    fixture.places.follow(40);
    assert_eq!(fixture.at(40, TEXT), None);
    fixture.places.forget(40);
    assert_eq!(fixture.at(40, TEXT), None);
}

#[test]
fn another_program_under_the_same_id() {
    let mut fixture = Fixture::new();
    let first = fixture.file("first", &program("main.first"));
    fixture.process(40, &first, 0x40_0000);
    let name = |place: Option<Arc<Place>>| place.unwrap().function.clone().unwrap();
    assert_eq!(name(fixture.at(40, TEXT)), "main.first");
    fs::remove_dir_all(fixture.dir.path().join("40")).unwrap();
    let second = fixture.file("second", &program("main.second"));
    fixture.process(40, &second, 0x40_0000);
    assert_eq!(name(fixture.at(40, TEXT)), "main.second");
}

#[test]
fn other_files_and_damaged_ones() {
    let mut fixture = Fixture::new();
    let c = Builder::new(true, false).data_section(".data", &[0; 64]);
    let old = Builder::new(true, false)
        .data_section(".data", &[0; 64])
        .data_section(".go.buildinfo", &inline_block("go1.24.11", ""));
    for (pid, content, want) in [
        (40, c.build(), place(None, SafePoint::NotGo)),
        (41, b"#!/bin/sh".to_vec(), place(None, SafePoint::NotGo)),
        (42, old.build(), None),
        (43, program(&"n".repeat(1 << 20)), None),
    ] {
        let file = fixture.file(&format!("file{pid}"), &content);
        fixture.process(pid, &file, 0x40_0000);
        for _ in 0..2 {
            assert_eq!(fixture.at(pid, TEXT), want, "{pid}");
        }
    }
    assert_eq!(fixture.places.files_opened(), 4);
    // A long name is cut.
    let file = fixture.file("long", &program(&"é".repeat(200)));
    fixture.process(44, &file, 0x40_0000);
    let long = fixture.at(44, TEXT).unwrap().function.clone().unwrap();
    assert!(long.len() <= 256 && long.ends_with("é..."), "{long}");
}

#[test]
fn few_files_are_kept_open() {
    let mut fixture = Fixture::new();
    for pid in 100..300 {
        let file = fixture.file(&format!("file{pid}"), &program(&format!("main.f{pid}")));
        fixture.process(pid, &file, 0x40_0000);
    }
    for pid in (100..300).chain(100..102) {
        let found = fixture.at(pid, TEXT).unwrap().function.clone();
        assert_eq!(found, Some(format!("main.f{pid}")));
        assert!(fixture.places.files_kept() <= 64);
    }
}
