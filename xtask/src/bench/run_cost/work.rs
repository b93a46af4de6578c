//! Commands that finish normally, bare or below gohang.

use std::fs;
use std::io;
use std::mem;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};

use crate::bench::pairs::{Figure, Figures};
use crate::process;

const fn milliseconds(title: &'static str) -> Figure {
    Figure {
        title,
        unit: "ms",
        more_is_better: false,
    }
}

/// What a run is measured by.
pub static FIGURES: [Figure; 2] = [milliseconds("time"), milliseconds("CPU time")];

/// A command.
#[derive(Debug)]
pub struct Work {
    /// What it is called.
    pub title: &'static str,
    what: What,
    /// Arguments of `gohang run` for it.
    options: &'static [&'static str],
    /// How often it runs in one run, whose figures are the mean.
    repeats: u32,
    /// Whether it is a suite, so that a share of its time says something.
    pub is_suite: bool,
}

/// What a command is.
#[derive(Debug)]
enum What {
    /// These words.
    Words(&'static [&'static str]),
    /// `go test` of packages of Go itself, as they are.
    Packages(&'static [&'static str]),
    /// The tests of a file, built before ([`Place::new`]).
    Tests,
}

/// A suite that waits for most of its time, and the program that it becomes.
const TESTS: &str = include_str!("waits_test.go");
const TESTS_PROGRAM: &str = "waits.test";

/// All commands. The suites are ones whose time is their own: no network, no random load, no
/// files beyond what the packages bring. That of a suite that computes is as much its neighbours'
/// on processors that it shares; that of one that waits is not.
pub static WORKS: [Work; 5] = [
    Work {
        title: "`true`",
        what: What::Words(&["true"]),
        options: &[],
        repeats: 20,
        is_suite: false,
    },
    Work {
        title: "`sleep 2`, looked at 100 times",
        what: What::Words(&["sleep", "2"]),
        options: &["--trace", "never", "--sample-every", "20ms"],
        repeats: 1,
        is_suite: false,
    },
    Work {
        title: "`go test sort`",
        what: What::Packages(&["sort"]),
        options: &[],
        repeats: 1,
        is_suite: false,
    },
    Work {
        title: "`go test bytes encoding/json math/big sort strings text/template`",
        what: What::Packages(&[
            "bytes",
            "encoding/json",
            "math/big",
            "sort",
            "strings",
            "text/template",
        ]),
        options: &[],
        repeats: 1,
        is_suite: true,
    },
    Work {
        title: "24 tests that ask servers 10 times each, which take 50 ms to answer",
        what: What::Tests,
        options: &[],
        repeats: 1,
        is_suite: true,
    },
];

/// Where they run.
#[derive(Debug)]
pub struct Place {
    folder: PathBuf,
    root: PathBuf,
}

impl Place {
    /// With the tool chain in `root`, and caches and [`TESTS`] below `folder`.
    ///
    /// # Errors
    /// The folder cannot be made, there is no tool chain, or the tests cannot be built.
    pub fn new(folder: &Path, root: &Path) -> Result<Self> {
        let place = Self {
            folder: folder.join("run-cost"),
            root: root.to_owned(),
        };
        let folder = &place.folder;
        fs::create_dir_all(folder)
            .with_context(|| format!("could not make {}", folder.display()))?;
        if !place.go().is_file() {
            bail!("there is no Go in {}", root.display());
        }
        for (name, text) in [
            ("go.mod", "module waits\n\ngo 1.21\n"),
            ("waits_test.go", TESTS),
        ] {
            let path = folder.join(name);
            fs::write(&path, text)
                .with_context(|| format!("could not write {}", path.display()))?;
        }
        let mut build = Command::new(place.go());
        process::run(place.set(build.args(["test", "-c", "-o", TESTS_PROGRAM, "."])))?;
        Ok(place)
    }

    fn go(&self) -> PathBuf {
        self.root.join("bin/go")
    }

    /// Has the command run there.
    fn set<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .current_dir(&self.folder)
            .env("GOROOT", &self.root)
            .env("GOCACHE", self.folder.join("cache"))
            .env("GOTOOLCHAIN", "local")
            .env("GOPROXY", "off")
            .env("GOFLAGS", "")
            .env("CGO_ENABLED", "0")
            .env_remove("GODEBUG")
            .env_remove("GOMAXPROCS")
            .stdin(Stdio::null())
    }
}

impl Work {
    /// Runs it behind `wrapper` (`gohang run` with arguments, or nothing), and measures it.
    ///
    /// # Errors
    /// It cannot be started or fails.
    pub fn run(&self, place: &Place, wrapper: &[&str]) -> Result<Figures> {
        let (mut time, mut cpu) = (Duration::ZERO, Duration::ZERO);
        for _ in 0..self.repeats {
            let mut command = self.command(place, wrapper)?;
            let (cpu_before, begin) = (children_cpu_time()?, Instant::now());
            // Its output is taken as a CI's runner takes it, by pipes.
            let end = command.output().context("could not start a command")?;
            time += begin.elapsed();
            cpu += children_cpu_time()?.saturating_sub(cpu_before);
            if !end.status.success() {
                bail!(
                    "{}: {}: {}{}",
                    self.title,
                    end.status,
                    String::from_utf8_lossy(&end.stdout),
                    String::from_utf8_lossy(&end.stderr)
                );
            }
        }
        let mean = |sum: Duration| sum.as_secs_f64() * 1e3 / f64::from(self.repeats);
        Ok(vec![mean(time), mean(cpu)])
    }

    fn command(&self, place: &Place, wrapper: &[&str]) -> Result<Command> {
        let (go, tests) = (place.go(), place.folder.join(TESTS_PROGRAM));
        let mut words = wrapper.to_vec();
        if !words.is_empty() {
            words.extend(self.options);
            words.push("--");
        }
        match self.what {
            What::Words(own) => words.extend(own),
            What::Packages(packages) => {
                words.push(go.to_str().context("not UTF-8")?);
                words.extend(["test", "-count=1"]);
                words.extend(packages);
            }
            What::Tests => words.push(tests.to_str().context("not UTF-8")?),
        }
        let mut command = Command::new(words[0]);
        place.set(command.args(&words[1..]));
        Ok(command)
    }
}

/// CPU time of all children that were waited for, and of theirs.
fn children_cpu_time() -> Result<Duration> {
    // SAFETY: all zero is a valid rusage; it is a plain struct of integers.
    let mut usage: libc::rusage = unsafe { mem::zeroed() };
    // SAFETY: the struct is valid for the call to write to.
    if unsafe { libc::getrusage(libc::RUSAGE_CHILDREN, &raw mut usage) } != 0 {
        return Err(io::Error::last_os_error()).context("getrusage");
    }
    let of = |time: libc::timeval| {
        let seconds = u64::try_from(time.tv_sec).context("a negative time")?;
        let micros = u64::try_from(time.tv_usec).context("a negative time")?;
        anyhow::Ok(Duration::from_secs(seconds) + Duration::from_micros(micros))
    };
    Ok(of(usage.ru_utime)? + of(usage.ru_stime)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_is_measured_and_its_failure_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let place = Place {
            folder: folder.path().to_owned(),
            root: folder.path().to_owned(),
        };
        let nothing = &WORKS[0];
        let figures = nothing.run(&place, &[]).expect("true");
        assert_eq!(figures.len(), FIGURES.len());
        assert!(figures[0] > 0.0);
        let loop_of = [
            "sh",
            "-c",
            "i=0; while [ $i -lt 20000 ]; do i=$((i+1)); done",
        ];
        let busy = nothing.run(&place, &loop_of).expect("a loop");
        assert!(
            busy[1] > 0.0 && busy[1] > figures[1],
            "{busy:?} {figures:?}"
        );
        assert!(nothing.run(&place, &["sh", "-c", "exit 3"]).is_err());
        assert!(WORKS[2].run(&place, &[]).is_err());
        assert!(Place::new(folder.path(), folder.path()).is_err());
    }
}
