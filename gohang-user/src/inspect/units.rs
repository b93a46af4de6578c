//! The systemd unit of a process, from its group's path.

use std::collections::HashMap;
use std::path::Path;

use super::model::Unit;
use crate::cgroup::Identity;
use crate::run::Manager;

/// What systemd says of its units over D-Bus, each asked for once a round.
#[derive(Debug, Default)]
pub(super) struct Units {
    bus: Bus,
    states: HashMap<String, Option<String>>,
}

/// The connection, made when a unit is met.
#[derive(Debug, Default)]
enum Bus {
    #[default]
    Untried,
    /// There is no systemd, or it does not answer.
    Silent,
    Open(Manager),
}

impl Units {
    /// Forgets the states, for another round.
    pub fn forget(&mut self) {
        self.states.clear();
    }

    /// The active state of the machine's unit `name`; `None` where nobody answers.
    pub fn state(&mut self, name: &str) -> Option<String> {
        if let Some(known) = self.states.get(name) {
            return known.clone();
        }
        if matches!(self.bus, Bus::Untried) {
            self.bus = match Manager::of_machine() {
                Some(Ok(manager)) => Bus::Open(manager),
                Some(Err(error)) => {
                    log::info!("units have no states: {error}");
                    Bus::Silent
                }
                None => Bus::Silent,
            };
        }
        let Bus::Open(manager) = &self.bus else {
            return None;
        };
        let state = match manager.state(name) {
            Ok(state) => Some(state),
            Err(crate::run::ManagerError::Timeout) => {
                // One that does not answer once is not waited for again.
                self.bus = Bus::Silent;
                None
            }
            Err(_) => None,
        };
        self.states.insert(name.to_owned(), state.clone());
        state
    }
}

/// The unit in the path of a group; `None` when there is none.
pub(super) fn unit(identity: &Identity, path: &Path) -> Option<Unit> {
    let name = identity.unit.clone()?;
    let slice = path
        .iter()
        .filter_map(|part| part.to_str())
        .take_while(|part| *part == "/" || part.ends_with(".slice"))
        .last()
        .filter(|part| *part != "/");
    let scope = name.ends_with(".scope");
    Some(Unit {
        user_unit: identity.user_unit.clone(),
        slice: Some(slice.unwrap_or("-.slice").to_owned()),
        scope,
        state: None,
        // The manager stops a scope when its group is empty (systemd.scope(5)).
        outlives_processes: scope.then_some(false),
        name,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn services_scopes_and_neither() {
        let of = |path: &str| unit(&Identity::of_path(Path::new(path)), Path::new(path));
        let web = of("/system.slice/web.service").expect("a unit");
        assert_eq!(web.slice.as_deref(), Some("system.slice"));
        assert_eq!((web.scope, web.outlives_processes), (false, None));
        let session = of("/user.slice/user-1000.slice/session-3.scope").expect("a unit");
        assert_eq!(session.slice.as_deref(), Some("user-1000.slice"));
        assert_eq!(
            (session.scope, session.outlives_processes),
            (true, Some(false))
        );
        let init = of("/init.scope").expect("a unit");
        assert_eq!(init.slice.as_deref(), Some("-.slice"));
        assert_eq!(of("/docker/x"), None);
    }
}
