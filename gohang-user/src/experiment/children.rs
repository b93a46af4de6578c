//! Starting an experiment's processes, and ending them whatever happens.

use std::os::fd::AsFd;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio};

use super::ExperimentError;
use super::part::Role;

/// A process of the experiment; ended when it goes out of scope.
pub(super) struct Part {
    role: Role,
    child: Child,
}

impl Part {
    /// Starts this program again as `role`, with the shared memory as its standard input.
    pub(super) fn start(role: Role, memory: impl AsFd) -> Result<Self, ExperimentError> {
        let failed = |source| ExperimentError::System {
            action: "start the processes of the experiment",
            source,
        };
        let memory = memory.as_fd().try_clone_to_owned().map_err(failed)?;
        let child = Command::new("/proc/self/exe")
            .arg0("gohang")
            .args([
                "__experiment-part",
                role.name(),
                &std::process::id().to_string(),
            ])
            .stdin(Stdio::from(memory))
            .stdout(Stdio::null())
            // A terminal's Ctrl-C is the experiment's alone, which ends them.
            .process_group(0)
            .spawn()
            .map_err(failed)?;
        Ok(Self { role, child })
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// An error if it has ended.
    pub(super) fn check(&mut self) -> Result<(), ExperimentError> {
        let ended = self
            .child
            .try_wait()
            .map_err(|source| ExperimentError::System {
                action: "look after a process",
                source,
            })?;
        match ended {
            Some(status) => Err(ExperimentError::Ended {
                role: self.role.name(),
                status,
            }),
            None => Ok(()),
        }
    }
}

impl Drop for Part {
    fn drop(&mut self) {
        // It is not waited for anywhere else, so that its number is still its own; one
        // that has ended already is no error.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
