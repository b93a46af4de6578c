//! A process of a scenario.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::cgroup::OwnGroup;
use crate::experiment::ExperimentError;
use crate::process::escape;

/// Most of an error output that is shown.
const MAX_SHOWN: usize = 400;
/// How often one that is asked to end is looked at, and asked again.
const LOOK_EVERY: Duration = Duration::from_millis(200);

/// A process; ended when it goes out of scope, and with gohang.
pub(super) struct Job {
    name: String,
    child: Child,
    output: PathBuf,
    errors: PathBuf,
}

impl Job {
    /// Starts `command`, in `group` from before it executes its program, so that a runtime
    /// that looks at its quota finds it. What it prints goes to files in `folder`.
    pub(super) fn start(
        name: &str,
        mut command: Command,
        group: Option<&OwnGroup>,
        folder: &Path,
    ) -> Result<Self, ExperimentError> {
        let failed = |source| ExperimentError::System {
            action: "start a process of a scenario",
            source,
        };
        let output = folder.join(format!("{name}.out"));
        let errors = folder.join(format!("{name}.err"));
        let members = group
            .map(|group| {
                File::options()
                    .write(true)
                    .open(group.dir().join("cgroup.procs"))
            })
            .transpose()
            .map_err(failed)?;
        command
            .stdin(Stdio::null())
            .stdout(File::create(&output).map_err(failed)?)
            .stderr(File::create(&errors).map_err(failed)?)
            // A terminal's Ctrl-C is gohang's alone, which ends it.
            .process_group(0);
        let enter = move || {
            if let Some(members) = &members {
                // The kernel takes 0 for the writer.
                (&*members).write_all(b"0")?;
            }
            let kill = libc::SIGKILL as libc::c_ulong;
            // SAFETY: this option takes a number.
            match unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, kill) } {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        };
        // SAFETY: it makes two system calls, which are async-signal-safe, and allocates only
        // where one fails, of which the parent is told and no more.
        unsafe { command.pre_exec(enter) };
        Ok(Self {
            name: name.to_owned(),
            child: command.spawn().map_err(failed)?,
            output,
            errors,
        })
    }

    /// Its process id.
    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// How it ended, if it has.
    pub(super) fn ended(&mut self) -> Result<Option<ExitStatus>, ExperimentError> {
        self.child
            .try_wait()
            .map_err(|source| ExperimentError::System {
                action: "look after a process of a scenario",
                source,
            })
    }

    /// An error if it ended in another way than with code 0.
    pub(super) fn succeeded(&self, status: ExitStatus) -> Result<(), ExperimentError> {
        if status.success() {
            return Ok(());
        }
        let errors = fs::read(&self.errors).unwrap_or_default();
        let shown = escape(errors.trim_ascii());
        Err(ExperimentError::Workload {
            what: format!(
                "{} ended with {status}: {}",
                self.name,
                shown.chars().take(MAX_SHOWN).collect::<String>()
            ),
        })
    }

    /// What it has printed so far.
    pub(super) fn output(&self) -> String {
        let bytes = fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }

    /// The figure that a line `key figure` of its output tells, the last of that key.
    pub(super) fn figure(&self, key: &str) -> Result<f64, ExperimentError> {
        let found = figures(&self.output(), key).last().copied();
        found.ok_or_else(|| ExperimentError::Workload {
            what: format!("{} did not tell {key}", self.name),
        })
    }

    /// The figures of all lines `key figure` of its output.
    pub(super) fn figures(&self, key: &str) -> Vec<f64> {
        figures(&self.output(), key)
    }

    /// Asks it to end, by SIGTERM, and ends it if it has not after `patience`.
    pub(super) fn end(&mut self, patience: Duration) {
        let begin = Instant::now();
        // One that cannot be looked after, or has ended, is no error here.
        while let Ok(None) = self.child.try_wait()
            && begin.elapsed() < patience
        {
            if let Some(pid) = Pid::from_raw(self.child.id() as i32) {
                let _ = kill_process(pid, Signal::TERM);
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.kill();
    }

    /// Ends it now.
    pub(super) fn kill(&mut self) {
        // It is not waited for anywhere else, so that its number is still its own; one
        // that has ended already is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Drop for Job {
    fn drop(&mut self) {
        self.kill();
    }
}

fn figures(output: &str, key: &str) -> Vec<f64> {
    let of_key = |line: &str| {
        let (name, value) = line.split_once(' ')?;
        let value: f64 = value.trim().parse().ok()?;
        (name == key && value.is_finite()).then_some(value)
    };
    output.lines().filter_map(of_key).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn figures_are_read_by_their_keys() {
        let output = "stop 5\nstops 7\nstop 6.5\nstop x\nstop NaN\nstop";
        assert_eq!(figures(output, "stop"), [5.0, 6.5]);
        assert_eq!(figures(output, "sto"), [0.0; 0]);
    }

    #[test]
    fn a_process_is_ended_and_its_failure_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let mut command = Command::new("/proc/self/exe");
        command.arg("--no-such-argument");
        let mut job = Job::start("itself", command, None, folder.path()).expect("started");
        let status = loop {
            if let Some(status) = job.ended().expect("looked at") {
                break status;
            }
            std::thread::sleep(std::time::Duration::from_millis(5));
        };
        let error = job.succeeded(status).expect_err("a wrong argument");
        assert!(error.to_string().contains("itself ended with"), "{error}");
    }

    proptest! {
        #[test]
        fn any_output_is_taken(output in "(\\PC|[ \n\t]|stop )*") {
            let _ = figures(&output, "stop");
        }
    }
}
