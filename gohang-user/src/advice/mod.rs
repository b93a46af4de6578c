//! What to change about a process's surroundings: one file a rule, registered in [`rules`].

mod burst;
mod cpus_narrower_than_quota;
mod cpus_wider_than_gomaxprocs;
mod gogc_off;
mod gomaxprocs_above_quota;
mod gomemlimit_above_memory_max;
mod gomemlimit_absent;
mod ineffective_setting;
mod limit_changed;
mod other_group_watched;
mod parent_tighter;
mod preemption_off;
mod quota_below_one;
mod sigurg_ignored;
mod sigurg_masked;
mod tasks_limit;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::alert::Explanation;
use crate::inspect::model::{EffectiveCpu, Process};
use crate::report::Severity;

/// What to change, and why.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Advice {
    /// Name of the rule.
    pub rule: String,
    /// How bad.
    pub severity: Severity,
    /// What is so.
    pub what: String,
    /// Why it matters.
    pub why: String,
    /// Numbers, each with its unit in the name.
    pub evidence: BTreeMap<String, Value>,
    /// What to set.
    pub set: Settings,
    /// What that is expected to change.
    pub effect: String,
    /// The formula behind it.
    pub formula: String,
    /// Where this is documented.
    pub source: String,
}

/// The setting in the forms of those who set it; null where there is none.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Settings {
    /// Unit file or `systemctl set-property`.
    pub systemd: Option<String>,
    /// Container of a pod's specification.
    pub kubernetes: Option<String>,
    /// Options of `docker run` (and of `podman run`).
    pub docker: Option<String>,
    /// The program, its module or its environment.
    pub go: Option<String>,
}

/// What a rule looks at.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The process.
    pub process: &'a Process,
    /// How long its statistics were watched, ns.
    pub sample_ns: Option<u64>,
}

impl Subject<'_> {
    /// The tightest CPU limit.
    fn limit(&self) -> Option<&EffectiveCpu> {
        self.process.groups.cpu.as_ref()?.effective.as_ref()
    }

    /// GOMAXPROCS and the limit, where both are known.
    fn procs_and_limit(&self) -> Option<(u32, &EffectiveCpu)> {
        Some((self.process.gomaxprocs()?, self.limit()?))
    }

    /// How many of `threads` can run at a time on the CPUs that the process may use.
    fn at_a_time(&self, threads: u32) -> u32 {
        match self.process.cpus_allowed_count {
            0 => threads,
            cpus => threads.min(cpus),
        }
    }

    /// The unit, as a word for commands.
    fn unit(&self) -> &str {
        let unit = self.process.unit.as_ref();
        unit.map_or("NAME.service", |unit| unit.name.as_str())
    }

    /// Share of periods in which the group ran out of quota, in the sample, else so far.
    fn throttled_share(&self) -> Option<f64> {
        let cpu = self.process.groups.cpu.as_ref()?;
        let found = cpu.sample.as_ref().or(cpu.statistics.as_ref())?;
        let periods = found.periods.filter(|periods| *periods > 0)?;
        Some(found.throttled_periods? as f64 / periods as f64)
    }
}

/// The GOMAXPROCS that a limit has room for, as Go 1.25 and later round it.
fn procs_for(limit: &EffectiveCpu) -> u32 {
    limit.cpus.ceil().max(2.0) as u32
}

/// A rule. It keeps no state.
pub trait Rule: std::fmt::Debug + Sync {
    /// Its name.
    fn name(&self) -> &'static str;

    /// What it is, for `gohang explain`.
    fn explanation(&self) -> Explanation;

    /// What it finds.
    fn look(&self, subject: &Subject<'_>) -> Option<Advice>;

    /// A process that it fires on, and one that it does not, which differ in one setting.
    #[cfg(test)]
    fn pair(&self) -> tests::Pair;
}

/// Every rule.
#[must_use]
pub fn rules() -> Vec<Box<dyn Rule>> {
    vec![
        Box::new(preemption_off::PreemptionOff),
        Box::new(sigurg_ignored::SigurgIgnored),
        Box::new(sigurg_masked::SigurgMasked),
        Box::new(gomaxprocs_above_quota::GomaxprocsAboveQuota),
        Box::new(parent_tighter::ParentTighter),
        Box::new(other_group_watched::OtherGroupWatched),
        Box::new(limit_changed::LimitChanged),
        Box::new(quota_below_one::QuotaBelowOne),
        Box::new(burst::Burst),
        Box::new(gomemlimit_above_memory_max::GomemlimitAboveMemoryMax),
        Box::new(gogc_off::GogcOff),
        Box::new(gomemlimit_absent::GomemlimitAbsent),
        Box::new(tasks_limit::TasksLimit),
        Box::new(cpus_narrower_than_quota::CpusNarrowerThanQuota),
        Box::new(cpus_wider_than_gomaxprocs::CpusWiderThanGomaxprocs),
        Box::new(ineffective_setting::IneffectiveSetting),
    ]
}

/// What all rules find, worst first.
#[must_use]
pub fn advise(subject: &Subject<'_>) -> Vec<Advice> {
    let all = rules();
    let mut all: Vec<Advice> = all.iter().filter_map(|rule| rule.look(subject)).collect();
    // The order of registration stays among equals.
    all.sort_by_key(|advice| std::cmp::Reverse(advice.severity));
    all
}

/// Evidence from names and values.
fn evidence<const N: usize>(items: [(&str, Value); N]) -> BTreeMap<String, Value> {
    let items = items.into_iter();
    items
        .map(|(name, value)| (name.to_owned(), value))
        .collect()
}
