//! A command of the user's that is run when another one hung: to upload what was kept, say.

use std::ffi::OsStr;
use std::io;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::keeper::Judged;
use super::say::say;
use crate::units::span;

/// Where the command finds the bundle and the verdict.
const BUNDLE: &str = "GOHANG_BUNDLE";
const VERDICT: &str = "GOHANG_VERDICT";
/// How often it is looked whether it has ended.
const LOOK: Duration = Duration::from_millis(10);

/// Runs `command` by the shell, for at most `limit` or until `interrupted`, with its output on
/// standard error. A failure is said, and nothing else.
pub(super) fn run(
    command: &OsStr,
    judged: &Judged,
    limit: Duration,
    interrupted: impl FnMut() -> bool,
) {
    if let Err(error) = try_to(command, judged, limit, interrupted) {
        say(&format!("warning: the --on-hang command failed: {error}"));
    }
}

fn try_to(
    command: &OsStr,
    judged: &Judged,
    limit: Duration,
    mut interrupted: impl FnMut() -> bool,
) -> io::Result<()> {
    let path = |path: &Option<std::path::PathBuf>| path.as_deref().map(absolute);
    let mut shell = Command::new("/bin/sh");
    shell
        .arg("-c")
        .arg(command)
        .stdin(Stdio::null())
        .stdout(std::io::stderr())
        .env_remove(BUNDLE)
        .env_remove(VERDICT)
        .process_group(0);
    shell.envs(path(&judged.bundle).map(|path| (BUNDLE, path)));
    shell.envs(path(&judged.verdict).map(|path| (VERDICT, path)));
    let mut child = shell.spawn()?;
    let end = Instant::now() + limit;
    loop {
        if let Some(status) = child.try_wait()? {
            return match status.success() {
                true => Ok(()),
                false => Err(io::Error::other(status.to_string())),
            };
        }
        let stopped = interrupted();
        if stopped || Instant::now() >= end {
            kill(&mut child)?;
            return Err(io::Error::other(match stopped {
                true => "it was interrupted".to_owned(),
                false => format!("it did not end within {}", span(limit)),
            }));
        }
        std::thread::sleep(LOOK);
    }
}

/// With all that it has started and that has not left its process group.
fn kill(child: &mut Child) -> io::Result<()> {
    if let Some(group) = i32::try_from(child.id())
        .ok()
        .and_then(rustix::process::Pid::from_raw)
    {
        // Its leader has not been waited for, so that the number is its own.
        let _ = rustix::process::kill_process_group(group, rustix::process::Signal::KILL);
    }
    child.wait().map(drop)
}

fn absolute(path: &Path) -> std::path::PathBuf {
    std::path::absolute(path).unwrap_or_else(|_| path.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: Duration = Duration::from_secs(30);

    #[test]
    fn it_finds_what_was_kept() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let judged = Judged {
            bundle: Some("some.tar.zst".into()),
            ..Judged::default()
        };
        let script = format!(
            "echo \"$GOHANG_BUNDLE|${{GOHANG_VERDICT-none}}\" > {}",
            out.display()
        );
        try_to(OsStr::new(&script), &judged, LONG, || false).unwrap();
        let text = std::fs::read_to_string(out).unwrap();
        assert!(text.starts_with('/'), "{text}");
        assert!(text.ends_with("/some.tar.zst|none\n"), "{text}");
    }

    #[test]
    fn it_does_not_take_longer_than_it_may() {
        let judged = Judged::default();
        let begun = Instant::now();
        let short = Duration::from_millis(50);
        let script = OsStr::new("sleep 1000 & sleep 1000");
        let error = try_to(script, &judged, short, || false).unwrap_err();
        assert!(error.to_string().contains("did not end"), "{error}");
        let error = try_to(script, &judged, LONG, || true).unwrap_err();
        assert!(error.to_string().contains("interrupted"), "{error}");
        let error = try_to(OsStr::new("exit 3"), &judged, LONG, || false).unwrap_err();
        assert!(error.to_string().contains('3'), "{error}");
        assert!(begun.elapsed() < LONG);
    }
}
