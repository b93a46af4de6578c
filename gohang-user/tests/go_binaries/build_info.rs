//! Programs and libraries, on disk and running.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use gohang::golang::{
    Arch, Elf, FileImage, GoProgram, Inspector, Probe, RuntimeFunctions, Symbols, inspect_image,
};
use gohang::process::ProcRoot;
use proptest::prelude::*;
use proptest::test_runner::{Config, TestRunner};

use super::toolchain::{Options, Toolchain, have, toolchains};

// A lone goroutine that waits for nothing would be a deadlock, and end the program.
const PLAIN: &str = "package main\nimport \"time\"\n\
    func main() { println(\"ready\"); time.Sleep(time.Hour) }\n";
const CGO: &str = "package main\n// static int one(void) { return 1; }\nimport \"C\"\n\
    func main() { println(\"ready\", C.one()); select {} }\n";
const SHARED: &str = "package main\nimport \"C\"\n//export Ready\nfunc Ready() { println(\"ready\") }\n\
    func main() {}\n";
const HOST: &str = "void Ready(void);\n#include <unistd.h>\n\
    int main(void) { Ready(); pause(); return 0; }\n";

impl Toolchain {
    /// Builds `source` with `args` as `dir/name`.
    fn build_with(
        &self,
        dir: &Path,
        name: &str,
        source: &str,
        cgo: bool,
        args: &[&str],
    ) -> PathBuf {
        let options = Options {
            cgo,
            args,
            ..Options::default()
        };
        self.build(dir, name, source, options)
    }

    fn check(&self, program: &GoProgram) {
        assert_eq!(program.build.version.raw(), self.version);
        let host = Arch::host();
        assert_eq!(program.arch, host);
        if program
            .build
            .version
            .minor()
            .is_some_and(|minor| (17..=27).contains(&minor))
        {
            assert_eq!(program.offsets.map(|offsets| offsets.g_m), Ok(48));
        }
    }
}

/// A process that is ended when the test leaves.
struct Running(Child);

impl Running {
    /// Starts `command` and waits for its line on stderr.
    fn start(command: &mut Command) -> Self {
        let mut child = command.stderr(Stdio::piped()).spawn().unwrap();
        let mut line = String::new();
        BufReader::new(child.stderr.as_mut().unwrap())
            .read_line(&mut line)
            .unwrap();
        assert!(line.starts_with("ready"), "{line}");
        Self(child)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn inspect(path: &Path) -> GoProgram {
    let image = fs::read(path).unwrap();
    inspect_image(&image[..]).unwrap().expect("a Go program")
}

#[test]
fn programs_of_every_build_mode() {
    for go in toolchains() {
        let dir = tempfile::tempdir().unwrap();
        let plain = inspect(&go.build_with(dir.path(), "plain", PLAIN, false, &[]));
        go.check(&plain);
        assert_eq!(plain.build.info.cgo(), Some(false));
        // Recorded since 1.20.
        let modes = plain.build.version.at_least(20);
        assert_eq!(plain.build.info.build_mode(), modes.then_some("exe"));
        assert_eq!(plain.build.info.path.as_deref(), Some("example.org/gohang"));
        assert!(!plain.stripped && !plain.position_independent);
        if plain.build.version.at_least(25) {
            // The module's go line is older than the setting.
            assert_eq!(
                plain.build.info.default_godebug("containermaxprocs"),
                Some("0")
            );
        }
        let stripped =
            inspect(&go.build_with(dir.path(), "stripped", PLAIN, false, &["-ldflags=-s -w"]));
        go.check(&stripped);
        assert!(stripped.stripped);
        assert_eq!(stripped.build.info.setting("-ldflags"), Some("-s -w"));
        let pie = inspect(&go.build_with(dir.path(), "pie", PLAIN, false, &["-buildmode=pie"]));
        go.check(&pie);
        assert!(pie.position_independent);
        if !have("cc") {
            continue;
        }
        for (name, args) in [
            ("cgo", &[][..]),
            ("cgo-pie", &["-buildmode=pie", "-ldflags=-s"]),
        ] {
            let cgo = inspect(&go.build_with(dir.path(), name, CGO, true, args));
            go.check(&cgo);
            assert_eq!(cgo.build.info.cgo(), Some(true));
            assert_eq!(cgo.position_independent, name == "cgo-pie");
        }
    }
}

#[test]
fn running_and_deleted_programs() {
    for go in toolchains() {
        let dir = tempfile::tempdir().unwrap();
        let exe = go.build_with(dir.path(), "plain", PLAIN, false, &["-ldflags=-s -w"]);
        let inspector = Inspector::new(ProcRoot::default());
        let first = Running::start(&mut Command::new(&exe));
        let second = Running::start(&mut Command::new(&exe));
        fs::remove_file(&exe).unwrap();
        for process in [&first, &second] {
            let found = inspector
                .inspect(process.0.id())
                .unwrap()
                .unwrap_or_else(|| panic!("{}: no Go program", go.version));
            go.check(&found.program);
            assert_eq!(found.library, None);
            let status = ProcRoot::default().status(process.0.id()).unwrap();
            assert!(status.sig_caught.has_sigurg() && status.threads > 1);
        }
        assert_eq!(inspector.files_read(), 1);
        drop(second);
    }
}

#[test]
fn a_go_library_in_a_c_program() {
    if !have("cc") {
        return;
    }
    for go in toolchains() {
        let dir = tempfile::tempdir().unwrap();
        let library = go.build_with(
            dir.path(),
            "libready.so",
            SHARED,
            true,
            &["-buildmode=c-shared"],
        );
        let elf = Elf::parse(FileImage::new(File::open(&library).unwrap()).unwrap()).unwrap();
        let symbols = Symbols::open(elf).unwrap();
        let functions = RuntimeFunctions::find(&symbols).unwrap();
        let points = functions.attach_points(&symbols);
        assert_eq!(points.len(), Probe::ALL.len(), "{}", go.version);
        fs::write(dir.path().join("host.c"), HOST).unwrap();
        let host = dir.path().join("host");
        let built = Command::new("cc")
            .arg(dir.path().join("host.c"))
            .arg(&library)
            .arg("-o")
            .arg(&host)
            .status()
            .unwrap();
        assert!(built.success());
        let process = Running::start(Command::new(&host).env("LD_LIBRARY_PATH", dir.path()));
        let inspector = Inspector::new(ProcRoot::default());
        let pid = process.0.id();
        assert!(inspector.inspect_exe(pid).unwrap().is_none());
        let found = inspector.inspect(pid).unwrap().expect("a Go library");
        go.check(&found.program);
        assert_eq!(found.library.as_deref(), Some(library.as_path()));
        let modes = found.program.build.version.at_least(20);
        assert_eq!(
            found.program.build.info.build_mode(),
            modes.then_some("c-shared")
        );
    }
}

#[test]
fn damaged_programs_never_panic_nor_lie() {
    for go in toolchains() {
        let dir = tempfile::tempdir().unwrap();
        let exe = go.build_with(
            dir.path(),
            "pie",
            PLAIN,
            false,
            &["-buildmode=pie", "-ldflags=-s -w"],
        );
        let image = fs::read(exe).unwrap();
        let magic = b"\xff Go buildinf:";
        let block = image
            .windows(magic.len())
            .position(|part| part == magic)
            .unwrap();
        let shoff = u64::from_le_bytes(*image[40..].first_chunk().unwrap()) as usize;
        // Where the readers look: headers, section table, the block itself.
        let places = [(0, 1024), (shoff, image.len() - shoff), (block, 300)];
        let edit = (0..places.len(), any::<prop::sample::Index>(), any::<u8>());
        let edits = prop::collection::vec(edit, 0..6);
        let cut = any::<Option<prop::sample::Index>>();
        let mut runner = TestRunner::new(Config {
            cases: 400,
            failure_persistence: None,
            ..Config::default()
        });
        runner
            .run(&(edits, cut), |(edits, cut)| {
                let mut damaged = image.clone();
                for (place, index, byte) in &edits {
                    let (start, len) = places[*place];
                    damaged[start + index.index(len)] = *byte;
                }
                let cut = cut.map(|cut| cut.index(damaged.len()));
                damaged.truncate(cut.unwrap_or(image.len()));
                let found = inspect_image(&damaged[..]);
                if edits.is_empty() && cut.is_none() {
                    let found = found.unwrap().expect("the undamaged program");
                    prop_assert_eq!(found.build.version.raw(), go.version.as_str());
                }
                Ok(())
            })
            .unwrap();
    }
}
