//! Facts of a Go program in a process.

use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use super::model::{Gc, Go, Gomaxprocs, Watched, Withheld};
use super::name::Name;
use crate::cgroup::Hierarchy;
use crate::golang::{
    self, Because, FoundGo, GoVersion, LeafQuota, LiveReader, LiveValues, NoLive, QuotaUse,
    READS_QUOTA, environment_variable, gc_percent, memory_limit,
};
use crate::process::ProcRoot;
use crate::units;

/// First minor version with a memory limit (runtime/mgcpacer.go).
pub(crate) const HAS_MEMORY_LIMIT: u32 = 19;
/// Most open files that are looked through for the quota's.
const MAX_FILES: usize = 4096;

/// What is looked at beside the program itself.
pub(super) struct Around<'a> {
    pub proc: &'a ProcRoot,
    pub pid: u32,
    /// CPUs that its first thread may run on.
    pub cpus: u32,
    /// The hierarchy with the cpu controller and the process's group in it.
    pub group: Option<(&'a Hierarchy, &'a Path)>,
}

/// The facts; what could not be read is added to `withheld`.
pub(super) fn facts(
    around: &Around<'_>,
    found: &FoundGo,
    live: &mut LiveReader,
    withheld: &mut Vec<Withheld>,
) -> Go {
    let program = &found.program;
    let (version, info) = (&program.build.version, &program.build.info);
    let environ = match around.proc.read_pid_file(around.pid, "environ") {
        Ok(environ) => Some(environ),
        Err(error) => {
            withheld.push(Withheld {
                what: "GOMAXPROCS, GODEBUG, GOGC and GOMEMLIMIT in its environment".into(),
                reason: error.to_string(),
            });
            None
        }
    };
    let known = environ.as_deref().unwrap_or(b"");
    let variable = |name: &str| environment_variable(known, name.as_bytes()).map(Name::new);
    let values = live.read(around.pid, version.minor(), found.library.as_deref());
    let settings = golang::settings(version, info, known);
    Go {
        version: version.to_string(),
        minor: version.minor(),
        experiments: version.experiments().to_vec(),
        library: found.library.as_deref().map(Name::from),
        package: info.path.clone(),
        module: info.module.clone(),
        module_version: info.module_version.clone(),
        revision: info.setting("vcs.revision").map(Into::into),
        arch: format!("{:?}", program.arch).to_lowercase(),
        build_mode: info.build_mode().map(Into::into),
        position_independent: program.position_independent,
        cgo: info.cgo(),
        stripped: program.stripped,
        default_godebug: info.setting("DefaultGODEBUG").map(Into::into),
        godebug: variable("GODEBUG"),
        settings: settings.into_iter().map(Into::into).collect(),
        preemption_off: golang::preemption_off(version, info, known).map(|off| off.setting),
        gomaxprocs: gomaxprocs(around, found, environ.as_deref(), &values, withheld),
        gc: gc(version, known, values.ok()),
    }
}

fn gomaxprocs(
    around: &Around<'_>,
    found: &FoundGo,
    environ: Option<&[u8]>,
    values: &Result<LiveValues, NoLive>,
    withheld: &mut Vec<Withheld>,
) -> Gomaxprocs {
    let (version, info) = (&found.program.build.version, &found.program.build.info);
    let mut procs = Gomaxprocs {
        set: environ
            .and_then(|environ| environment_variable(environ, b"GOMAXPROCS"))
            .map(Name::new),
        ..Gomaxprocs::default()
    };
    match values {
        Ok(values) => procs.seen = Some(values.gomaxprocs),
        Err(error) => procs.not_seen = Some(error.to_string()),
    }
    let leaf = match LeafQuota::read(around.proc, around.pid, version) {
        Ok(leaf) => Some(leaf),
        Err(error) => {
            withheld.push(Withheld {
                what: "the quota that its runtime goes by".into(),
                reason: error.to_string(),
            });
            None
        }
    };
    let limit = leaf.as_ref().and_then(|leaf| leaf.limit);
    let made =
        golang::Gomaxprocs::compute(version, info, environ.unwrap_or(b""), around.cpus, limit);
    procs.respects_quota = made.quota == QuotaUse::Heeded;
    procs.follows_changes = made.updates;
    // Without the environment or the group, it would be a guess.
    let known = environ.is_some() && (leaf.is_some() || !procs.respects_quota);
    procs.computed = known.then_some(made.value);
    let reads = version.at_least(READS_QUOTA);
    procs.finds_quota = leaf.filter(|_| reads).map(|leaf| leaf.dir.is_some());
    procs.rule = rule(
        &made,
        around.cpus,
        limit.and_then(|limit| limit.cpus()),
        procs.finds_quota == Some(false),
        version,
    );
    if procs.respects_quota {
        procs.watches = watched(around, withheld);
    }
    procs
}

/// What a value follows from, in words; the runtime that is `lost` finds no quota's file.
fn rule(
    made: &golang::Gomaxprocs,
    cpus: u32,
    quota: Option<f64>,
    lost: bool,
    version: &GoVersion,
) -> String {
    let why = match made.quota {
        QuotaUse::TooOld => format!(": {version} knows no quotas (Go 1.25 and later do)"),
        QuotaUse::OffInEnvironment => ": GODEBUG=containermaxprocs turns quotas off".to_owned(),
        QuotaUse::OffBuiltIn => {
            ": built with containermaxprocs=0, as go.mod asks for less than 1.25".to_owned()
        }
        QuotaUse::Heeded => String::new(),
    };
    match (made.because, quota) {
        (Because::Environment, _) => "GOMAXPROCS in the environment".to_owned(),
        (Because::Quota, Some(quota)) => format!(
            "quota of its own group, {} CPUs, rounded up and at least 2",
            units::cpus(quota)
        ),
        (Because::Quota, None) => "quota of its own group".to_owned(),
        (Because::Affinity, Some(quota)) if made.quota == QuotaUse::Heeded => format!(
            "{cpus} CPUs of its affinity mask (the quota of its own group, {} CPUs, allows as many)",
            units::cpus(quota)
        ),
        (Because::Affinity, None) if made.quota == QuotaUse::Heeded && lost => format!(
            "{cpus} CPUs of its affinity mask: {version} finds no quota's file for its group"
        ),
        (Because::Affinity, None) if made.quota == QuotaUse::Heeded => {
            format!("{cpus} CPUs of its affinity mask: its own group has no quota")
        }
        (Because::Affinity, _) => format!("{cpus} CPUs of its affinity mask{why}"),
    }
}

/// The quota's file that the runtime keeps open (internal/runtime/cgroup, 1.25 to 1.27).
fn watched(around: &Around<'_>, withheld: &mut Vec<Withheld>) -> Option<Watched> {
    let folder = around.proc.pid_dir(around.pid).join("fd");
    let entries = match std::fs::read_dir(&folder) {
        Ok(entries) => entries,
        Err(error) => {
            withheld.push(Withheld {
                what: "which quota its runtime watches".into(),
                reason: around
                    .proc
                    .sort_error(around.pid, &folder, error)
                    .to_string(),
            });
            return None;
        }
    };
    let names = ["cpu.max", "cpu.cfs_quota_us"];
    for entry in entries.flatten().take(MAX_FILES) {
        let Ok(target) = std::fs::read_link(entry.path()) else {
            continue;
        };
        let text = target.to_string_lossy();
        let is_quota = |name: &&str| {
            let text = text.strip_suffix(" (deleted)").unwrap_or(&text);
            text.rsplit('/').next() == Some(*name)
        };
        let Some(name) = names.into_iter().find(|name| is_quota(name)) else {
            continue;
        };
        let current = around.group.and_then(|(hierarchy, path)| {
            let own = std::fs::metadata(hierarchy.dir_of(path)?.join(name)).ok();
            let open = std::fs::metadata(entry.path()).ok()?;
            // Of a group without the controller there is no such file to compare.
            Some(own.is_some_and(|own| (own.dev(), own.ino()) == (open.dev(), open.ino())))
        });
        return Some(Watched {
            file: Name::from(target.as_path()),
            current,
        });
    }
    None
}

fn gc(version: &GoVersion, environ: &[u8], values: Option<LiveValues>) -> Gc {
    let variable = |name: &[u8]| environment_variable(environ, name);
    let (gogc, gomemlimit) = (variable(b"GOGC"), variable(b"GOMEMLIMIT"));
    let live = values.and_then(|values| Some((values.gc_percent?, values.memory_limit?)));
    let given = gomemlimit
        .filter(|_| version.at_least(HAS_MEMORY_LIMIT))
        .and_then(memory_limit)
        .unwrap_or(i64::MAX);
    let (percent, limit) =
        live.unwrap_or_else(|| (gc_percent(version, gogc.unwrap_or(b"")), given));
    Gc {
        gogc: gogc.map(Name::new),
        gomemlimit: gomemlimit.map(Name::new),
        percent,
        memory_limit: u64::try_from(limit)
            .ok()
            .filter(|limit| *limit < i64::MAX as u64),
        from_process: live.is_some(),
    }
}
