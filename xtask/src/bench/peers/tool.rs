//! A tool under way: started until it is attached, looked at, and ended as Ctrl-C does.

use std::fs;
use std::io::{BufRead as _, BufReader, Read};
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};

use crate::bench::set;
use crate::process::describe;

/// How long attaching, and ending, may take.
const LIMIT: Duration = Duration::from_secs(60);

/// How long a tool that attaches opens no file at most; a tracepoint takes some milliseconds.
const SETTLED: Duration = Duration::from_millis(250);

/// Mounts tracefs where it is not, for this program alone, and becomes what its arguments say.
const WITH_TRACEFS: &str = "[ -d /sys/kernel/tracing/events/sched ] || \
                            mount -t tracefs tracefs /sys/kernel/tracing; exec \"$@\"";

/// When a tool is attached.
#[derive(Debug, Clone, Copy)]
pub enum Ready {
    /// When it prints a line that contains this.
    Says(&'static str),
    /// When it has said so and opens no more files: bpftrace tells of its probes before it
    /// attaches them.
    Settles(&'static str),
    /// When it has so many perf events open, and a moment to enable them: `perf record` says
    /// nothing of it.
    HasEvents(usize),
}

/// What a tool takes while it is attached.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Takes {
    /// Resident memory at its most, KiB.
    pub peak_kib: u64,
    /// Kernel memory of its maps, KiB.
    pub map_kib: u64,
    /// CPU time of its own while attached, percent of a CPU.
    pub cpu_percent: f64,
    /// Runs of its kernel programs that the kernel left out because another ran on that CPU.
    pub missed: u64,
}

/// What a tool printed.
#[derive(Debug)]
pub struct Said {
    /// Standard output.
    pub out: String,
    /// Standard error.
    pub err: String,
}

/// The tool, killed when dropped.
#[derive(Debug)]
pub struct Tool {
    child: Child,
    out: Option<JoinHandle<String>>,
    err: Option<JoinHandle<String>>,
    begin: Instant,
    cpu: Duration,
}

/// A command in a mount namespace of its own that has tracefs.
pub fn with_tracefs(program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", WITH_TRACEFS, "sh"]);
    command.arg(program);
    command
}

impl Tool {
    /// Starts it and waits until it is attached.
    ///
    /// # Errors
    /// It ends before, or takes too long.
    pub fn start(mut command: Command, ready: Ready) -> Result<Self> {
        let what = describe(&command);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: two system calls between fork and exec; the default action is no function.
        unsafe {
            command.pre_exec(|| {
                libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
                // A shell without job control has what it starts ignore it.
                libc::signal(libc::SIGINT, libc::SIG_DFL);
                Ok(())
            })
        };
        let mut child = command
            .spawn()
            .with_context(|| format!("could not start `{what}`"))?;
        let word = match ready {
            Ready::Says(word) | Ready::Settles(word) => Some(word),
            Ready::HasEvents(_) => None,
        };
        let (tell, told) = channel();
        let (out, err) = (child.stdout.take(), child.stderr.take());
        let mut tool = Self {
            child,
            out: out.map(|out| read(out, word, tell.clone())),
            err: err.map(|err| read(err, word, tell)),
            begin: Instant::now(),
            cpu: Duration::ZERO,
        };
        let attached = match ready {
            Ready::Says(_) => tool.says(&told),
            Ready::Settles(_) => tool.says(&told) && tool.settles(),
            Ready::HasEvents(count) => tool.has_events(count),
        };
        if !attached {
            drop(tool.child.kill());
            let said = tool.collect()?;
            bail!(
                "`{what}` does not attach: {} {}",
                said.out.trim(),
                said.err.trim()
            );
        }
        tool.begin = Instant::now();
        tool.cpu = tool.cpu_time()?;
        Ok(tool)
    }

    fn says(&self, told: &Receiver<()>) -> bool {
        // Both readers end, and with them the channel, when the tool does.
        told.recv_timeout(LIMIT).is_ok()
    }

    fn settles(&mut self) -> bool {
        let folder = format!("/proc/{}/fd", self.child.id());
        let (mut before, mut since) = (0, Instant::now());
        while matches!(self.child.try_wait(), Ok(None)) {
            let now = fs::read_dir(&folder).map_or(0, Iterator::count);
            if now != before {
                (before, since) = (now, Instant::now());
            } else if since.elapsed() > SETTLED {
                return true;
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    fn has_events(&mut self, count: usize) -> bool {
        let folder = format!("/proc/{}/fd", self.child.id());
        let is_event = |path: &Path| {
            fs::read_link(path).is_ok_and(|to| to.to_string_lossy().contains("[perf_event]"))
        };
        let deadline = Instant::now() + LIMIT;
        while Instant::now() < deadline && matches!(self.child.try_wait(), Ok(None)) {
            let entries = fs::read_dir(&folder).into_iter().flatten().flatten();
            if entries.filter(|entry| is_event(&entry.path())).count() >= count {
                thread::sleep(Duration::from_millis(200));
                return matches!(self.child.try_wait(), Ok(None));
            }
            thread::sleep(Duration::from_millis(5));
        }
        false
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What it takes since it was attached.
    ///
    /// # Errors
    /// It is gone.
    pub fn takes(&self) -> Result<Takes> {
        let cpu = self.cpu_time()?.saturating_sub(self.cpu);
        Ok(Takes {
            peak_kib: status_kib(self.pid(), "VmHWM")?,
            map_kib: set::map_bytes(self.pid())? / 1024,
            cpu_percent: 100.0 * cpu.as_secs_f64() / self.begin.elapsed().as_secs_f64(),
            missed: missed(self.pid())?,
        })
    }

    /// CPU time of its threads so far.
    fn cpu_time(&self) -> Result<Duration> {
        let path = format!("/proc/{}/stat", self.pid());
        let text = fs::read_to_string(&path).with_context(|| format!("could not read {path}"))?;
        let ticks = ticks(&text).with_context(|| format!("{path} says {text:?}"))?;
        // SAFETY: no pointers.
        let second = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
        let second = u32::try_from(second).context("clock ticks a second")?;
        Ok(Duration::from_secs(ticks) / second)
    }

    /// Ends it as Ctrl-C does, and takes what it printed.
    ///
    /// # Errors
    /// It does not end.
    pub fn stop(mut self) -> Result<Said> {
        let pid = libc::pid_t::try_from(self.pid())?;
        // SAFETY: no pointers; the child has not been waited for, so that the id is its own.
        unsafe { libc::kill(pid, libc::SIGINT) };
        let deadline = Instant::now() + LIMIT;
        while self.child.try_wait()?.is_none() {
            if Instant::now() > deadline {
                bail!("it does not end within {LIMIT:?}");
            }
            thread::sleep(Duration::from_millis(2));
        }
        self.collect()
    }

    fn collect(&mut self) -> Result<Said> {
        self.child.wait()?;
        let join = |reader: Option<JoinHandle<String>>| {
            let reader = reader.context("no output")?;
            reader.join().ok().context("a reader panicked")
        };
        Ok(Said {
            out: join(self.out.take())?,
            err: join(self.err.take())?,
        })
    }
}

impl Drop for Tool {
    fn drop(&mut self) {
        // Both fail only if it has ended already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Reads to the end, and tells of a line with `word`.
fn read(
    from: impl Read + Send + 'static,
    word: Option<&'static str>,
    tell: Sender<()>,
) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut all = String::new();
        for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if word.is_some_and(|word| line.contains(word)) {
                // Nobody may be waiting any more.
                let _ = tell.send(());
            }
            all.push_str(&line);
            all.push('\n');
        }
        all
    })
}

/// User and system time in `/proc/PID/stat`, clock ticks: fields 14 and 15 (proc(5)).
fn ticks(stat: &str) -> Option<u64> {
    // The name in brackets may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    user.checked_add(fields.next()?.parse().ok()?)
}

fn status_kib(pid: u32, key: &str) -> Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    text.lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .and_then(|value| value.trim().strip_suffix(" kB")?.parse().ok())
        .with_context(|| format!("no {key} in its status"))
}

/// The sum of `recursion_misses` of a process's programs (5.12 and later; 0 before).
fn missed(pid: u32) -> Result<u64> {
    let folder = format!("/proc/{pid}/fdinfo");
    let entries = fs::read_dir(&folder).with_context(|| format!("could not read {folder}"))?;
    let of = |text: &str| {
        text.lines().find_map(|line| {
            line.strip_prefix("recursion_misses:")?
                .trim()
                .parse::<u64>()
                .ok()
        })
    };
    // A descriptor may be closed meanwhile.
    let texts = entries.filter_map(|entry| fs::read_to_string(entry.ok()?.path()).ok());
    Ok(texts.filter_map(|text| of(&text)).sum())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_stand_behind_the_name() {
        let stat = "7 (a ) b) S 1 7 7 0 -1 4194560 100 0 0 0 12 30 0 0 20 0 1 0 5 6 7";
        assert_eq!(ticks(stat), Some(42));
        assert_eq!(ticks("7 (a) S 1 2"), None);
        assert_eq!(ticks(""), None);
    }

    #[test]
    fn a_tool_is_waited_for_and_ended() {
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "trap 'echo end; exit' INT; echo on >&2; while :; do sleep 0.01; done",
        ]);
        let tool = Tool::start(command, Ready::Says("on")).expect("it starts");
        let takes = tool.takes().expect("it is there");
        assert!(takes.peak_kib > 0 && takes.map_kib == 0 && takes.missed == 0);
        let said = tool.stop().expect("it ends");
        assert_eq!((said.out.as_str(), said.err.as_str()), ("end\n", "on\n"));
    }

    #[test]
    fn a_tool_that_ends_is_an_error_with_its_words() {
        for ready in [Ready::Says("on"), Ready::HasEvents(1)] {
            let mut command = Command::new("sh");
            command.args(["-c", "echo refused >&2; exit 1"]);
            let error = Tool::start(command, ready).expect_err("it ends");
            assert!(error.to_string().contains("refused"), "{error}");
        }
    }
}
