//! The tool chains that the tests build programs with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A `go` command and its version.
pub struct Toolchain {
    command: PathBuf,
    /// Where it is installed, if it cannot be left to find that itself.
    root: Option<PathBuf>,
    pub version: String,
}

/// How a program is built.
#[derive(Debug, Clone, Copy, Default)]
pub struct Options<'a> {
    /// With cgo, which needs a C compiler.
    pub cgo: bool,
    /// For an architecture, by Go's name; the machine's own without.
    pub arch: Option<&'a str>,
    /// The version that `go.mod` asks for; an old one without.
    pub go_line: Option<&'a str>,
    /// Arguments of `go build`.
    pub args: &'a [&'a str],
}

/// The tool chains to test with; says so when there is none.
pub fn toolchains() -> Vec<Toolchain> {
    let found: Vec<Toolchain> = if let Some(named) = std::env::var_os("GOHANG_TEST_GO") {
        std::env::split_paths(&named)
            .filter_map(|command| Toolchain::new(command, None))
            .collect()
    } else if let Some(root) = std::env::var_os("GOHANG_GO_ROOT") {
        let mut roots: Vec<PathBuf> = fs::read_dir(root)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|root| root.join("bin/go").is_file())
            .collect();
        roots.sort();
        let each = roots.into_iter();
        each.filter_map(|root| Toolchain::new(root.join("bin/go"), Some(root)))
            .collect()
    } else {
        Toolchain::new("go".into(), None).into_iter().collect()
    };
    if found.is_empty() {
        println!("skipped: no Go toolchain (put go on PATH or set GOHANG_TEST_GO)");
    }
    found
}

/// Whether there is a program of that name to run.
pub fn have(program: &str) -> bool {
    let found = Command::new(program).arg("--version").output().is_ok();
    if !found {
        println!("skipped: what needs {program}, which is not installed");
    }
    found
}

impl Toolchain {
    fn new(command: PathBuf, root: Option<PathBuf>) -> Option<Self> {
        let mut toolchain = Self {
            command,
            root,
            version: String::new(),
        };
        let output = toolchain.go().args(["env", "GOVERSION"]).output().ok()?;
        toolchain.version = String::from_utf8(output.stdout).ok()?.trim().to_owned();
        toolchain.version.starts_with("go1.").then_some(toolchain)
    }

    /// The `go` command, as it is here and without what the environment may ask of it.
    pub fn go(&self) -> Command {
        let mut go = Command::new(&self.command);
        go.env("GOTOOLCHAIN", "local").env_remove("GOFLAGS");
        match &self.root {
            Some(root) => go.env("GOROOT", root),
            None => &mut go,
        };
        go
    }

    /// The 27 of `go1.27.3`.
    pub fn minor(&self) -> u32 {
        let digits = self.version["go1.".len()..].split(|c: char| !c.is_ascii_digit());
        digits.into_iter().next().unwrap().parse().unwrap()
    }

    /// Builds `source` as `dir/name`.
    pub fn build(&self, dir: &Path, name: &str, source: &str, options: Options<'_>) -> PathBuf {
        let module = dir.join(format!("{name}.d"));
        fs::create_dir_all(&module).unwrap();
        let go_line = options.go_line.unwrap_or("1.18");
        let go_mod = format!("module example.org/gohang\n\ngo {go_line}\n");
        fs::write(module.join("go.mod"), go_mod).unwrap();
        fs::write(module.join("main.go"), source).unwrap();
        let out = dir.join(name);
        let mut go = self.go();
        if let Some(arch) = options.arch {
            go.env("GOARCH", arch);
        }
        let built = go
            .args(["build", "-p=2", "-buildvcs=false", "-o"])
            .arg(&out)
            .args(options.args)
            .env("CGO_ENABLED", if options.cgo { "1" } else { "0" })
            .current_dir(&module)
            .output()
            .unwrap();
        assert!(
            built.status.success(),
            "{} does not build {name}: {}",
            self.version,
            String::from_utf8_lossy(&built.stderr)
        );
        out
    }
}
