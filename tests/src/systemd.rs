//! systemd, asked by its own programs.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::run::skip;
use crate::wrapped::until;

/// How long the manager may take to do what was asked for.
const LIMIT: Duration = Duration::from_secs(20);

/// Whose manager is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manager {
    /// The machine's.
    Machine,
    /// That of the user with this id.
    Of(u32),
}

/// The machine's manager.
///
/// # Errors
/// Skips the test where systemd does not run the machine, or not with cgroup v2 alone.
pub fn machine() -> Result<Manager> {
    if !Path::new("/run/systemd/system").is_dir() {
        return Err(skip("systemd does not run this machine"));
    }
    if !Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
        return Err(skip("systemd keeps its groups in cgroup v1 here"));
    }
    Ok(Manager::Machine)
}

/// Runs a command as a user who has a manager.
pub fn run_as(command: &mut Command, uid: u32) -> &mut Command {
    command
        .uid(uid)
        .gid(uid)
        .current_dir("/")
        .env("XDG_RUNTIME_DIR", format!("/run/user/{uid}"))
        .env_remove("DBUS_SESSION_BUS_ADDRESS")
}

impl Manager {
    /// One of systemd's programs that talks to this manager.
    pub fn command(self, program: &str) -> Command {
        let mut command = Command::new(program);
        if let Self::Of(uid) = self {
            run_as(&mut command, uid).arg("--user");
        }
        command
    }

    /// What `systemctl` prints with these arguments.
    ///
    /// # Errors
    /// Its message, when it fails.
    pub fn systemctl(self, args: &[&str]) -> Result<String> {
        printed(self.command("systemctl").args(args))
    }

    /// A unit's property, as `systemctl show` has it; nothing where the unit has none.
    ///
    /// # Errors
    /// As [`Self::systemctl`].
    pub fn show(self, unit: &str, property: &str) -> Result<String> {
        self.systemctl(&["show", "--value", "--property", property, unit])
    }

    /// Whether it knows a unit of this name.
    ///
    /// # Errors
    /// As [`Self::systemctl`].
    pub fn has(self, unit: &str) -> Result<bool> {
        // `show` would load it.
        let list = ["list-units", "--all", "--plain", "--no-legend", unit];
        Ok(!self.systemctl(&list)?.is_empty())
    }

    /// The names of all its scopes, and of all units that have failed.
    ///
    /// # Errors
    /// As [`Self::systemctl`].
    pub fn scopes_and_failures(self) -> Result<Vec<String>> {
        let list = ["list-units", "--all", "--plain", "--no-legend"];
        let scopes = self.systemctl(&[&list[..], &["--type=scope"]].concat())?;
        let failures = self.systemctl(&[&list[..], &["--state=failed"]].concat())?;
        let lines = scopes.lines().chain(failures.lines());
        let mut names: Vec<String> = lines
            .filter_map(|line| line.split_whitespace().next())
            .map(str::to_owned)
            .collect();
        names.sort();
        Ok(names)
    }

    /// Waits until a unit is in this state.
    ///
    /// # Errors
    /// When it is not in time.
    pub fn wait_for(self, unit: &str, state: &str) -> Result<()> {
        let what = format!("{unit} is {state}");
        until(
            &what,
            LIMIT,
            || Ok(self.show(unit, "ActiveState")? == state),
        )
    }

    /// The folder of a unit's group.
    ///
    /// # Errors
    /// When it has none.
    pub fn group(self, unit: &str) -> Result<PathBuf> {
        let path = self.show(unit, "ControlGroup")?;
        ensure!(path.len() > 1, "{unit} has no group: {path:?}");
        Ok(folder(&path))
    }
}

/// The folder of the group with this path.
pub fn folder(path: &str) -> PathBuf {
    Path::new("/sys/fs/cgroup").join(path.trim_start_matches('/'))
}

/// A file of a group.
///
/// # Errors
/// When it cannot be read.
pub fn read(folder: &Path, file: &str) -> Result<String> {
    let path = folder.join(file);
    let text = std::fs::read_to_string(&path);
    let text = text.with_context(|| format!("cannot read {}", path.display()))?;
    Ok(text.trim().to_owned())
}

/// What a command prints.
///
/// # Errors
/// Its message, when it fails.
pub fn printed(command: &mut Command) -> Result<String> {
    let Output {
        status,
        stdout,
        stderr,
    } = command
        .output()
        .with_context(|| format!("cannot run {command:?}"))?;
    if !status.success() {
        bail!(
            "{command:?}: {status}: {}",
            String::from_utf8_lossy(&stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&stdout).trim().to_owned())
}

/// A unit that is stopped when this is dropped.
pub struct Unit {
    manager: Manager,
    /// Its name.
    pub name: String,
}

impl Unit {
    /// Starts a transient service.
    ///
    /// # Errors
    /// When systemd refuses it.
    pub fn service(name: &str, options: &[&str], command: &[String]) -> Result<Self> {
        let unit = Self::known(Manager::Machine, name);
        let mut run = Command::new("systemd-run");
        run.args(["--quiet", "--collect", "--unit", name]);
        printed(run.args(options).arg("--").args(command))?;
        Ok(unit)
    }

    /// One that something else starts.
    pub fn known(manager: Manager, name: &str) -> Self {
        Self {
            manager,
            name: name.to_owned(),
        }
    }

    /// A service's main process.
    ///
    /// # Errors
    /// When it has none.
    pub fn main_pid(&self) -> Result<i32> {
        let pid = self.manager.show(&self.name, "MainPID")?;
        match pid.parse() {
            Ok(pid) if pid > 0 => Ok(pid),
            _ => bail!("{} has no main process: {pid:?}", self.name),
        }
    }
}

impl Drop for Unit {
    fn drop(&mut self) {
        // In the good case it may be gone; what it is about is that nothing stays.
        let stop = |verb: &str| {
            let mut command = self.manager.command("systemctl");
            let _ = command.args([verb, self.name.as_str()]).output();
        };
        stop("stop");
        stop("reset-failed");
    }
}
