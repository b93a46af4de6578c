//! Commands under `gohang run`, and the same commands bare.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use crate::product::{Finished, Gohang};
use crate::run::Settings;
use crate::sys;

/// Longer than any command of these tests takes.
pub const LIMIT: Duration = Duration::from_secs(30);

/// This program in a mode that is a command.
pub fn command(kind: &str, options: &[&str]) -> Result<Vec<String>> {
    let me = std::env::current_exe().context("this program's path is unknown")?;
    let me = me.to_str().context("this program's path is not UTF-8")?;
    let words = [me, "__command", kind]
        .into_iter()
        .chain(options.iter().copied());
    Ok(words.map(str::to_owned).collect())
}

/// Words as a command.
pub fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|word| (*word).to_owned()).collect()
}

/// `gohang run OPTIONS -- COMMAND`, ready to be started.
pub fn wrapped(settings: &Settings, options: &[&str], command: &[String]) -> Result<Command> {
    let mut wrapped = Command::new(settings.gohang()?);
    wrapped.arg("run").args(options);
    if !options.contains(&"--bundle-dir") {
        wrapped.arg("--no-bundle");
    }
    wrapped.arg("--").args(command);
    Ok(wrapped)
}

/// The command as it is, ready to be started.
pub fn bare(command: &[String]) -> Result<Command> {
    let (program, arguments) = command.split_first().context("no command")?;
    let mut bare = Command::new(program);
    bare.args(arguments);
    Ok(bare)
}

/// Runs it under gohang to its end, without input, and sees that nothing is left of it.
pub fn run(settings: &Settings, options: &[&str], command: &[String]) -> Result<Finished> {
    let mut wrapped = wrapped(settings, options, command)?;
    let end = Gohang::spawn_command(&mut wrapped)?.wait(LIMIT)?;
    nothing_left()?;
    Ok(end)
}

/// Fails when a group is still there whose gohang has ended; those of others on this machine may
/// be running.
pub fn nothing_left() -> Result<()> {
    let owner = |path: &PathBuf| {
        let name = path.file_name()?.to_str()?;
        name.rsplit('-').nth(1)?.parse::<i32>().ok()
    };
    let mut left = groups("gohang-run-")?;
    left.retain(|path| !owner(path).is_some_and(is_alive));
    ensure!(left.is_empty(), "groups are left: {left:?}");
    Ok(())
}

/// The groups, in every mounted hierarchy, whose names begin with `prefix`.
pub fn groups(prefix: &str) -> Result<Vec<PathBuf>> {
    let mut open = mounts()?;
    let mut found = Vec::new();
    while let Some(dir) = open.pop() {
        let name = dir.file_name().and_then(|name| name.to_str());
        if name.is_some_and(|name| name.starts_with(prefix)) {
            found.push(dir);
            continue;
        }
        let entries = std::fs::read_dir(&dir).into_iter().flatten().flatten();
        let folders = entries.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir()));
        open.extend(folders.map(|e| e.path()));
    }
    Ok(found)
}

/// Where cgroup hierarchies are mounted.
pub fn mounts() -> Result<Vec<PathBuf>> {
    let text = std::fs::read_to_string("/proc/self/mounts")?;
    let of_groups = text.lines().filter_map(|line| {
        let mut fields = line.split(' ');
        let (place, kind) = (fields.nth(1)?, fields.next()?);
        kind.starts_with("cgroup").then(|| PathBuf::from(place))
    });
    Ok(of_groups.collect())
}

/// The folder of a process's group in the hierarchy that has `controller`; that of version 2
/// when version 1 does not have it.
pub fn group_of(pid: i32, controller: &str) -> Result<PathBuf> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
    let lines: Vec<(&str, &str)> = text
        .lines()
        .filter_map(|line| line.split_once(':')?.1.split_once(':'))
        .collect();
    let of_v1 = lines
        .iter()
        .find(|(names, _)| names.split(',').any(|name| name == controller));
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    let place = |v1: bool| {
        mounts.lines().find_map(|line| {
            let fields: Vec<&str> = line.split(' ').collect();
            let fits = match (v1, *fields.get(2)?) {
                (true, "cgroup") => fields.get(3)?.split(',').any(|option| option == controller),
                (false, kind) => kind == "cgroup2",
                _ => false,
            };
            fits.then(|| PathBuf::from(fields[1]))
        })
    };
    let (place, path) = match of_v1 {
        Some((_, path)) => (place(true), path),
        None => {
            let path = lines.iter().find(|(names, _)| names.is_empty());
            (place(false), &path.context("no version 2 group")?.1)
        }
    };
    Ok(place
        .context("not mounted")?
        .join(path.trim_start_matches('/')))
}

/// Whether a process is there and has not ended.
pub fn is_alive(pid: i32) -> bool {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    let state = text
        .rsplit_once(')')
        .and_then(|(_, rest)| rest.trim().chars().next());
    state.is_some_and(|state| state != 'Z')
}

/// Waits until `done` says so.
pub fn until(what: &str, limit: Duration, mut done: impl FnMut() -> Result<bool>) -> Result<()> {
    let deadline = Instant::now() + limit;
    while !done()? {
        ensure!(Instant::now() < deadline, "not within {limit:?}: {what}");
        sys::sleep_ns(2_000_000);
    }
    Ok(())
}

/// Starts it with a pipe in and one out, and standard error as it is here.
pub fn spawn_piped(command: &mut Command) -> Result<std::process::Child> {
    command.stdin(Stdio::piped()).stdout(Stdio::piped());
    command
        .spawn()
        .with_context(|| format!("cannot run {command:?}"))
}

/// A copy of a program that everybody may execute, in a folder that everybody may enter.
pub fn copy_for_all(program: &Path) -> Result<(tempfile::TempDir, PathBuf)> {
    use std::os::unix::fs::PermissionsExt;
    let folder = tempfile::tempdir()?;
    std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o755))?;
    let copy = folder.path().join("program");
    std::fs::copy(program, &copy)?;
    std::fs::set_permissions(&copy, PermissionsExt::from_mode(0o755))?;
    Ok((folder, copy))
}
