//! `go test` under `gohang run`: hung tests are named and explained.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::evidence::verdict_in;
use crate::go::VERSIONS;
use crate::product::{Finished, Gohang};
use crate::run::{Report, Settings, Test, skip};
use crate::wrapped::{self, LIMIT, words};

/// The package with the tests.
pub(super) const SOURCES: [(&str, &str); 2] = [
    ("go.mod", include_str!("../../../workloads/hang/go.mod")),
    (
        "hang_test.go",
        include_str!("../../../workloads/hang/hang_test.go"),
    ),
];

/// Another one, whose test serves its goroutines.
const SERVES: [(&str, &str); 2] = [
    ("go.mod", include_str!("../../../workloads/serve/go.mod")),
    (
        "serve_test.go",
        include_str!("../../../workloads/serve/serve_test.go"),
    ),
];

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::go_test_hangs",
            body: go_test_hangs,
        },
        Test {
            name: "run::go_test_forms",
            body: go_test_forms,
        },
        Test {
            name: "run::go_test_is_slow",
            body: go_test_is_slow,
        },
        Test {
            name: "run::go_test_serves",
            body: go_test_serves,
        },
        Test {
            name: "run::go_test_limits_clash",
            body: go_test_limits_clash,
        },
    ]
}

/// A folder with the package, and a tool chain.
pub(super) struct Package {
    folder: tempfile::TempDir,
    pub root: PathBuf,
    cache: PathBuf,
}

impl Package {
    fn new(settings: &Settings, version: &str) -> Result<Self> {
        Self::of(settings, version, &SOURCES)
    }

    /// With these files.
    pub fn of(settings: &Settings, version: &str, sources: &[(&str, &str)]) -> Result<Self> {
        let go_root = settings
            .go_root
            .as_ref()
            .ok_or_else(|| skip("no --go-root given"))?;
        let root = go_root.join(version);
        if !root.join("bin/go").is_file() {
            return Err(skip(format!("no {}", root.join("bin/go").display())));
        }
        let folder = tempfile::tempdir()?;
        for (name, text) in sources {
            std::fs::write(folder.path().join(name), text)?;
        }
        let cache = go_root.join("workloads/cache");
        let package = Self {
            folder,
            root,
            cache,
        };
        // What follows is not to spend its time on the compiler.
        let mut build = Command::new(package.root.join("bin/go"));
        build.args(["test", "-c", "-o", "/dev/null", "."]);
        let output = package.go(&mut build).output()?;
        ensure!(
            output.status.success(),
            "it does not build: {}",
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(package)
    }

    /// Its folder.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Has a command use the tool chain, in the folder.
    pub fn go<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(self.folder.path())
            .env("GOROOT", &self.root)
            .env("GOCACHE", &self.cache)
            .env("GOTOOLCHAIN", "local")
            .env("GOPROXY", "off")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
    }

    /// Runs `gohang run OPTIONS -- go test ARGUMENTS` with tests that hang in this way.
    pub fn test(
        &self,
        settings: &Settings,
        options: &[&str],
        arguments: &[&str],
        hang: &str,
    ) -> Result<Finished> {
        let go = self.root.join("bin/go");
        let mut command = words(&[go.to_str().context("not UTF-8")?, "test", "-count=1"]);
        command.extend(words(arguments));
        let mut wrapped = wrapped::wrapped(settings, options, &command)?;
        self.go(&mut wrapped).env("HANG", hang);
        let end = Gohang::spawn_command(&mut wrapped)?.wait(LIMIT)?;
        wrapped::nothing_left()?;
        Ok(end)
    }
}

/// Each way to hang, with every Go version: the test, the line and what it waits for are in the
/// verdict, and the dump is in the output.
fn go_test_hangs(settings: &Settings, report: &mut Report) -> Result<()> {
    for version in VERSIONS {
        let package = Package::new(settings, version)?;
        for (hang, cause, words) in [
            (
                "mutex",
                "deadlock (lock)",
                &["sync.Mutex.Lock at example.com/hang.lockTwice", "TestHang"][..],
            ),
            (
                "channel",
                "deadlock (channel)",
                &["chan receive at example.com/hang.receive", "TestHang/inner"],
            ),
            (
                "spin",
                "busy without progress",
                &["example.com/hang.spin", "TestHang"],
            ),
        ] {
            let end = package.test(settings, &["--idle-timeout", "3s"], &["-v"], hang)?;
            report.note(format!("{version} {hang}: {}", end.stderr_line()));
            ensure!(
                end.status.code() == Some(124),
                "{}: {}",
                end.status,
                end.stderr_line()
            );
            ensure!(
                !end.stderr.contains("evidence is lacking"),
                "{}",
                end.stderr_line()
            );
            let verdict = end.stderr.find("verdict: ").map(|at| &end.stderr[at..]);
            let verdict = verdict.with_context(|| format!("no verdict: {}", end.stderr_line()))?;
            for word in words.iter().chain([&cause]) {
                // On a busy machine a spinning thread may not stop in time for its stack.
                let unseen = *word == "example.com/hang.spin" && verdict.contains("did not stop");
                ensure!(verdict.contains(word) || unseen, "no {word:?} in {verdict}");
            }
            let output = String::from_utf8_lossy(&end.stdout);
            ensure!(
                output.contains("SIGQUIT: quit"),
                "no dump in the output: {output}"
            );
            ensure!(output.contains("--- PASS: TestFine"), "{output}");
        }
    }
    Ok(())
}

/// The test is known by name from `-v` and `-json`; from plain output by its goroutine.
fn go_test_forms(settings: &Settings, report: &mut Report) -> Result<()> {
    let package = Package::new(settings, VERSIONS[2])?;
    for (form, running) in [
        (&["-v"][..], "running: TestHang/inner ("),
        (&["-json"], "running: TestHang/inner in example.com/hang ("),
        (&[], "(hang.TestHang.func1): chan receive"),
    ] {
        let end = package.test(settings, &["--idle-timeout", "3s"], form, "channel")?;
        report.note(format!("{form:?}: {}", end.stderr_line()));
        ensure!(
            end.status.code() == Some(124),
            "{}: {}",
            end.status,
            end.stderr_line()
        );
        ensure!(
            end.stderr.contains(running),
            "no {running:?}: {}",
            end.stderr_line()
        );
        if form == ["-json"] {
            for line in end
                .stdout
                .split(|&byte| byte == b'\n')
                .filter(|line| !line.is_empty())
            {
                serde_json::from_slice::<serde_json::Value>(line).context("a line is not JSON")?;
            }
        }
    }
    // What nobody sees is not evidence, and that is said.
    let go = package.root.join("bin/go");
    let go = go.to_str().context("not UTF-8")?;
    let words = words(&[go, "test", "-count=1", "-run", "TestHang"]);
    let mut run = wrapped::wrapped(settings, &["--idle-timeout", "3s"], &words)?;
    let run = package.go(&mut run).env("HANG", "channel");
    let output = run.stdin(Stdio::null()).stdout(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(
        output.status.code() == Some(124) && said.contains("evidence is lacking: goroutines"),
        "{}: {said}",
        output.status
    );
    // Without the time for it, nothing is asked for.
    let options = ["--idle-timeout", "3s", "--dump-time", "never"];
    let end = package.test(settings, &options, &["-v"], "channel")?;
    let output = String::from_utf8_lossy(&end.stdout);
    ensure!(!output.contains("SIGQUIT"), "{output}");
    Ok(())
}

/// A test that gets on, if slowly, is left alone, and its output is what it is without gohang.
fn go_test_is_slow(settings: &Settings, report: &mut Report) -> Result<()> {
    let package = Package::new(settings, VERSIONS[2])?;
    let options = ["--idle-timeout", "4s", "--slow-after", "1s"];
    let end = package.test(settings, &options, &["-v", "-run", "TestHang"], "slow")?;
    report.note(end.stderr_line());
    end.expect_success()?;
    let mut bare = Command::new(package.root.join("bin/go"));
    bare.args(["test", "-count=1", "-v", "-run", "TestFine"]);
    let want = package
        .go(&mut bare)
        .env("HANG", "")
        .stdin(Stdio::null())
        .output()?;
    let got = package.test(settings, &[], &["-v", "-run", "TestFine"], "")?;
    // Times differ.
    let plain = |text: &[u8]| -> Vec<String> {
        let text = String::from_utf8_lossy(text).into_owned();
        text.lines()
            .map(|line| line.split('\t').take(2).collect())
            .collect()
    };
    ensure!(
        plain(&want.stdout) == plain(&got.stdout),
        "{want:?} {got:?}"
    );
    ensure!(
        got.status.code() == want.status.code() && got.stderr.is_empty(),
        "{got:?}"
    );
    Ok(())
}

/// Goroutines come from the program itself where it serves them and SIGQUIT does nothing.
fn go_test_serves(settings: &Settings, report: &mut Report) -> Result<()> {
    let package = Package::of(settings, VERSIONS[2], &SERVES)?;
    for (more, are_known) in [(&["--no-fetch"][..], false), (&[], true)] {
        let folder = tempfile::tempdir()?;
        let mut options = vec!["--bundle-dir", folder.path().to_str().context("not UTF-8")?];
        options.extend(["--idle-timeout", "3s", "--grace", "2s"]);
        options.extend(more);
        let end = package.test(settings, &options, &["-v"], "")?;
        report.note(format!("{more:?}: {}", end.stderr_line()));
        let output = String::from_utf8_lossy(&end.stdout);
        ensure!(!output.contains("SIGQUIT"), "{output}");
        let (verdict, _) = verdict_in(folder.path())?;
        let known = verdict.contains("example.com/serve.receive");
        ensure!(known == are_known, "{verdict}");
    }
    Ok(())
}

fn go_test_limits_clash(settings: &Settings, report: &mut Report) -> Result<()> {
    let package = Package::new(settings, VERSIONS[2])?;
    let run = ["-run", "TestFine"];
    for (options, arguments, word) in [
        (
            &["--timeout", "15m"][..],
            &run[..],
            Some("after its -timeout of 10 min"),
        ),
        (&["--timeout", "15m", "--idle-timeout", "5m"], &run, None),
        (
            &["--timeout", "5m"],
            &["-timeout", "3m", "-run", "TestFine"],
            Some("-timeout of 3 min"),
        ),
        (&["--timeout", "5m"], &run, None),
        (
            &["--job-limit", "9m"],
            &run,
            Some("the CI job ends in 9 min"),
        ),
    ] {
        let end = package.test(settings, options, arguments, "")?;
        report.note(format!("{options:?}: {}", end.stderr_line()));
        ensure!(end.status.success(), "{}", end.status);
        match word {
            Some(word) => ensure!(end.stderr.contains(word), "{}", end.stderr_line()),
            None => ensure!(end.stderr.is_empty(), "{}", end.stderr_line()),
        }
    }
    Ok(())
}
