//! What a command prints, within a time.

use std::io::{self, Read};
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

/// Most that is kept of what a command prints.
const MOST: u64 = 1 << 20;
/// Time between two looks at a command that runs.
const LOOK: Duration = Duration::from_millis(5);

/// A command's end.
#[derive(Debug)]
pub(super) struct Output {
    pub status: ExitStatus,
    pub stdout: String,
    pub stderr: String,
}

/// Runs `command` in a process group of its own, without input, and ends it after `limit`.
///
/// # Errors
/// It cannot be started, or did not end in time ([`io::ErrorKind::TimedOut`]).
pub(super) fn run(command: &mut Command, limit: Duration) -> io::Result<Output> {
    let begin = Instant::now();
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()?;
    let stdout = reader(child.stdout.take());
    let stderr = reader(child.stderr.take());
    let status = loop {
        if let Some(status) = child.try_wait()? {
            break status;
        }
        if begin.elapsed() >= limit {
            end(&mut child);
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("it did not end within {limit:?}"),
            ));
        }
        thread::sleep(LOOK);
    };
    // A process that it left behind may hold the pipes open for ever.
    let rest = |text: mpsc::Receiver<String>| {
        let left = limit.saturating_sub(begin.elapsed());
        text.recv_timeout(left).unwrap_or_default()
    };
    Ok(Output {
        status,
        stdout: rest(stdout),
        stderr: rest(stderr),
    })
}

fn reader(pipe: Option<impl Read + Send + 'static>) -> mpsc::Receiver<String> {
    let (send, receive) = mpsc::channel();
    if let Some(pipe) = pipe {
        thread::spawn(move || {
            let mut raw = Vec::new();
            // What came before an error is what there is.
            let _ = pipe.take(MOST).read_to_end(&mut raw);
            let _ = send.send(String::from_utf8_lossy(&raw).into_owned());
        });
    }
    receive
}

/// Ends the command and what it started in its group.
fn end(child: &mut Child) {
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    let _ = child.kill();
    let _ = child.wait();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, limit: Duration) -> io::Result<Output> {
        run(Command::new("/bin/sh").args(["-c", script]), limit)
    }

    #[test]
    fn both_outputs_and_the_status() {
        let found = sh("echo out; echo err >&2; exit 3", Duration::from_secs(60)).expect("it ends");
        assert_eq!((&*found.stdout, &*found.stderr), ("out\n", "err\n"));
        assert_eq!(found.status.code(), Some(3));
        let missing = run(&mut Command::new("/nonexistent"), LOOK).expect_err("no such file");
        assert_eq!(missing.kind(), io::ErrorKind::NotFound);
    }

    #[test]
    fn a_command_that_hangs_is_ended_with_its_children() {
        let begin = Instant::now();
        let error = sh("sleep 600 & sleep 600", Duration::from_millis(50)).expect_err("too long");
        assert_eq!(error.kind(), io::ErrorKind::TimedOut);
        assert!(begin.elapsed() < Duration::from_secs(60));
    }

    #[test]
    fn endless_output_is_cut() {
        let found = sh("exec head -c 3000000 /dev/zero", Duration::from_secs(60));
        // The pipe is closed under it.
        if let Ok(found) = found {
            assert!(found.stdout.len() as u64 <= MOST);
        }
    }
}
