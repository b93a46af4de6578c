//! Which groups a process or thread is in.

use std::path::PathBuf;

use super::error::CgroupError;
use super::identity::Identity;
use super::layout::path_from;
use crate::process::{ProcError, ProcRoot};

/// A line of `/proc/PID/cgroup`: the group within one hierarchy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// Number of the hierarchy; 0 for version 2.
    pub hierarchy: u32,
    /// Controllers of the hierarchy; a named one has `name=...`, version 2 none.
    pub controllers: Vec<String>,
    /// The group.
    pub path: PathBuf,
    /// Whether the group has been removed already.
    pub deleted: bool,
}

/// The groups of a process or thread, one for each hierarchy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Membership {
    members: Vec<Member>,
}

impl Membership {
    /// Parses the text of `/proc/PID/cgroup`; the reason when it is not in that form.
    ///
    /// # Errors
    /// The line that is not in the documented form.
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        let lines = raw
            .split(|&byte| byte == b'\n')
            .filter(|line| !line.is_empty());
        let members = lines
            .map(|line| {
                parse_line(line).ok_or_else(|| {
                    format!(
                        "the line {:?} is no membership",
                        String::from_utf8_lossy(line)
                    )
                })
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { members })
    }

    /// Of process (or thread) `pid`.
    ///
    /// # Errors
    /// Test [`CgroupError::is_gone`] first: processes end.
    pub fn read(proc: &ProcRoot, pid: u32) -> Result<Self, CgroupError> {
        Self::parse_file(proc.read_pid_file(pid, "cgroup")?, || {
            proc.pid_dir(pid).join("cgroup")
        })
    }

    /// Of this process.
    ///
    /// # Errors
    /// When `/proc/self/cgroup` cannot be read.
    pub fn read_own(proc: &ProcRoot) -> Result<Self, CgroupError> {
        Self::parse_file(proc.read_file("self/cgroup")?, || {
            proc.path().join("self/cgroup")
        })
    }

    /// Every line, in the file's order.
    #[must_use]
    pub fn members(&self) -> &[Member] {
        &self.members
    }

    /// The group that has to do with CPU time: that of the version 1 hierarchy with the
    /// cpu controller, else that of version 2.
    #[must_use]
    pub fn cpu(&self) -> Option<&Member> {
        self.v1("cpu").or_else(|| self.v2())
    }

    /// The group in the version 1 hierarchy with `controller`.
    #[must_use]
    pub fn v1(&self, controller: &str) -> Option<&Member> {
        self.members
            .iter()
            .find(|member| member.controllers.iter().any(|own| own == controller))
    }

    /// The group in the version 2 hierarchy.
    #[must_use]
    pub fn v2(&self) -> Option<&Member> {
        self.members.iter().find(|member| member.hierarchy == 0)
    }

    /// Container, pod and unit, as the paths tell them.
    ///
    /// Service managers name their units in their own hierarchy, and container runtimes
    /// theirs in all: systemd's is asked first, then cpu's, then the others.
    #[must_use]
    pub fn identity(&self) -> Identity {
        let first = [self.v1("name=systemd"), self.cpu()];
        let all = first.into_iter().flatten().chain(&self.members);
        all.map(|member| Identity::of_path(&member.path))
            .fold(Identity::default(), |known, more| known.or(more))
    }

    fn parse_file(raw: Vec<u8>, path: impl Fn() -> PathBuf) -> Result<Self, CgroupError> {
        Self::parse(&raw).map_err(|what| ProcError::Malformed { path: path(), what }.into())
    }
}

/// `number:controllers:path`, the path perhaps followed by a note that it is deleted.
fn parse_line(line: &[u8]) -> Option<Member> {
    let mut parts = line.splitn(3, |&byte| byte == b':');
    let hierarchy = std::str::from_utf8(parts.next()?).ok()?.parse().ok()?;
    let controllers = std::str::from_utf8(parts.next()?).ok()?;
    let path = parts.next()?;
    if path.first() != Some(&b'/') {
        return None;
    }
    let (path, deleted) = match path.strip_suffix(b" (deleted)") {
        Some(path) => (path, true),
        None => (path, false),
    };
    let controllers = controllers.split(',').filter(|name| !name.is_empty());
    Some(Member {
        hierarchy,
        controllers: controllers.map(Into::into).collect(),
        path: path_from(path),
        deleted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::fs;
    use std::path::Path;

    const HYBRID: &str = "9:name=systemd:/system.slice/web.service\n4:memory:/m\n\
        2:cpuset:/s\n1:cpu,cpuacct:/system.slice/a:b\n0::/system.slice/web.service\n";

    #[test]
    fn the_group_of_each_hierarchy() {
        let own = Membership::parse(HYBRID.as_bytes()).unwrap();
        assert_eq!(own.members().len(), 5);
        assert_eq!(own.cpu().unwrap().path, Path::new("/system.slice/a:b"));
        assert_eq!(own.v1("memory").unwrap().path, Path::new("/m"));
        assert_eq!(own.v1("cpuset").unwrap().path, Path::new("/s"));
        assert_eq!(own.v1("blkio"), None);
        assert_eq!(own.v2().unwrap().hierarchy, 0);
        assert_eq!(own.identity().unit.as_deref(), Some("web.service"));
    }

    #[test]
    fn version_2_alone_and_a_removed_group() {
        let own = Membership::parse(b"0::/gone (deleted)\n").unwrap();
        let cpu = own.cpu().unwrap();
        assert_eq!(
            (cpu.path.as_path(), cpu.deleted),
            (Path::new("/gone"), true)
        );
        assert_eq!(Membership::parse(b"").unwrap().cpu(), None);
    }

    #[test]
    fn a_container_is_seen_from_any_hierarchy() {
        let id = "0123456789abcdef".repeat(4);
        let text = format!("3:cpu:/\n2:memory:/docker/{id}\n0::/\n");
        let identity = Membership::parse(text.as_bytes()).unwrap().identity();
        assert_eq!(identity.container.unwrap().id, id);
    }

    #[test]
    fn damage_is_named_and_an_ended_process_is_gone() {
        for raw in [
            &b"x"[..],
            b"1:cpu",
            b"x:cpu:/",
            b"1:cpu:relative",
            b"1:\xff:/",
        ] {
            assert!(
                Membership::parse(raw)
                    .unwrap_err()
                    .contains("no membership")
            );
        }
        let dir = tempfile::tempdir().unwrap();
        let proc = ProcRoot::new(dir.path());
        assert!(Membership::read(&proc, 42).unwrap_err().is_gone());
        fs::create_dir(dir.path().join("42")).unwrap();
        fs::write(dir.path().join("42/cgroup"), HYBRID).unwrap();
        assert_eq!(Membership::read(&proc, 42).unwrap().members().len(), 5);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(own) = Membership::parse(&raw) {
                let _ = own.identity();
            }
        }
    }
}
