//! Starts targets, senders and tracers: this binary again, in another mode.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::group::Group;
use crate::sys;

/// A child process of the harness with a pipe in and one out. Its input is closed, and it is
/// killed if need be, when this is dropped.
pub struct Actor {
    child: Child,
    out: BufReader<ChildStdout>,
    what: String,
}

impl Actor {
    /// Starts `command`, in `group` from its first instruction on.
    ///
    /// # Errors
    /// When it cannot be executed or cannot join the group.
    pub fn spawn(command: &mut Command, group: Option<&Group>) -> Result<Self> {
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        if let Some(group) = group {
            group.admit(command)?;
        }
        let what = format!("{command:?}");
        let mut child = command
            .spawn()
            .with_context(|| format!("cannot run {what}"))?;
        let out = BufReader::new(child.stdout.take().context("no pipe")?);
        Ok(Self { child, out, what })
    }

    /// Starts this binary in a hidden mode.
    ///
    /// # Errors
    /// As [`Actor::spawn`].
    pub fn mode(mode: &str, words: &[String], group: Option<&Group>) -> Result<Self> {
        let me = std::env::current_exe().context("this program's path is unknown")?;
        Self::spawn(Command::new(me).arg(mode).args(words), group)
    }

    /// Its process id.
    pub fn pid(&self) -> i32 {
        i32::try_from(self.child.id()).unwrap_or(0)
    }

    /// Reads lines until one starts with `word`; returns the rest of that line.
    ///
    /// # Errors
    /// When it ends first.
    pub fn expect(&mut self, word: &str) -> Result<String> {
        let mut line = String::new();
        loop {
            line.clear();
            if self.out.read_line(&mut line).unwrap_or(0) == 0 {
                let status = self.child.wait()?;
                bail!("{} ended with {status} before saying {word:?}", self.what);
            }
            if let Some(rest) = line.trim_end().strip_prefix(word) {
                return Ok(rest.trim().to_owned());
            }
        }
    }

    /// The number behind `word` on the next line that starts so.
    ///
    /// # Errors
    /// When it ends first or there is no number.
    pub fn expect_number(&mut self, word: &str) -> Result<u64> {
        let rest = self.expect(word)?;
        let first = rest.split(' ').next().unwrap_or("");
        first
            .parse()
            .with_context(|| format!("no number behind {word:?}: {rest:?}"))
    }

    /// Gives it a byte of input.
    ///
    /// # Errors
    /// When it has ended.
    pub fn go(&mut self) -> Result<()> {
        let input = self.child.stdin.as_mut().context("its input is closed")?;
        input
            .write_all(b"g")
            .with_context(|| format!("{} takes no input", self.what))
    }

    /// Closes its input, which ends it.
    pub fn close_input(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for its end.
    ///
    /// # Errors
    /// When it ends with an error.
    pub fn wait(&mut self) -> Result<()> {
        let status = self.child.wait()?;
        if !status.success() {
            bail!("{} ended with {status}", self.what);
        }
        Ok(())
    }

    /// Kills it and waits.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Actor {
    fn drop(&mut self) {
        self.close_input();
        let deadline = Instant::now() + Duration::from_secs(5);
        while matches!(self.child.try_wait(), Ok(None)) {
            if Instant::now() > deadline {
                self.kill();
            }
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// A target that is set up.
pub struct Target {
    /// Its process, or that of the intermediary for one in a PID namespace.
    pub actor: Actor,
    /// Its id in the root PID namespace.
    pub pid: i32,
    /// Its workers' ids in the root PID namespace, in the order of their names.
    pub workers: Vec<i32>,
}

impl Target {
    /// Starts a target of the given kind, see the `target` module.
    ///
    /// # Errors
    /// When it does not get ready.
    pub fn start(kind: &str, options: &[&str], group: Option<&Group>) -> Result<Self> {
        let mut words = vec![kind.to_owned()];
        words.extend(options.iter().map(|o| (*o).to_owned()));
        let mut actor = Actor::mode("__target", &words, group)?;
        actor.expect("ready")?;
        let pid = if kind == "pidns" {
            only_child(actor.pid())?
        } else {
            actor.pid()
        };
        let workers = workers(pid)?;
        Ok(Self {
            actor,
            pid,
            workers,
        })
    }

    /// Wraps another program (a Go workload).
    pub fn foreign(actor: Actor) -> Self {
        let pid = actor.pid();
        Self {
            actor,
            pid,
            workers: Vec::new(),
        }
    }

    /// Ends it and says how many signals its handler took.
    ///
    /// # Errors
    /// When it fails.
    pub fn finish(mut self) -> Result<u64> {
        self.actor.close_input();
        let handled = self.actor.expect_number("handled")?;
        self.actor.wait()?;
        Ok(handled)
    }
}

fn only_child(pid: i32) -> Result<i32> {
    let path = format!("/proc/{pid}/task/{pid}/children");
    let text = std::fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    text.trim()
        .parse()
        .with_context(|| format!("not one child in {path}: {text:?}"))
}

/// The threads of `pid` that are called w0, w1, ..., in that order.
///
/// # Errors
/// When the process is gone.
pub fn workers(pid: i32) -> Result<Vec<i32>> {
    let tasks = format!("/proc/{pid}/task");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(&tasks).with_context(|| format!("cannot read {tasks}"))? {
        let entry = entry?;
        let comm = std::fs::read_to_string(entry.path().join("comm")).unwrap_or_default();
        let number = comm
            .trim_end()
            .strip_prefix('w')
            .and_then(|n| n.parse::<u32>().ok());
        let tid = entry
            .file_name()
            .to_str()
            .and_then(|t| t.parse::<i32>().ok());
        found.extend(number.zip(tid));
    }
    found.sort_unstable();
    Ok(found.into_iter().map(|(_, tid)| tid).collect())
}

/// A sender's whole instruction; see the `sender` module.
#[derive(Clone, Copy, Debug)]
pub struct Sends {
    /// To the process, not to its workers in turn.
    pub to_process: bool,
    /// Microseconds between two; 0 for as fast as possible.
    pub every_us: u64,
    /// How many at most; 0 for no limit.
    pub count: u64,
    /// For how long at most, milliseconds; 0 for no limit.
    pub for_ms: u64,
    /// Before everything else on a busy machine.
    pub first: bool,
}

impl Sends {
    /// To the workers, one every so many microseconds for so many milliseconds.
    pub fn to_workers(every_us: u64, for_ms: u64) -> Self {
        Self {
            to_process: false,
            every_us,
            count: 0,
            for_ms,
            first: false,
        }
    }

    /// The same before everything else on a busy machine.
    pub fn first(self) -> Self {
        Self {
            first: true,
            ..self
        }
    }

    /// To the process, one every so many microseconds for so many milliseconds.
    pub fn to_process(every_us: u64, for_ms: u64) -> Self {
        Self {
            to_process: true,
            every_us,
            count: 0,
            for_ms,
            first: false,
        }
    }

    /// Starts a sender for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn start(self, target: &Target, group: Option<&Group>) -> Result<Actor> {
        let mut words = vec![
            format!("pid={}", target.pid),
            format!("us={}", self.every_us),
        ];
        words.push(format!(
            "dir={}",
            if self.to_process { "process" } else { "thread" }
        ));
        if !self.to_process {
            let tids: Vec<String> = target.workers.iter().map(i32::to_string).collect();
            words.push(format!("tids={}", tids.join(",")));
        }
        if self.first {
            words.push("first=1".to_owned());
        }
        if self.count > 0 {
            words.push(format!("count={}", self.count));
        }
        if self.for_ms > 0 {
            words.push(format!("ms={}", self.for_ms));
        }
        Actor::mode("__sender", &words, group)
    }
}

/// Sleeps; for settling, and for the length of a measurement.
pub fn pause_ms(ms: u64) {
    sys::sleep_ns(ms * 1_000_000);
}

/// Whether a path can be executed; for messages of skipped tests.
pub fn is_program(path: &Path) -> bool {
    path.is_file()
}
