//! A thread under two limits, of its group and of the one above, of which first this and then
//! that runs out: gohang says of each how long it was, as the group's own `cpu.stat` does.

use anyhow::{Context, Result, ensure};

use super::{
    Heard, PERIOD_US, SETTLE_MS, Scene, WORK_MS, check_spans, group_of, within_one_percent,
};
use crate::actor::{Target, pause_ms};
use crate::group::{Group, Hierarchy};
use crate::run::Report;
use crate::stream;

/// A limit that runs out in each period, us, and one that one thread does not reach.
const TIGHT_US: u64 = PERIOD_US / 4;
const WIDE_US: u64 = PERIOD_US * 2;

/// How long each of the two runs out, ms.
const TURN_MS: u64 = WORK_MS / 2;

/// How often each of them does at least: in half of its periods.
const LEAST: u64 = TURN_MS * 1_000 / PERIOD_US / 2;

/// The scene with its processes.
pub struct Nested {
    pids: [i32; 1],
    target: Target,
    inner: Group,
    /// Dropped last.
    outer: Group,
    /// Of the inner and the outer: for how long, ns, and how often the quota ran out.
    truths: Option<[(u64, u64); 2]>,
}

impl Nested {
    /// Sets it.
    ///
    /// # Errors
    /// When a group or a target cannot be made.
    pub fn set(h: &Hierarchy) -> Result<Self> {
        let outer = Group::new(h, None)?;
        outer.favour()?;
        let inner = outer.child("inner", None)?;
        let target = Target::start("spin", &["wait=1", "cpu=1"], Some(&inner))?;
        Ok(Self {
            pids: [target.pid],
            target,
            inner,
            outer,
            truths: None,
        })
    }
}

/// For how long, ns, and how often a group's quota ran out.
fn truth(group: &Group) -> Result<(u64, u64)> {
    Ok((group.throttled_ns()?, group.throttled_periods()?))
}

impl Scene for Nested {
    fn name(&self) -> &'static str {
        "nested-limits"
    }

    fn pids(&self) -> &[i32] {
        &self.pids
    }

    fn play(&mut self) -> Result<()> {
        self.target.actor.go()?;
        self.target.actor.expect("ready")?;
        pause_ms(SETTLE_MS);
        // One after the other: where both are out, whose time it is depends on who was first.
        self.outer.limit((WIDE_US, PERIOD_US))?;
        self.inner.limit((TIGHT_US, PERIOD_US))?;
        pause_ms(TURN_MS);
        self.inner.set_quota(None, PERIOD_US)?;
        self.outer.set_quota(Some(TIGHT_US), PERIOD_US)?;
        pause_ms(TURN_MS);
        self.outer.set_quota(None, PERIOD_US)?;
        pause_ms(SETTLE_MS);
        self.truths = Some([truth(&self.inner)?, truth(&self.outer)?]);
        self.target.actor.go()?;
        self.target.actor.expect("ready")?;
        Ok(())
    }

    fn judge(&self, heard: Heard<'_>, report: &mut Report) -> Result<()> {
        let truths = self.truths.context("not played")?;
        let [(inner_ns, inner), (outer_ns, outer)] = truths;
        report.note(format!(
            "throttle scene scene={} inner_periods={inner} outer_periods={outer}",
            self.name()
        ));
        ensure!(
            inner >= LEAST && outer >= LEAST,
            "only {inner} and {outer} of {LEAST} periods"
        );
        let pid = u32::try_from(self.target.pid)?;
        let spans = &group_of(heard, pid)?["spans"];
        if heard.spans {
            let owners = spans["owners"].as_array().context("no owners")?;
            ensure!(owners.len() == truths.len(), "spans: {spans}");
            let groups = [("inner", &self.inner), ("outer", &self.outer)];
            for ((which, group), (truth_ns, _)) in groups.into_iter().zip(truths) {
                let name = group.path().file_name().context("a name")?;
                let name = format!("/{}", name.to_string_lossy());
                let is = |path: Option<&str>| path.is_some_and(|path| path.ends_with(&name));
                let owner = owners.iter().find(|owner| is(owner["path"].as_str()));
                let owner = owner.with_context(|| format!("no {which} owner in {spans}"))?;
                let scene = format!("{}-{which}", self.name());
                check_spans(&scene, owner, truth_ns, report)?;
            }
        }
        let stall = stream::number(heard.stream.process(pid)?, "/stall/total_ns")?;
        within_one_percent((self.name(), "stall"), stall, inner_ns + outer_ns, report)
    }
}
