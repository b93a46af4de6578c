//! Containers, pods and service units, told from the path of a group.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// What runs a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Runtime {
    /// Docker Engine.
    Docker,
    /// containerd, by Kubernetes or by hand.
    Containerd,
    /// CRI-O.
    Crio,
    /// Podman.
    Podman,
    /// The path has a container's id but not the runtime's name.
    Unknown,
}

impl fmt::Display for Runtime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Docker => "docker",
            Self::Containerd => "containerd",
            Self::Crio => "cri-o",
            Self::Podman => "podman",
            Self::Unknown => "unknown",
        })
    }
}

/// A container.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Container {
    /// What runs it.
    pub runtime: Runtime,
    /// Its full id, mostly 64 hexadecimal digits.
    pub id: String,
}

impl Container {
    /// Whether `text` names this container: its id, or at least 6 leading digits of it.
    #[must_use]
    pub fn matches(&self, text: &str) -> bool {
        text == self.id || (text.len() >= 6 && self.id.starts_with(text))
    }
}

/// What the path of a group says about who is in it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Identity {
    /// The innermost container.
    pub container: Option<Container>,
    /// The UID of the Kubernetes pod.
    pub pod_uid: Option<String>,
    /// The system's service or scope: `web.service`, `session-3.scope`.
    pub unit: Option<String>,
    /// The service or scope of a user's own manager, below `user@1000.service`.
    pub user_unit: Option<String>,
}

impl Identity {
    /// What `path` says.
    #[must_use]
    pub fn of_path(path: &Path) -> Self {
        let parts: Vec<&str> = path
            .iter()
            .filter_map(|part| std::str::from_utf8(part.as_bytes()).ok())
            .filter(|part| *part != "/")
            .collect();
        let (unit, user_unit) = units(&parts);
        let container = (0..parts.len()).rev().find_map(|at| {
            let above = if at > 0 { parts[at - 1] } else { "" };
            container(above, parts[at])
        });
        let pod_uid = parts
            .iter()
            .enumerate()
            .rev()
            .find_map(|(at, part)| pod_uid(&parts[..at], part));
        Self {
            container,
            pod_uid,
            unit,
            user_unit,
        }
    }

    /// `self`, and from `more` what `self` does not say.
    #[must_use]
    pub fn or(self, more: Self) -> Self {
        Self {
            container: self.container.or(more.container),
            pod_uid: self.pod_uid.or(more.pod_uid),
            unit: self.unit.or(more.unit),
            user_unit: self.user_unit.or(more.user_unit),
        }
    }
}

/// Prefixes of a container's group, where the service manager made it (`.scope`) and
/// where the runtime did.
const PREFIXES: [(&str, Runtime); 7] = [
    ("docker-", Runtime::Docker),
    ("cri-containerd-", Runtime::Containerd),
    ("nerdctl-", Runtime::Containerd),
    ("crio-", Runtime::Crio),
    ("libpod-payload-", Runtime::Podman),
    ("libpod-", Runtime::Podman),
    ("podman-", Runtime::Podman),
];

/// The container whose group is called `part`, below one called `above`.
fn container(above: &str, part: &str) -> Option<Container> {
    let found = |runtime, id: &str| {
        Some(Container {
            runtime,
            id: id.into(),
        })
    };
    let name = part.strip_suffix(".scope").unwrap_or(part);
    for (prefix, runtime) in PREFIXES {
        if let Some(id) = name.strip_prefix(prefix).filter(|id| is_hex(id, 12..=64)) {
            return found(runtime, id);
        }
    }
    // SLICE:cri-containerd:ID, where the runtime took systemd's notation for a path.
    if let Some((before, id)) = name.rsplit_once(':').filter(|(_, id)| is_hex(id, 12..=64)) {
        let runtime = match before.rsplit(':').next() {
            Some("cri-containerd") => Runtime::Containerd,
            Some("crio") => Runtime::Crio,
            Some("docker") => Runtime::Docker,
            _ => Runtime::Unknown,
        };
        return found(runtime, id);
    }
    if is_hex(name, 64..=64) {
        return match above {
            "docker" => found(Runtime::Docker, name),
            "libpod_parent" => found(Runtime::Podman, name),
            _ => found(Runtime::Unknown, name),
        };
    }
    None
}

/// `pod<UID>` below `kubepods`, or `...kubepods-<class>-pod<UID with _>.slice`.
fn pod_uid(above: &[&str], part: &str) -> Option<String> {
    let name = part.split(':').next().unwrap_or(part);
    let name = name.strip_suffix(".slice").unwrap_or(name);
    let uid = if above.iter().any(|part| part.contains("kubepods")) && name.starts_with("pod") {
        name.strip_prefix("pod")?
    } else if name.contains("kubepods") {
        name.rsplit_once("-pod")?.1
    } else {
        return None;
    };
    let uid = uid.replace('_', "-");
    // A UUID, or for static pods a hash without dashes.
    let digits = uid.chars().filter(|c| *c != '-').collect::<String>();
    (is_hex(&digits, 32..=32) && matches!(uid.len(), 32 | 36)).then_some(uid)
}

/// Unit of the system's manager and unit of a user's, by the manager's own rules: the
/// first group that is no slice is the unit.
fn units(parts: &[&str]) -> (Option<String>, Option<String>) {
    let (unit, below) = first_unit(parts);
    let is_manager = |unit: &String| unit.starts_with("user@") && unit.ends_with(".service");
    let user = unit
        .as_ref()
        .filter(|unit| is_manager(unit))
        .and_then(|_| first_unit(below).0);
    (unit, user)
}

fn first_unit<'a>(parts: &'a [&'a str]) -> (Option<String>, &'a [&'a str]) {
    const KINDS: [&str; 5] = [".service", ".scope", ".socket", ".mount", ".swap"];
    let Some(at) = parts.iter().position(|part| !part.ends_with(".slice")) else {
        return (None, &[]);
    };
    // A leading underscore keeps a name apart from the kernel's own files.
    let name = parts[at].strip_prefix('_').unwrap_or(parts[at]);
    let is_unit = KINDS
        .iter()
        .any(|kind| name.len() > kind.len() && name.ends_with(kind));
    (is_unit.then(|| name.into()), &parts[at + 1..])
}

fn is_hex(text: &str, len: std::ops::RangeInclusive<usize>) -> bool {
    len.contains(&text.len()) && text.bytes().all(|c| matches!(c, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const ID: &str = "4f3c2b1a09f8e7d6c5b4a392817f6e5d4c3b2a190f8e7d6c5b4a392817f6e5d4";
    const OUTER: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff";

    fn of(path: &str) -> Identity {
        Identity::of_path(Path::new(&path.replace("ID", ID).replace("OUTER", OUTER)))
    }

    #[test]
    fn containers_of_every_runtime() {
        for (path, runtime) in [
            ("/docker/ID", Runtime::Docker),
            ("/system.slice/docker-ID.scope", Runtime::Docker),
            ("/docker/OUTER/docker/ID", Runtime::Docker),
            (
                "/docker/OUTER/system.slice/docker-ID.scope/init.scope",
                Runtime::Docker,
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
                Runtime::Docker,
            ),
            (
                "/kubepods.slice/kubepods-pod1.slice/cri-containerd-ID.scope",
                Runtime::Containerd,
            ),
            (
                "/system.slice/containerd.service/kubepods-burstable-podx.slice:cri-containerd:ID",
                Runtime::Containerd,
            ),
            ("/system.slice/nerdctl-ID.scope", Runtime::Containerd),
            (
                "/kubepods.slice/kubepods-besteffort.slice/crio-ID.scope",
                Runtime::Crio,
            ),
            ("/kubepods.slice/crio-ID.scope/container", Runtime::Crio),
            ("/machine.slice/libpod-ID.scope/container", Runtime::Podman),
            ("/libpod_parent/libpod-ID", Runtime::Podman),
            ("/system.slice/x.service/libpod-payload-ID", Runtime::Podman),
            ("/kubepods/burstable/podx/ID", Runtime::Unknown),
            ("/ecs/task/ID", Runtime::Unknown),
        ] {
            let container = of(path).container.unwrap_or_else(|| panic!("{path}"));
            assert_eq!(
                (container.id.as_str(), container.runtime),
                (ID, runtime),
                "{path}"
            );
        }
        for path in [
            "/",
            "/system.slice/docker.service",
            "/system.slice/docker-registry.service",
            // The monitor beside the container, not the container.
            "/machine.slice/libpod-conmon-ID.scope",
            "/kubepods.slice/crio-conmon-ID.scope",
            "/gohang-demo-4026531836-12-34",
        ] {
            assert_eq!(of(path).container, None, "{path}");
        }
    }

    #[test]
    fn pods() {
        let uid = "0a1b2c3d-4e5f-6071-8293-a4b5c6d7e8f9";
        let slice = uid.replace('-', "_");
        for path in [
            format!("/kubepods/burstable/pod{uid}/ID"),
            format!("/kubepods/pod{uid}"),
            format!(
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{slice}.slice/cri-containerd-ID.scope"
            ),
            format!("/kubepods.slice/kubepods-pod{slice}.slice"),
            format!(
                "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-besteffort-pod{slice}.slice/crio-ID.scope"
            ),
            format!(
                "/system.slice/containerd.service/kubepods-burstable-pod{slice}.slice:cri-containerd:ID"
            ),
            format!("/docker/OUTER/kubepods/besteffort/pod{uid}/ID"),
        ] {
            assert_eq!(of(&path).pod_uid.as_deref(), Some(uid), "{path}");
        }
        let hash = "0123456789abcdef0123456789abcdef";
        assert_eq!(
            of(&format!("/kubepods/pod{hash}")).pod_uid.as_deref(),
            Some(hash)
        );
        assert_eq!(of("/kubepods/podcast").pod_uid, None);
        assert_eq!(of(&format!("/machine.slice/pod{uid}")).pod_uid, None);
    }

    #[test]
    fn units_of_the_system_and_of_users() {
        for (path, unit, user) in [
            ("/system.slice/web.service", Some("web.service"), None),
            (
                "/system.slice/system-getty.slice/getty@tty1.service",
                Some("getty@tty1.service"),
                None,
            ),
            (
                "/system.slice/web.service/sub.service",
                Some("web.service"),
                None,
            ),
            ("/init.scope", Some("init.scope"), None),
            (
                "/user.slice/user-1000.slice/session-3.scope",
                Some("session-3.scope"),
                None,
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/editor.service",
                Some("user@1000.service"),
                Some("editor.service"),
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/init.scope",
                Some("user@1000.service"),
                Some("init.scope"),
            ),
            (
                r"/system.slice/dev-disk-by\x2dlabel-a.swap",
                Some(r"dev-disk-by\x2dlabel-a.swap"),
                None,
            ),
            ("/system.slice/_cpu.service", Some("cpu.service"), None),
            (
                "/system.slice/docker-ID.scope/system.slice/in.service",
                Some("docker-ID.scope"),
                None,
            ),
            ("/docker/ID", None, None),
            ("/system.slice", None, None),
            ("/.service", None, None),
            ("/", None, None),
        ] {
            let found = of(path);
            let unit = unit.map(|unit| unit.replace("ID", ID));
            assert_eq!(
                (found.unit, found.user_unit.as_deref()),
                (unit, user),
                "{path}"
            );
        }
    }

    #[test]
    fn a_container_by_the_start_of_its_id() {
        let container = of("/docker/ID").container.unwrap();
        assert!(container.matches(ID) && container.matches("4f3c2b1a09f8"));
        assert!(
            !container.matches("4f3c") && !container.matches("") && !container.matches("123456")
        );
    }

    proptest! {
        #[test]
        fn any_path_is_taken(path in "(/(kubepods|pod|-pod|docker-|:|_|[0-9a-f]{0,64}|\\.scope|\\.slice|é){0,4}){0,5}") {
            let _ = Identity::of_path(Path::new(&path));
        }
    }
}
