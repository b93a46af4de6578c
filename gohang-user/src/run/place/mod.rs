//! Where the command runs, and how all of it is found, measured and ended.

mod bare;
mod groups;
mod scope;
mod systemd;
mod verify;

use std::path::PathBuf;
use std::time::Duration;

use crate::cgroup::{CgroupLayout, OwnError, is_kept_inside};
use crate::process::{ProcError, ProcRoot, signal_members};

use bare::Bare;
use groups::Groups;
use scope::Scope;
pub use scope::{LeftScope, clear as clear_scopes};
pub(crate) use systemd::Manager;
pub use systemd::ManagerError;

use super::evidence::PlaceKind;
use super::limits::Limits;

/// Label of the groups of runs, as in `gohang-run-...`.
pub const LABEL: &str = "run";

/// Why a place cannot take the command in, or get rid of it.
#[derive(Debug, thiserror::Error)]
pub enum PlaceError {
    /// Of control groups.
    #[error(transparent)]
    Group(#[from] OwnError),
    /// Of `/proc`.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// Of systemd.
    #[error(transparent)]
    Systemd(#[from] ManagerError),
    /// A limit cannot be set, and `--require-limits` was given.
    #[error("{0}, and --require-limits was given")]
    NotLimited(String),
    /// The kernel refused something else.
    #[error("cannot {what}: {source}")]
    System {
        /// What was tried.
        what: &'static str,
        /// The system's reason.
        source: std::io::Error,
    },
    /// Processes do not end.
    #[error("the processes {0:?} do not end")]
    StillBusy(Vec<u32>),
}

/// Where the command runs. Everything that it starts is there as well.
pub(super) trait Place {
    /// Takes the process in, which has not executed anything yet; what that lacks.
    fn take_in(&mut self, pid: u32) -> Result<Vec<String>, PlaceError>;

    /// What runs there now, ascending.
    fn processes(&self) -> Result<Vec<u32>, PlaceError>;

    /// Whether it is a control group, or several, of the command's own.
    fn is_group(&self) -> bool;

    /// What kind of place it is.
    fn kind(&self) -> PlaceKind;

    /// Takes the CPU quota away that was set here; whether there was one.
    fn lift_cpu_quota(&self) -> Result<bool, PlaceError>;

    /// Ends everything there by SIGKILL and waits until it has.
    fn kill(&mut self, timeout: Duration) -> Result<(), PlaceError>;

    /// Removes what was made for the command, once nothing runs there.
    fn close(&mut self, timeout: Duration) -> Result<(), PlaceError>;

    /// Sends a signal to everything there.
    fn signal(&self, signal: i32) -> Result<(), PlaceError> {
        let list = || self.processes().map_err(std::io::Error::other);
        signal_members(signal, list).map_err(|source| PlaceError::System {
            what: "signal the command's processes",
            source,
        })
    }
}

/// What kind of place is wanted.
#[derive(Debug, Clone, Default)]
pub struct Wanted {
    /// What the command may use.
    pub limits: Limits,
    /// An existing group to run inside.
    pub inside: Option<PathBuf>,
    /// A limit that cannot be set is an error.
    pub require_limits: bool,
    /// Name of the scope, where systemd makes one.
    pub unit: Option<String>,
    /// Slice for it.
    pub slice: Option<String>,
    /// Control groups are made directly even where systemd is there.
    pub without_systemd: bool,
}

/// Makes the best place there is, and tells what it lacks: a scope where systemd is there and
/// no limit holds for this process that a scope would not be under; else groups made directly;
/// else none.
pub(super) fn choose(
    wanted: &Wanted,
    proc: &ProcRoot,
    layout: &CgroupLayout,
) -> Result<(Box<dyn Place>, Vec<String>), PlaceError> {
    let may_be_scope =
        wanted.inside.is_none() && !wanted.without_systemd && Manager::may_be_there();
    if may_be_scope && (wanted.slice.is_some() || !is_kept_inside(layout, proc)?) {
        return Ok((Box::new(Scope::new(wanted, proc, layout)?), Vec::new()));
    }
    let (place, mut lost) = choose_directly(wanted, proc, layout)?;
    if let Some(name) = wanted.unit.as_ref().or(wanted.slice.as_ref()) {
        lost.push(format!(
            "{name} is not used: the command does not run in a scope of systemd's"
        ));
    }
    Ok((place, lost))
}

/// The same without systemd.
fn choose_directly(
    wanted: &Wanted,
    proc: &ProcRoot,
    layout: &CgroupLayout,
) -> Result<(Box<dyn Place>, Vec<String>), PlaceError> {
    match Groups::make(wanted, proc, layout) {
        Ok((groups, lost)) => refuse_or_tell(wanted, lost).map(|lost| {
            let place: Box<dyn Place> = Box::new(groups);
            (place, lost)
        }),
        // Asked for by name, it must be there.
        Err(error) if wanted.inside.is_some() => Err(error),
        Err(PlaceError::Group(error @ (OwnError::NoPlace { .. } | OwnError::Cgroup(_)))) => {
            log::info!("{error}");
            let names = wanted.limits.names();
            if wanted.require_limits && !names.is_empty() {
                return Err(PlaceError::NotLimited(error.to_string()));
            }
            let place: Box<dyn Place> = Box::new(Bare::new(proc));
            Ok((place, vec![lost_without_groups(&error, &names)]))
        }
        Err(error) => Err(error),
    }
}

fn refuse_or_tell(wanted: &Wanted, lost: Vec<String>) -> Result<Vec<String>, PlaceError> {
    match lost.first() {
        Some(first) if wanted.require_limits => Err(PlaceError::NotLimited(first.clone())),
        _ => Ok(lost),
    }
}

fn lost_without_groups(error: &OwnError, limits: &[&str]) -> String {
    let why = match error {
        OwnError::NoPlace { tried } => tried.first().cloned().unwrap_or_default(),
        error => error.to_string(),
    };
    let limits = if limits.is_empty() {
        String::new()
    } else {
        format!("{} has no effect, ", limits.join(", "))
    };
    format!(
        "without a control group ({why}): {limits}CPU and memory are not measured as a whole, and \
         what is left if gohang is killed is not found later"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_one_line_with_the_first_reason() {
        let error = OwnError::NoPlace {
            tried: vec!["permission denied".into(), "something else".into()],
        };
        let line = lost_without_groups(&error, &["--cpu-quota", "--tasks-max"]);
        assert!(
            line.contains("permission denied") && !line.contains("something"),
            "{line}"
        );
        assert!(
            line.contains("--cpu-quota, --tasks-max has no effect"),
            "{line}"
        );
        assert!(!line.contains('\n'));
    }

    #[test]
    fn a_limit_that_is_required_is_not_lost() {
        let mut wanted = Wanted::default();
        let lost = vec!["--memory-max has no effect".to_owned()];
        assert_eq!(refuse_or_tell(&wanted, lost.clone()).unwrap(), lost);
        wanted.require_limits = true;
        assert!(refuse_or_tell(&wanted, lost).is_err());
        assert!(refuse_or_tell(&wanted, Vec::new()).unwrap().is_empty());
    }
}
