//! One program, built in every way that changes what its file looks like.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::{env, fs};

use super::toolchain::{Options, Toolchain, have, toolchains};

/// Traces itself and makes a system call on all threads, so that everything is linked
/// that asks goroutines to yield.
const SOURCE: &str = "package main\n\
    import (\"io\"; \"runtime/trace\"; \"syscall\")\n\
    func main() {\n\
    trace.Start(io.Discard); trace.Stop()\n\
    syscall.AllThreadsSyscall(syscall.SYS_GETPID, 0, 0, 0)\n\
    println(\"ready\"); select {} }\n";
/// The same with C in it.
const CGO: &str = "package main\n// static int one(void) { return 1; }\nimport \"C\"\n\
    func main() { println(\"ready\", C.one()); select {} }\n";
/// The architecture that this machine is not of.
const OTHER: &str = if cfg!(target_arch = "aarch64") {
    "amd64"
} else {
    "arm64"
};

/// A program.
pub struct Program {
    /// Its version and how it was built.
    pub name: String,
    /// The 27 of `go1.27.3`.
    pub minor: u32,
    /// The version as it stands in the program.
    pub version: String,
    pub path: PathBuf,
    /// The program with the same code that has its symbol table: often itself.
    pub whole: PathBuf,
    /// Whether it is built with [`SOURCE`].
    pub pure_go: bool,
}

impl Program {
    pub fn is_stripped(&self) -> bool {
        self.path != self.whole
    }
}

/// All programs of all tool chains, built once.
pub fn programs() -> &'static [Program] {
    static PROGRAMS: OnceLock<Vec<Program>> = OnceLock::new();
    PROGRAMS.get_or_init(|| {
        // A folder that is kept: what did not change is not linked again.
        let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("go-programs");
        let (strip, cc) = (have("strip"), have("cc"));
        let build = |go: &Toolchain| {
            let dir = dir.join(&go.version);
            fs::create_dir_all(&dir).unwrap();
            let pie = &["-buildmode=pie"][..];
            let mut all = Set {
                go,
                dir: &dir,
                strip,
                programs: Vec::new(),
            };
            all.add("plain", Options::default());
            all.add(
                "pie",
                Options {
                    args: pie,
                    ..Options::default()
                },
            );
            let other = Options {
                arch: Some(OTHER),
                ..Options::default()
            };
            all.add(OTHER, other);
            all.add(&format!("{OTHER}-pie"), Options { args: pie, ..other });
            if cc {
                let cgo = Options {
                    cgo: true,
                    ..Options::default()
                };
                all.add("cgo", cgo);
                all.add("cgo-pie", Options { args: pie, ..cgo });
            }
            all.programs
        };
        toolchains().iter().flat_map(build).collect()
    })
}

/// The programs of one tool chain.
struct Set<'a> {
    go: &'a Toolchain,
    dir: &'a Path,
    strip: bool,
    programs: Vec<Program>,
}

impl Set<'_> {
    /// Adds the program, without symbols (`-s -w`), and treated with `strip`.
    fn add(&mut self, name: &str, options: Options<'_>) {
        let source = if options.cgo { CGO } else { SOURCE };
        let whole = self.go.build(self.dir, name, source, options);
        self.push(name, &whole, &whole, !options.cgo);
        let args = [options.args, &["-ldflags=-s -w"]].concat();
        let named = format!("{name}-sw");
        let small = Options {
            args: &args,
            ..options
        };
        let small = self.go.build(self.dir, &named, source, small);
        self.push(&named, &small, &whole, !options.cgo);
        if self.strip && options.arch.is_none() {
            let named = format!("{name}-strip");
            let small = self.dir.join(&named);
            let mut strip = Command::new("strip");
            let done = strip.arg("-o").arg(&small).arg(&whole).status().unwrap();
            assert!(done.success(), "{named}");
            self.push(&named, &small, &whole, !options.cgo);
        }
    }

    fn push(&mut self, name: &str, path: &Path, whole: &Path, pure_go: bool) {
        self.programs.push(Program {
            name: format!("{} {name}", self.go.version),
            minor: self.go.minor(),
            version: self.go.version.clone(),
            path: path.to_owned(),
            whole: whole.to_owned(),
            pure_go,
        });
    }
}
