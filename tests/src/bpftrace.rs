//! bpftrace as an independent reference: a script that counts, and the maps that it prints at
//! its end.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail, ensure};
use serde_json::Value;

use crate::sys;

/// How long attaching may take before the run counts as failed.
const READY_LIMIT: Duration = Duration::from_secs(60);
/// How long it opens no file at most while it attaches; a tracepoint takes some milliseconds.
const SETTLED: Duration = Duration::from_millis(250);
/// How long it may take to end and print after SIGINT.
const END_LIMIT: Duration = Duration::from_secs(30);

/// Maps by name, each of counts by key.
pub type Maps = BTreeMap<String, BTreeMap<Vec<u32>, u64>>;

/// A running bpftrace, killed when dropped.
pub struct Bpftrace {
    child: Child,
    ready: Receiver<()>,
    /// Its standard output and standard error.
    output: Receiver<(String, String)>,
    /// Ends the thread that started it, which must outlive it.
    release: Option<Sender<()>>,
    keeper: Option<JoinHandle<()>>,
}

impl Bpftrace {
    /// Runs `script` with the bpftrace at `program`, and waits until it is attached.
    ///
    /// # Errors
    /// When it cannot be executed, refuses the script or ends before.
    pub fn start(program: &Path, script: &str) -> Result<Self> {
        let mut command = Command::new(program);
        command
            .args(["-f", "json", "-B", "none", "-e", script])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        // SAFETY: one async-signal-safe system call between fork and exec.
        unsafe {
            command.pre_exec(|| {
                sys::die_with_parent();
                Ok(())
            })
        };
        let (tell_child, child) = channel();
        let (tell_ready, ready) = channel();
        let (tell_output, output) = channel();
        let (release, released) = channel::<()>();
        // Should tracefs have to be mounted, then only for this thread and what it starts.
        let keeper = std::thread::spawn(move || {
            let started = sys::tracefs_root()
                .context("tracefs is not there and cannot be mounted")
                .and_then(|_| command.spawn().context("cannot run bpftrace"));
            let pipes = match started {
                Ok(mut child) => {
                    let pipes = (child.stdout.take(), child.stderr.take());
                    // Nobody has gone away yet: it is waited for below.
                    let _ = tell_child.send(Ok(child));
                    pipes
                }
                Err(why) => {
                    let _ = tell_child.send(Err(why));
                    return;
                }
            };
            if let (Some(out), Some(err)) = pipes {
                let _ = tell_output.send(read(out, err, &tell_ready));
            }
            // Who still waits for it need not wait any longer.
            drop(tell_ready);
            // An error says that the other side is dropped.
            let _ = released.recv();
        });
        let child = child
            .recv()
            .context("the thread that starts bpftrace is gone")??;
        let bpftrace = Self {
            child,
            ready,
            output,
            release: Some(release),
            keeper: Some(keeper),
        };
        if bpftrace.ready.recv_timeout(READY_LIMIT).is_err() {
            let (out, err) = bpftrace.output.try_recv().unwrap_or_default();
            bail!("bpftrace does not attach: {} {}", out.trim(), err.trim());
        }
        bpftrace.settle()?;
        Ok(bpftrace)
    }

    /// Waits until it opens no more files: it tells of its probes before it attaches them.
    fn settle(&self) -> Result<()> {
        let folder = format!("/proc/{}/fd", self.child.id());
        let (mut before, mut since) = (0, Instant::now());
        while since.elapsed() < SETTLED {
            let entries = std::fs::read_dir(&folder);
            let now = entries.with_context(|| format!("cannot read {folder}"))?;
            let now = now.count();
            if now != before {
                (before, since) = (now, Instant::now());
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        Ok(())
    }

    /// Runs of its programs that the kernel left out, because another ran on that CPU: events
    /// that it has not counted. Zero too on kernels that do not say (before 5.12).
    ///
    /// # Errors
    /// When it is gone.
    pub fn missed(&self) -> Result<u64> {
        let folder = format!("/proc/{}/fdinfo", self.child.id());
        let mut sum = 0;
        for entry in std::fs::read_dir(&folder).with_context(|| format!("cannot read {folder}"))? {
            let text = std::fs::read_to_string(entry?.path()).unwrap_or_default();
            let figure = text
                .lines()
                .find_map(|line| line.strip_prefix("recursion_misses:"));
            sum += figure.map_or(Ok(0), |n| n.trim().parse::<u64>())?;
        }
        Ok(sum)
    }

    /// Ends it as Ctrl-C does, and takes what it has counted.
    ///
    /// # Errors
    /// When it does not end in time or well, or prints something else than maps.
    pub fn stop(mut self) -> Result<Maps> {
        sys::kill(i32::try_from(self.child.id())?, libc::SIGINT)
            .context("cannot signal bpftrace")?;
        let deadline = Instant::now() + END_LIMIT;
        let status = loop {
            if let Some(status) = self.child.try_wait()? {
                break status;
            }
            ensure!(
                Instant::now() < deadline,
                "bpftrace does not end within {END_LIMIT:?}"
            );
            std::thread::sleep(Duration::from_millis(2));
        };
        let output = self.output.recv_timeout(END_LIMIT);
        let (out, err) = output.map_err(|_| anyhow!("bpftrace's output does not end"))?;
        ensure!(
            status.success(),
            "bpftrace ended with {status}: {}",
            err.trim()
        );
        parse(&out)
    }
}

impl Drop for Bpftrace {
    fn drop(&mut self) {
        // Already ended in the good case; otherwise a failed test must not leave it running.
        let _ = self.child.kill();
        let _ = self.child.wait();
        self.release = None;
        if let Some(keeper) = self.keeper.take() {
            let _ = keeper.join();
        }
    }
}

/// Reads both outputs to their ends, and says when it is attached.
fn read(out: impl Read, mut err: impl Read + Send, ready: &Sender<()>) -> (String, String) {
    std::thread::scope(|scope| {
        let errors = scope.spawn(move || {
            let mut all = Vec::new();
            // What was read before an error is what there is.
            let _ = err.read_to_end(&mut all);
            String::from_utf8_lossy(&all).into_owned()
        });
        let mut all = String::new();
        for line in BufReader::new(out).split(b'\n').map_while(Result::ok) {
            let line = String::from_utf8_lossy(&line);
            if line.contains("\"attached_probes\"") {
                let _ = ready.send(());
            }
            all.push_str(&line);
            all.push('\n');
        }
        (all, errors.join().unwrap_or_default())
    })
}

/// The maps in the output of `bpftrace -f json`.
///
/// # Errors
/// On a line that is not JSON, a map that is not one of counts by numbers, and on a message
/// that events or keys were lost.
pub fn parse(text: &str) -> Result<Maps> {
    let mut maps = Maps::new();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
        match value["type"].as_str() {
            Some("map") => {
                let data = value["data"].as_object();
                for (name, entries) in data.context("a map without data")? {
                    let map = maps.entry(name.clone()).or_default();
                    for (key, count) in entries.as_object().context("a map without keys")? {
                        let key: Vec<u32> = key
                            .split(',')
                            .map(|part| part.trim().parse())
                            .collect::<Result<_, _>>()
                            .with_context(|| format!("the key {key:?} of {name}"))?;
                        let count = count.as_u64().context("a map of something else")?;
                        map.insert(key, count);
                    }
                }
            }
            Some("attached_probes") => {}
            other => bail!("bpftrace prints {other:?}: {line}"),
        }
    }
    Ok(maps)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn maps_are_read() {
        let text = "{\"type\": \"attached_probes\", \"data\": {\"probes\": 2}}\n\n\
                    {\"type\": \"map\", \"data\": {\"@a\": {\"7,8,0\": 3, \"7,9,2\": 1}}}\n\
                    {\"type\": \"map\", \"data\": {\"@b\": {\"7\": 4}}}\n";
        let maps = parse(text).expect("valid");
        assert_eq!(maps["@a"][&vec![7, 8, 0]], 3);
        assert_eq!(maps["@a"].len(), 2);
        assert_eq!(maps["@b"][&vec![7]], 4);
    }

    #[test]
    fn losses_and_other_things_are_errors() {
        for text in [
            "{\"type\": \"lost_events\", \"data\": {\"events\": 5}}",
            "{\"type\": \"map\", \"data\": {\"@a\": {\"x\": 3}}}",
            "{\"type\": \"map\", \"data\": {\"@a\": {\"1\": \"many\"}}}",
            "{\"type\": \"map\", \"data\": 5}",
            "{\"type\": \"map\"",
            "words",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }
}
