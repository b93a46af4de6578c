//! Names of containers and pods, from the state that their runtimes keep in files.

use std::collections::HashMap;
use std::fs::File;
use std::io::Read as _;
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::model::Contained;
use super::name::Name;
use crate::cgroup::{Identity, Runtime};

/// Largest file that is read; an OCI configuration has some tens of KiB.
const MAX_FILE: u64 = 4 << 20;
/// Most directories of runc's that are looked into.
const MAX_RUNC: usize = 4096;
/// Where runc and those that run it keep the state of each container.
const RUNC: [&str; 4] = [
    "run/runc",
    "run/docker/runtime-runc/moby",
    "run/containerd/runc/k8s.io",
    "run/containerd/runc/default",
];
/// containerd's namespaces.
const CONTAINERD: [&str; 3] = ["k8s.io", "moby", "default"];

/// Looks up containers, and remembers what it found.
#[derive(Debug)]
pub struct Containers {
    root: PathBuf,
    known: HashMap<String, Found>,
    /// Containers of runc by group, without the leading slash.
    runc: Option<HashMap<PathBuf, Contained>>,
}

/// What a runtime's state says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Found {
    /// Whose state it is, where the path does not tell.
    runtime: Option<Runtime>,
    name: Option<String>,
    pod: Option<String>,
    namespace: Option<String>,
    state: Option<Name>,
}

impl Containers {
    /// With the file system of the runtimes below `root`, mostly `/`.
    #[must_use]
    pub fn new(root: impl Into<PathBuf>) -> Self {
        Self {
            root: root.into(),
            known: HashMap::new(),
            runc: None,
        }
    }

    /// Forgets which groups are runc's, for another round.
    pub fn forget(&mut self) {
        self.runc = None;
    }

    /// The container of a process in group `path`, of which the path says `identity`.
    pub fn find(&mut self, identity: &Identity, path: &Path) -> Option<Contained> {
        let Some(own) = &identity.container else {
            // Only runc lets people choose names and groups of any form.
            let mut found = self.of_runc(path)?;
            found.pod_uid.clone_from(&identity.pod_uid);
            return Some(found);
        };
        let found = match self.known.get(&own.id) {
            Some(found) => found.clone(),
            None => {
                let found = self.state(own.runtime, &own.id);
                self.known.insert(own.id.clone(), found.clone());
                found
            }
        };
        if own.runtime == Runtime::Unknown
            && found.runtime.is_none()
            && let Some(mut found) = self.of_runc(path)
        {
            // An id of runc's that looks like the others' ids.
            found.pod_uid.clone_from(&identity.pod_uid);
            return Some(found);
        }
        Some(Contained {
            runtime: found.runtime.unwrap_or(own.runtime).to_string(),
            id: own.id.clone(),
            name: found.name,
            pod_uid: identity.pod_uid.clone(),
            pod: found.pod,
            namespace: found.namespace,
            state: found.state,
        })
    }

    fn state(&self, runtime: Runtime, id: &str) -> Found {
        let docker = format!("var/lib/docker/containers/{id}/config.v2.json");
        let crio = format!("run/containers/storage/overlay-containers/{id}/userdata/config.json");
        let containerd = CONTAINERD.map(|namespace| {
            format!("run/containerd/io.containerd.runtime.v2.task/{namespace}/{id}/config.json")
        });
        let mut files = Vec::new();
        if matches!(runtime, Runtime::Docker | Runtime::Unknown) {
            files.push((docker, Runtime::Docker));
        }
        if matches!(runtime, Runtime::Containerd | Runtime::Unknown) {
            files.extend(containerd.map(|file| (file, Runtime::Containerd)));
        }
        if matches!(runtime, Runtime::Crio | Runtime::Podman | Runtime::Unknown) {
            files.push((crio, Runtime::Unknown));
        }
        for (file, of) in files {
            let path = self.root.join(&file);
            if let Some(value) = read_json(&path) {
                let mut found = names(&value);
                let whose = match of {
                    // Podman and CRI-O share a store, and say whose a container is.
                    Runtime::Unknown => manager(&value),
                    own => Some(own),
                };
                found.runtime = (runtime == Runtime::Unknown).then_some(whose).flatten();
                let is_podman = [Some(runtime), found.runtime].contains(&Some(Runtime::Podman));
                if is_podman && found.name.is_none() {
                    found.name = self.podman_name(id);
                }
                found.state = Some(Name::from(path.as_path()));
                return found;
            }
        }
        Found::default()
    }

    /// Podman keeps names beside its layers.
    fn podman_name(&self, id: &str) -> Option<String> {
        let file = "var/lib/containers/storage/overlay-containers/containers.json";
        let all = read_json(&self.root.join(file))?;
        let own = all.as_array()?.iter().find(|one| one["id"] == id)?;
        text(own["names"].get(0)?)
    }

    fn of_runc(&mut self, path: &Path) -> Option<Contained> {
        if self.runc.is_none() {
            self.runc = Some(self.read_runc());
        }
        let inside = path.strip_prefix("/").unwrap_or(path);
        let all = self.runc.as_ref()?;
        inside.ancestors().find_map(|group| all.get(group)).cloned()
    }

    fn read_runc(&self) -> HashMap<PathBuf, Contained> {
        let mut all = HashMap::new();
        for folder in RUNC {
            let entries = std::fs::read_dir(self.root.join(folder));
            for entry in entries.into_iter().flatten().flatten().take(MAX_RUNC) {
                let file = entry.path().join("state.json");
                let Some(value) = read_json(&file) else {
                    continue;
                };
                let Some(id) = text(&value["id"]) else {
                    continue;
                };
                let found = Contained {
                    runtime: "runc".to_owned(),
                    name: Some(id.clone()),
                    id,
                    state: Some(Name::from(file.as_path())),
                    ..Contained::default()
                };
                let paths = value["cgroup_paths"].as_object().into_iter().flatten();
                for group in paths.filter_map(|(_, path)| group_in(path.as_str()?)) {
                    all.insert(group, found.clone());
                }
            }
        }
        all
    }
}

/// The group in a directory below `/sys/fs/cgroup`, whose first part is a hierarchy on
/// version 1: both readings are right for one of the versions, so the longer one that is
/// no controller's name counts.
fn group_in(dir: &str) -> Option<PathBuf> {
    let inside = Path::new(dir).strip_prefix("/sys/fs/cgroup").ok()?;
    let mut parts = inside.iter();
    let first = parts.next()?.to_str()?;
    let controllers = [
        "cpu",
        "cpuacct",
        "cpuset",
        "memory",
        "pids",
        "blkio",
        "devices",
        "freezer",
        "systemd",
        "net_cls",
        "net_prio",
        "perf_event",
        "hugetlb",
        "rdma",
        "misc",
        "unified",
    ];
    let is_hierarchy = first.split(',').all(|name| controllers.contains(&name));
    let group = if is_hierarchy {
        parts.as_path().to_owned()
    } else {
        inside.to_owned()
    };
    (!group.as_os_str().is_empty()).then_some(group)
}

/// Who manages a container of the store that Podman and CRI-O share (annotation
/// `io.container.manager` of both).
fn manager(value: &Value) -> Option<Runtime> {
    match value["annotations"]["io.container.manager"].as_str()? {
        "libpod" => Some(Runtime::Podman),
        "cri-o" => Some(Runtime::Crio),
        _ => None,
    }
}

/// Names in Docker's own configuration or in the annotations of an OCI one.
fn names(value: &Value) -> Found {
    let annotations = &value["annotations"];
    let first = |keys: &[&str]| keys.iter().find_map(|key| text(&annotations[*key]));
    let docker = text(&value["Name"]).map(|name| name.trim_start_matches('/').to_owned());
    let labels = &value["Config"]["Labels"];
    Found {
        runtime: None,
        name: docker.or_else(|| {
            first(&[
                "io.kubernetes.cri.container-name",
                "io.kubernetes.container.name",
                "nerdctl/name",
            ])
        }),
        pod: first(&["io.kubernetes.cri.sandbox-name", "io.kubernetes.pod.name"])
            .or_else(|| text(&labels["io.kubernetes.pod.name"])),
        namespace: first(&[
            "io.kubernetes.cri.sandbox-namespace",
            "io.kubernetes.pod.namespace",
        ])
        .or_else(|| text(&labels["io.kubernetes.pod.namespace"])),
        state: None,
    }
}

fn text(value: &Value) -> Option<String> {
    value
        .as_str()
        .filter(|text| !text.is_empty())
        .map(Into::into)
}

fn read_json(path: &Path) -> Option<Value> {
    let file = File::open(path).ok()?;
    let meta = file.metadata().ok()?;
    if !meta.is_file() || meta.len() > MAX_FILE {
        return None;
    }
    let mut raw = Vec::new();
    file.take(MAX_FILE).read_to_end(&mut raw).ok()?;
    serde_json::from_slice(&raw).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    const ID: &str = "4f3c2b1a09f8e7d6c5b4a39281706f5e4d3c2b1a09f8e7d6c5b4a39281706f5e";

    fn found(file: &str, content: &str, group: &str) -> Option<Contained> {
        let root = tempfile::tempdir().expect("a directory");
        let path = root.path().join(file.replace("ID", ID));
        fs::create_dir_all(path.parent().expect("a folder")).expect("made");
        fs::write(&path, content).expect("written");
        let group = PathBuf::from(group.replace("ID", ID));
        let mut containers = Containers::new(root.path());
        let identity = Identity::of_path(&group);
        let first = containers.find(&identity, &group);
        assert_eq!(containers.find(&identity, &group), first);
        first
    }

    #[test]
    fn names_from_each_runtimes_state() {
        let kubernetes = r#"{"annotations":{
            "io.kubernetes.cri.container-name":"web","io.kubernetes.cri.sandbox-name":"web-0",
            "io.kubernetes.cri.sandbox-namespace":"shop"}}"#;
        let crio = kubernetes
            .replace("cri.container-name", "container.name")
            .replace("cri.sandbox-name\"", "pod.name\"")
            .replace("cri.sandbox-namespace", "pod.namespace");
        for (file, content, group, runtime, name, pod) in [
            (
                "var/lib/docker/containers/ID/config.v2.json",
                r#"{"Name":"/eager_lamarr"}"#,
                "/docker/ID",
                "docker",
                "eager_lamarr",
                None,
            ),
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                kubernetes,
                "/kubepods.slice/cri-containerd-ID.scope",
                "containerd",
                "web",
                Some("web-0"),
            ),
            (
                "run/containers/storage/overlay-containers/ID/userdata/config.json",
                &crio,
                "/kubepods.slice/crio-ID.scope",
                "cri-o",
                "web",
                Some("web-0"),
            ),
            (
                "run/runc/mine/state.json",
                r#"{"id":"mine","cgroup_paths":{"cpu":"/sys/fs/cgroup/cpu,cpuacct/a/mine"}}"#,
                "/a/mine/below",
                "runc",
                "mine",
                None,
            ),
            // The path has an id, and the state whose it is.
            (
                "run/containerd/io.containerd.runtime.v2.task/k8s.io/ID/config.json",
                kubernetes,
                "/kubepods/burstable/podx/ID",
                "containerd",
                "web",
                Some("web-0"),
            ),
            (
                "run/containers/storage/overlay-containers/ID/userdata/config.json",
                &crio.replace(
                    "{\"annotations\":{",
                    "{\"annotations\":{\"io.container.manager\":\"cri-o\",",
                ),
                "/kubepods/burstable/podx/ID",
                "cri-o",
                "web",
                Some("web-0"),
            ),
            (
                "run/runc/ID/state.json",
                &format!("{{\"id\":\"{ID}\",\"cgroup_paths\":{{\"\":\"/sys/fs/cgroup/{ID}\"}}}}"),
                "/ID",
                "runc",
                ID,
                None,
            ),
            (
                "run/runc/mine/state.json",
                r#"{"id":"mine","cgroup_paths":{"":"/sys/fs/cgroup/a/mine"}}"#,
                "/a/mine",
                "runc",
                "mine",
                None,
            ),
        ] {
            let own = found(file, content, group).unwrap_or_else(|| panic!("{file}"));
            assert_eq!(own.runtime, runtime);
            assert_eq!(own.name.as_deref(), Some(name), "{file}");
            assert_eq!(own.pod.as_deref(), pod, "{file}");
            assert!(own.state.is_some());
        }
    }

    #[test]
    fn without_state_the_path_speaks_and_damage_does_not() {
        for content in ["", "{", "[]", "null", "{\"Name\":7,\"annotations\":[]}"] {
            let file = "var/lib/docker/containers/ID/config.v2.json";
            let own = found(file, content, "/docker/ID").expect("the path has it");
            assert_eq!((own.id.as_str(), own.name), (ID, None), "{content}");
        }
        assert_eq!(found("run/runc/x/state.json", "{\"id\":1}", "/a"), None);
        assert_eq!(found("x", "", "/system.slice/web.service"), None);
    }
}
