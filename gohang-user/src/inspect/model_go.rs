//! What `inspect` states of a Go program.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::name::Name;
use crate::golang::Origin;

/// A Go program in a process.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Go {
    /// Version, as `go1.24.11`.
    pub version: String,
    /// The 24 of it; null if the version names no release.
    pub minor: Option<u32>,
    /// Experiments (`GOEXPERIMENT`) it was built with.
    pub experiments: Vec<String>,
    /// The library it is in, if the program itself is not Go.
    pub library: Option<Name>,
    /// Import path of the main package.
    pub package: Option<String>,
    /// The main module.
    pub module: Option<String>,
    /// The main module's version.
    pub module_version: Option<String>,
    /// Revision it was built from.
    pub revision: Option<String>,
    /// Architecture.
    pub arch: String,
    /// `exe`, `pie`, `c-shared` ...
    pub build_mode: Option<String>,
    /// It is loaded at an address chosen at run time.
    pub position_independent: bool,
    /// Built with cgo.
    pub cgo: Option<bool>,
    /// Its symbol table was left out.
    pub stripped: bool,
    /// `DefaultGODEBUG` as built in.
    pub default_godebug: Option<String>,
    /// `GODEBUG` in the environment it was started with.
    pub godebug: Option<Name>,
    /// Each setting of the two and what it does.
    pub settings: Vec<GoSetting>,
    /// What turns asynchronous preemption off, if anything does.
    pub preemption_off: Option<String>,
    /// GOMAXPROCS.
    pub gomaxprocs: Gomaxprocs,
    /// The collector's limits.
    pub gc: Gc,
}

/// A setting of `GODEBUG`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct GoSetting {
    /// Its name.
    pub name: String,
    /// Its value.
    pub value: String,
    /// Where it stands.
    pub origin: Origin,
    /// What it does in this version.
    pub effect: String,
    /// Why it changes nothing, if it does not.
    pub ineffective: Option<String>,
}

/// GOMAXPROCS of a process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gomaxprocs {
    /// The variable in the environment it was started with.
    pub set: Option<Name>,
    /// What the runtime would set if it started now.
    pub computed: Option<u32>,
    /// By which rule.
    pub rule: String,
    /// The value itself, read from the process.
    pub seen: Option<u32>,
    /// Why it could not be read.
    pub not_seen: Option<String>,
    /// The runtime respects the CPU quota of its own group.
    pub respects_quota: bool,
    /// It finds the file of that quota, from where it is; null before Go 1.25, which looks for
    /// none, and where that cannot be told.
    pub finds_quota: Option<bool>,
    /// It follows changes of that quota.
    pub follows_changes: bool,
    /// The file of the quota that it keeps open.
    pub watches: Option<Watched>,
}

/// A quota's file that a runtime keeps open.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Watched {
    /// Its path, as the process opened it.
    pub file: Name,
    /// It is that of the group the process is in now; null if that cannot be told.
    pub current: Option<bool>,
}

/// Limits of the garbage collector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Gc {
    /// `GOGC` in the environment it was started with.
    pub gogc: Option<Name>,
    /// `GOMEMLIMIT` in the environment it was started with.
    pub gomemlimit: Option<Name>,
    /// Percentage in force: as read from the process, else by the environment; -1 is off.
    pub percent: i32,
    /// Memory limit in force, bytes; null is none.
    pub memory_limit: Option<u64>,
    /// The two were read from the process: a program may change them while it runs.
    pub from_process: bool,
}

impl From<crate::golang::Setting> for GoSetting {
    fn from(own: crate::golang::Setting) -> Self {
        Self {
            name: own.name,
            value: own.value,
            origin: own.origin,
            effect: own.effect,
            ineffective: own.ineffective,
        }
    }
}
