//! `burst`: saved-up quota would have absorbed what was throttled.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::inspect::model::CpuSlot;
use crate::report::Severity;
use crate::units::duration;

#[derive(Debug)]
pub(super) struct Burst;

/// Slots in which a group was throttled that it would have got through with `burst_ns` of
/// saved-up quota, and all in which it was throttled.
///
/// What a throttled slot would have used is not known. Its throttled time is the most by
/// which it can have wanted more, as each run queue waits with one thread at a time: so no
/// fewer slots would have been absorbed.
fn absorbed(slots: &[CpuSlot], quota_ns: u64, burst_ns: u64) -> (u64, u64) {
    let (mut throttled, mut absorbed) = (0, 0);
    // Nothing is taken as saved at the begin. The kernel never keeps more than the burst
    // beyond a period's own quota.
    let mut saved = 0;
    for slot in slots {
        let wanted = slot.usage_ns.saturating_add(slot.throttled_ns);
        let allowed = quota_ns.saturating_add(saved);
        if slot.throttled_ns > 0 {
            throttled += 1;
            absorbed += u64::from(wanted <= allowed);
        }
        saved = allowed.saturating_sub(wanted).min(burst_ns);
    }
    (absorbed, throttled)
}

impl Rule for Burst {
    fn name(&self) -> &'static str {
        "burst"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "saved-up quota would have absorbed what was throttled",
            meaning: "Work that comes in bursts is throttled although it needs less than its quota on average. A burst of saved-up quota pays for it, and the average stays what it was.",
            detection: "with --sample: usage and throttled time of each period are read, and replayed with a burst of a quarter, half and all of the quota; told where at least half of the throttled periods, and more than with the burst that is set, would have got through",
            severity: "info, always",
            limits: &[],
            advice: "cpu.max.burst (version 1: cpu.cfs_burst_us; Linux 5.14 or later) of the group whose limit it is",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let cpu = subject.process.groups.cpu.as_ref()?;
        let limit = cpu.effective.as_ref()?;
        let now = absorbed(&cpu.slots, limit.quota_ns, limit.burst_ns).0;
        // The kernel takes no burst above the quota.
        let steps = [4, 2, 1].map(|part| limit.quota_ns / part);
        let (burst, (saved, throttled)) = steps
            .into_iter()
            .filter(|burst| *burst > limit.burst_ns)
            .map(|burst| (burst, absorbed(&cpu.slots, limit.quota_ns, burst)))
            .reduce(|best, next| if next.1.0 > best.1.0 { next } else { best })?;
        if saved <= now || saved * 2 < throttled {
            return None;
        }
        let us = burst / 1000;
        let file = if cpu.version == 1 {
            "cpu.cfs_burst_us"
        } else {
            "cpu.max.burst"
        };
        let unit = subject.unit();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Info,
            what: format!(
                "{} was throttled in {throttled} of {} periods of the sample, while it left quota unused in others",
                limit.path,
                cpu.slots.len()
            ),
            why: "work that comes in bursts is throttled although it needs less than its quota on average; saved-up quota pays for the burst, and the average stays what it was".to_owned(),
            evidence: evidence([
                ("throttled_periods", throttled.into()),
                ("absorbed_periods", saved.into()),
                ("sampled_periods", cpu.slots.len().into()),
                ("burst_ns", limit.burst_ns.into()),
                ("suggested_burst_ns", burst.into()),
                ("quota_ns", limit.quota_ns.into()),
            ]),
            set: Settings {
                systemd: Some(format!(
                    "no property for it; in [Service] of {unit}: ExecStartPost=+/bin/sh -c 'echo {us} > DIR/{file}', with the directory of {}",
                    limit.path
                )),
                kubernetes: Some("no field for it: a runtime hook that sets linux.resources.cpu.burst, or a higher resources.limits.cpu".to_owned()),
                docker: Some(format!("no option for it; after the start: echo {us} > {file} in the container's group")),
                go: None,
            },
            effect: format!(
                "{file}={us} ({}) would have absorbed at least {saved} of the {throttled} throttled periods",
                duration(burst)
            ),
            formula: "absorbed: usage + throttled time <= quota + saved; then saved = min(burst, quota + saved - usage - throttled time)".to_owned(),
            source: "Linux Documentation/scheduler/sched-bwc.rst (burst, 5.14 and later)".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("burst of /a/b", |process, firing| {
            let slots = [0, 0, 0, 200_000_000, 0, 0];
            if let Some(cpu) = &mut process.groups.cpu {
                let slot = |usage_ns| CpuSlot {
                    usage_ns,
                    throttled_ns: usage_ns / 4,
                    throttled_periods: u64::from(usage_ns > 0),
                };
                cpu.slots = slots.map(slot).to_vec();
            }
            super::tests::level(process).burst_ns = if firing { 0 } else { 50_000_000 };
        })
    }
}

#[cfg(test)]
mod arithmetic {
    use super::*;

    fn slots(used: &[(u64, u64)]) -> Vec<CpuSlot> {
        let slot = |&(usage_ns, throttled_ns)| CpuSlot {
            usage_ns,
            throttled_ns,
            throttled_periods: u64::from(throttled_ns > 0),
        };
        used.iter().map(slot).collect()
    }

    #[test]
    fn a_burst_is_paid_for_by_what_was_left() {
        let idle_then_busy = slots(&[(0, 0), (100, 60), (100, 60)]);
        assert_eq!(absorbed(&idle_then_busy, 100, 0), (0, 2));
        assert_eq!(absorbed(&idle_then_busy, 100, 50), (0, 2));
        // 60 for the first, and nothing is left for the second.
        assert_eq!(absorbed(&idle_then_busy, 100, 60), (1, 2));
        assert_eq!(absorbed(&idle_then_busy, 100, 100), (1, 2));
        assert_eq!(absorbed(&slots(&[(100, 60)]), 100, 100), (0, 1));
        assert_eq!(absorbed(&[], 100, 100), (0, 0));
        let most = slots(&[(u64::MAX, u64::MAX)]);
        assert_eq!(absorbed(&most, u64::MAX, u64::MAX), (1, 1));
    }
}
