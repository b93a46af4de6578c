//! A transient scope of systemd, so that `systemctl status` shows the run, and nobody else
//! has a say in its groups.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use zbus::Variant;

use super::systemd::{Manager, ManagerError, Property};
use super::{LABEL, Place, PlaceError, Wanted, choose_directly, refuse_or_tell, verify};
use crate::cgroup::{
    CgroupLayout, Hierarchy, Membership, OwnError, Owner, Version, Weight, kill_group, mark,
    processes_below,
};
use crate::process::ProcRoot;
use crate::run::evidence::PlaceKind;
use crate::run::limits::Limits;
use crate::run::say::say;

/// How long the manager may take to make a scope.
const START_TIMEOUT: Duration = Duration::from_secs(5);
/// How long what a killed gohang left may take to end.
const END_TIMEOUT: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_millis(1);
/// How long the manager may take to forget a unit that has ended.
const FORGET_TIMEOUT: Duration = Duration::from_secs(1);
/// What a quota of no limit is.
const INFINITY: u64 = u64::MAX;

/// A scope, once the command is in it.
pub(in crate::run) struct Scope {
    proc: ProcRoot,
    layout: CgroupLayout,
    wanted: Wanted,
    owner: Owner,
    state: State,
}

enum State {
    /// Nothing has been made yet.
    Wanted,
    /// The manager has made it.
    Made(Made),
    /// The manager did not, for want of rights or because it is not there.
    Direct(Box<dyn Place>),
}

struct Made {
    manager: Manager,
    unit: String,
    /// Its group in the hierarchy that systemd keeps its books in.
    dir: PathBuf,
}

impl Scope {
    /// For the command that is taken in later: until then there must be no second thread.
    pub fn new(
        wanted: &Wanted,
        proc: &ProcRoot,
        layout: &CgroupLayout,
    ) -> Result<Self, PlaceError> {
        Ok(Self {
            proc: proc.clone(),
            layout: layout.clone(),
            wanted: wanted.clone(),
            owner: Owner::this(proc)?,
            state: State::Wanted,
        })
    }

    /// Makes it around process `pid`.
    fn make(&self, pid: u32) -> Result<Made, PlaceError> {
        let manager = Manager::connect()?;
        for left in end_leftovers(&manager, self.owner, &self.proc) {
            say(&left.line);
        }
        let name = self.owner.name(LABEL);
        let unit = match &self.wanted.unit {
            Some(unit) if unit.ends_with(".scope") => unit.clone(),
            Some(unit) => format!("{unit}.scope"),
            None => format!("{name}.scope"),
        };
        let mut properties = properties(&self.wanted, pid, &name);
        // Systems that do not know it, do not stop the scope when the kernel kills in it.
        properties.push(("OOMPolicy", Variant::from("continue")));
        if let Err(error) = manager.start_scope(&unit, &properties) {
            log::info!("without OOMPolicy: {error}");
            properties.pop();
            manager.start_scope(&unit, &properties)?;
        }
        let end = Instant::now() + START_TIMEOUT;
        loop {
            let inside = self.group_of(pid, &unit)?;
            if let Some(dir) = inside
                && manager.state(&unit)? == "active"
            {
                self.mark(pid, &unit);
                return Ok(Made { manager, unit, dir });
            }
            if Instant::now() >= end {
                let _ = manager.stop(&unit);
                return Err(ManagerError::Timeout.into());
            }
            std::thread::sleep(PAUSE);
        }
    }

    /// The directory of the unit's group, if the process is in it.
    fn group_of(&self, pid: u32, unit: &str) -> Result<Option<PathBuf>, PlaceError> {
        let membership = Membership::read(&self.proc, pid).map_err(OwnError::from)?;
        let named = self
            .layout
            .v1()
            .iter()
            .find(|h| h.name.as_deref() == Some("systemd"));
        let hierarchies = self.layout.v2().into_iter().chain(named);
        Ok(dirs_of(unit, hierarchies, &membership).next())
    }

    /// Marks the unit's groups, whose name may be anything: a gohang that the command runs is
    /// to stay within them.
    fn mark(&self, pid: u32, unit: &str) {
        let membership = match Membership::read(&self.proc, pid) {
            Ok(membership) => membership,
            Err(error) => {
                log::info!("the scope's groups are not marked: {error}");
                return;
            }
        };
        let all = self.layout.v1().iter().chain(self.layout.v2());
        for dir in dirs_of(unit, all, &membership) {
            if let Err(error) = mark(&dir) {
                log::info!("{} is not marked: {error}", dir.display());
            }
        }
    }
}

/// The directories of a unit's groups in those of `hierarchies` where `membership` is in one.
fn dirs_of<'a>(
    unit: &'a str,
    hierarchies: impl Iterator<Item = &'a Hierarchy>,
    membership: &'a Membership,
) -> impl Iterator<Item = PathBuf> {
    hierarchies.filter_map(move |hierarchy| {
        let member = match (hierarchy.version, hierarchy.name.as_deref()) {
            (Version::V2, _) => membership.v2(),
            (Version::V1, Some(name)) => membership.v1(&format!("name={name}")),
            (Version::V1, None) => membership.v1(hierarchy.controllers.first()?),
        };
        let path = member?.path.as_path();
        hierarchy.dir_of(path).filter(|_| path.ends_with(unit))
    })
}

/// The properties of the scope.
fn properties(wanted: &Wanted, pid: u32, name: &str) -> Vec<Property> {
    let mut all = vec![
        ("Description", Variant::from(format!("{name} (gohang run)"))),
        ("PIDs", Variant::from(vec![pid])),
        ("CollectMode", Variant::from("inactive-or-failed")),
        ("CPUAccounting", Variant::from(true)),
        ("MemoryAccounting", Variant::from(true)),
        ("TasksAccounting", Variant::from(true)),
    ];
    if let Some(slice) = &wanted.slice {
        let slice = match slice.ends_with(".slice") {
            true => slice.clone(),
            false => format!("{slice}.slice"),
        };
        all.push(("Slice", Variant::from(slice)));
    }
    all.extend(limits(&wanted.limits));
    all
}

/// The limits as properties.
fn limits(limits: &Limits) -> Vec<Property> {
    let mut all = Vec::new();
    if let Some((quota_ns, period_ns)) = limits.quota_and_period() {
        let a_second = u128::from(quota_ns) * 1_000_000 / u128::from(period_ns);
        let a_second = u64::try_from(a_second).unwrap_or(INFINITY);
        all.push(("CPUQuotaPerSecUSec", Variant::from(a_second)));
        all.push(("CPUQuotaPeriodUSec", Variant::from(period_ns / 1000)));
    }
    if let Some(weight) = limits.cpu_weight {
        // 0 stands for idle.
        let weight = match weight {
            Weight::Share(weight) => weight,
            Weight::Idle => 0,
        };
        all.push(("CPUWeight", Variant::from(weight)));
    }
    if let Some(cpus) = &limits.allowed_cpus {
        all.push(("AllowedCPUs", Variant::from(mask(cpus))));
    }
    if let Some(bytes) = limits.memory_max {
        all.push(("MemoryMax", Variant::from(bytes)));
    }
    if let Some(tasks) = limits.tasks_max {
        all.push(("TasksMax", Variant::from(tasks)));
    }
    all
}

/// CPUs as a bit mask, the first in the lowest bit of the first byte.
fn mask(list: &str) -> Vec<u8> {
    let mut mask = Vec::new();
    for part in list.split(',') {
        let (from, to) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.parse::<usize>().ok();
        for cpu in number(from)
            .zip(number(to))
            .map_or(0..=0, |(from, to)| from..=to)
        {
            if mask.len() <= cpu / 8 {
                mask.resize(cpu / 8 + 1, 0);
            }
            mask[cpu / 8] |= 1 << (cpu % 8);
        }
    }
    mask
}

/// A scope that a gohang left that was killed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeftScope {
    /// What there is to say of it.
    pub line: String,
    /// Whether it is gone now.
    pub gone: bool,
}

/// Ends what gohangs that were killed have left, whatever its name: the description tells
/// whose it is.
fn end_leftovers(manager: &Manager, me: Owner, proc: &ProcRoot) -> Vec<LeftScope> {
    let units = manager.scopes().unwrap_or_else(|error| {
        log::info!("cannot look for scopes of earlier runs: {error}");
        Vec::new()
    });
    let mut found = Vec::new();
    for unit in units {
        let owner = unit.description.split(' ').next().and_then(Owner::of_name);
        let Some(owner) = owner.filter(|owner| owner.lives(me, proc) == Some(false)) else {
            continue;
        };
        let whose = format!(
            "a gohang that was killed (pid {}) left the scope {}",
            owner.pid, unit.name
        );
        let ended = end_unit(manager, &unit.name);
        found.push(LeftScope {
            gone: matches!(ended, Ok(true)),
            line: match ended {
                Ok(true) => format!("{whose}: gone now"),
                Ok(false) => format!("{whose}, and it does not end within {END_TIMEOUT:?}"),
                Err(error) => format!("{whose}, and it cannot be stopped: {error}"),
            },
        });
    }
    found
}

/// Ends all that is in a unit and waits until the unit is gone, so that its name is free;
/// whether it is. By itself the manager would wait for what does not heed SIGTERM
/// (`TimeoutStopSec`, 90 s by default).
fn end_unit(manager: &Manager, unit: &str) -> Result<bool, ManagerError> {
    let end = Instant::now() + END_TIMEOUT;
    if let Err(error) = manager.stop(unit) {
        return if manager.has(unit)? {
            Err(error)
        } else {
            Ok(true)
        };
    }
    while manager.has(unit)? {
        // Refused once it is empty, and it may go between any two calls.
        if let Err(error) = manager.kill(unit) {
            log::debug!("{unit}: {error}");
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
    Ok(true)
}

/// Ends what gohangs that were killed have left in scopes.
#[must_use]
pub fn clear(proc: &ProcRoot) -> Vec<LeftScope> {
    if !Manager::may_be_there() {
        return Vec::new();
    }
    match (Manager::connect(), Owner::this(proc)) {
        (Ok(manager), Ok(me)) => end_leftovers(&manager, me, proc),
        (Err(error), _) => {
            log::info!("{error}");
            Vec::new()
        }
        (_, Err(error)) => {
            log::info!("{error}");
            Vec::new()
        }
    }
}

impl Made {
    /// Waits until the manager has forgotten the unit as well: its name is free then.
    fn wait_until_forgotten(&self) {
        let end = Instant::now() + FORGET_TIMEOUT;
        loop {
            match self.manager.has(&self.unit) {
                Ok(true) if Instant::now() < end => std::thread::sleep(PAUSE),
                Ok(false) => return,
                // It is empty, and the manager's alone.
                Ok(true) => return log::info!("systemd keeps the unit {}", self.unit),
                Err(error) => return log::info!("{}: {error}", self.unit),
            }
        }
    }

    /// Whether the manager has let the group go, which it does once it is empty.
    fn is_gone_within(&self, limit: Duration) -> bool {
        let end = Instant::now() + limit;
        while self.dir.exists() {
            if Instant::now() >= end {
                return false;
            }
            std::thread::sleep(PAUSE);
        }
        true
    }
}

impl Place for Scope {
    fn take_in(&mut self, pid: u32) -> Result<Vec<String>, PlaceError> {
        match self.make(pid) {
            Ok(made) => {
                log::info!("the command's scope: {}", made.unit);
                self.state = State::Made(made);
                let membership = Membership::read(&self.proc, pid).map_err(OwnError::from)?;
                let lost = verify::without_effect(&self.wanted.limits, &self.layout, &membership);
                let lost = lost.into_iter().map(|name| {
                    format!("{name} has no effect: systemd does not have its controller here")
                });
                refuse_or_tell(&self.wanted, lost.collect())
            }
            Err(error) => {
                log::info!("no scope: {error}");
                let (mut place, mut lost) =
                    choose_directly(&self.wanted, &self.proc, &self.layout)?;
                lost.extend(place.take_in(pid)?);
                if let Some(name) = self.wanted.unit.as_ref().or(self.wanted.slice.as_ref()) {
                    lost.push(format!("{name} is not used: {error}"));
                }
                self.state = State::Direct(place);
                Ok(lost)
            }
        }
    }

    fn processes(&self) -> Result<Vec<u32>, PlaceError> {
        match &self.state {
            State::Wanted => Ok(Vec::new()),
            State::Made(made) => Ok(processes_below(&made.dir)?),
            State::Direct(place) => place.processes(),
        }
    }

    fn is_group(&self) -> bool {
        match &self.state {
            State::Wanted | State::Made(_) => true,
            State::Direct(place) => place.is_group(),
        }
    }

    fn kind(&self) -> PlaceKind {
        match &self.state {
            State::Wanted | State::Made(_) => PlaceKind::Scope,
            State::Direct(place) => place.kind(),
        }
    }

    fn lift_cpu_quota(&self) -> Result<bool, PlaceError> {
        match &self.state {
            State::Wanted => Ok(false),
            State::Made(_) if self.wanted.limits.cpu_quota.is_none() => Ok(false),
            State::Made(made) => {
                let unlimited = [("CPUQuotaPerSecUSec", Variant::from(INFINITY))];
                made.manager.set(&made.unit, &unlimited)?;
                Ok(true)
            }
            State::Direct(place) => place.lift_cpu_quota(),
        }
    }

    fn kill(&mut self, timeout: Duration) -> Result<(), PlaceError> {
        match &mut self.state {
            State::Wanted => Ok(()),
            State::Made(made) => Ok(kill_group(&made.dir, timeout)?),
            State::Direct(place) => place.kill(timeout),
        }
    }

    fn close(&mut self, timeout: Duration) -> Result<(), PlaceError> {
        match &mut self.state {
            State::Wanted => Ok(()),
            State::Made(made) => {
                if !made.is_gone_within(timeout / 2) {
                    made.manager.stop(&made.unit)?;
                    if !made.is_gone_within(timeout / 2) {
                        return Err(PlaceError::StillBusy(processes_below(&made.dir)?));
                    }
                }
                made.wait_until_forgotten();
                Ok(())
            }
            State::Direct(place) => place.close(timeout),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpus_as_a_mask() {
        assert_eq!(mask("0"), [1]);
        assert_eq!(mask("0-3,7"), [0b1000_1111]);
        assert_eq!(mask("9,16"), [0, 0b10, 1]);
    }

    #[test]
    fn limits_in_systemds_words() {
        let all = limits(&Limits {
            cpu_quota: Some(50_000_000),
            cpu_period: Some(Duration::from_millis(50)),
            cpu_weight: Some(Weight::Idle),
            allowed_cpus: Some("1".into()),
            memory_max: Some(1 << 20),
            tasks_max: Some(9),
        });
        let want = [
            ("CPUQuotaPerSecUSec", Variant::from(50_000u64)),
            ("CPUQuotaPeriodUSec", Variant::from(50_000u64)),
            ("CPUWeight", Variant::from(0u64)),
            ("AllowedCPUs", Variant::from(vec![2u8])),
            ("MemoryMax", Variant::from(1u64 << 20)),
            ("TasksMax", Variant::from(9u64)),
        ];
        assert_eq!(all, want);
        assert!(limits(&Limits::default()).is_empty());
        let wanted = Wanted {
            slice: Some("ci".into()),
            ..Wanted::default()
        };
        let all = properties(&wanted, 7, "gohang-run-1-2-3");
        assert!(all.contains(&("Slice", Variant::from("ci.slice"))));
        assert!(all.contains(&("PIDs", Variant::from(vec![7u32]))));
    }
}
