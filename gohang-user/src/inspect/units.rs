//! The systemd unit of a process, from its group's path.

use std::path::Path;

use super::model::Unit;
use crate::cgroup::Identity;

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
