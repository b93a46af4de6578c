//! `gomaxprocs-above-quota`: more goroutines may run at a time than the quota pays for.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence, procs_for};
use crate::golang::READS_QUOTA;
use crate::inspect::model::EffectiveCpu;
use crate::report::Severity;
use crate::units::{cpus, duration, percent};

/// Share of throttled periods from which on it is critical, as the alert
/// CPUThrottlingHigh of the kubernetes-mixin has it.
const OFTEN: f64 = 0.25;

#[derive(Debug)]
pub(super) struct GomaxprocsAboveQuota;

/// The setting in Go's form: what keeps the runtime from computing `room` itself, if anything
/// can be done about that, and the variable where not.
fn in_go(subject: &Subject<'_>, limit: &EffectiveCpu, room: u32) -> Option<String> {
    let go = subject.process.go.as_ref()?;
    let (procs, version) = (&go.gomaxprocs, &go.version);
    let variable = format!("GOMAXPROCS={room} in its environment");
    let own = subject.process.groups.cpu.as_ref()?.path == limit.path;
    let reads = go.minor.is_none_or(|minor| minor >= READS_QUOTA);
    let moved = procs.watches.as_ref().and_then(|own| own.current) == Some(false);
    Some(if procs.finds_quota == Some(false) {
        // From 1.26 on the mount is chosen that shows the group.
        let later = match go.minor {
            Some(READS_QUOTA) => "; Go 1.26 and later find it in more layouts of mounts",
            _ => "",
        };
        format!(
            "{variable}: {version} finds no quota's file for its group as it is mounted here, so that neither go.mod nor GODEBUG changes it{later}"
        )
    } else if !own {
        format!(
            "{variable}: the runtime reads the quota of the process's own group alone, from Go 1.25 on, and not that of {}",
            limit.path
        )
    } else if procs.set.is_some() {
        let none = match (reads, procs.respects_quota) {
            (true, true) => "none: its runtime then goes by the quota",
            (true, false) => "none together with GODEBUG=containermaxprocs=1",
            (false, _) => "none with Go 1.25 or later and \"go 1.25\" in go.mod",
        };
        format!("{variable} in place of the one it has, or {none}")
    } else if !reads {
        format!(
            "Go 1.25 or later and \"go 1.25\" in go.mod, which then sets it to {room}; until then {variable}, or go.uber.org/automaxprocs"
        )
    } else if !procs.respects_quota {
        "\"go 1.25\" or later in go.mod (below that containermaxprocs=0 is built in), or GODEBUG=containermaxprocs=1,updatemaxprocs=1".to_owned()
    } else if moved {
        format!(
            "restart it where it is now, or {variable}: its runtime goes by the quota of another group"
        )
    } else {
        "its runtime heeds this quota, so that the program set the value itself, or the quota came later: no runtime.GOMAXPROCS(n), or runtime.SetDefaultGOMAXPROCS() after it".to_owned()
    })
}

impl Rule for GomaxprocsAboveQuota {
    fn name(&self) -> &'static str {
        "gomaxprocs-above-quota"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "GOMAXPROCS is higher than the CPU quota has room for",
            meaning: "With that many goroutines running at a time the quota of a period is used up early, and then the whole group stands still until the next, sysmon and the collector included. The longest stall is period - quota / GOMAXPROCS, or / the CPUs that it may run on where those are fewer.",
            detection: "GOMAXPROCS, as read from the process or else as its version computes it, is above max(2, quota / period rounded up), as Go 1.25 and later round it, of the tightest limit on the way up from its group",
            severity: "warning; critical where more than 25 % of the periods were throttled, in the sample or else so far; info where it may run on no more CPUs than there is room for, so that GOMAXPROCS makes no difference yet",
            limits: &[],
            advice: "Go 1.25 or later with \"go 1.25\" in go.mod, which heeds the quota of the process's own group where it finds it; else GOMAXPROCS in its environment, or a higher quota",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let (procs, limit) = subject.procs_and_limit()?;
        let room = procs_for(limit);
        if procs <= room {
            return None;
        }
        let share = subject.throttled_share();
        let throttled = share.map_or(String::new(), |share| {
            format!("; {} of its periods were throttled", percent(share))
        });
        // More than there are CPUs for do not run at a time, whatever GOMAXPROCS is.
        let running = subject.at_a_time(procs);
        let harmless = running <= room;
        let spent = duration(limit.quota_ns / u64::from(running));
        let stall = |procs: u32| {
            let spent = limit.quota_ns / u64::from(procs);
            duration(limit.period_ns.saturating_sub(spent))
        };
        let unit = subject.unit();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: match share {
                _ if harmless => Severity::Info,
                Some(share) if share > OFTEN => Severity::Critical,
                _ => Severity::Warning,
            },
            what: format!(
                "GOMAXPROCS is {procs}, but {} allows {} CPUs{throttled}",
                limit.path,
                cpus(limit.cpus),
            ),
            why: if harmless {
                format!("it may run on {running} CPUs only, so that no more run at a time than the quota has room for; with as many CPUs as GOMAXPROCS the quota of a period would be spent in {}", duration(limit.quota_ns / u64::from(procs)))
            } else {
                format!("with {running} running at a time, the quota of a period is spent in {spent} of wall-clock time, and then the whole group stands still, sysmon and the collector included")
            },
            evidence: evidence([
                ("gomaxprocs", procs.into()),
                ("at_a_time", running.into()),
                ("quota_cpus", limit.cpus.into()),
                ("quota_ns", limit.quota_ns.into()),
                ("period_ns", limit.period_ns.into()),
                ("limit_owner", limit.path.to_string().into()),
                ("throttled_share", share.into()),
            ]),
            set: Settings {
                systemd: Some(format!(
                    "Environment=GOMAXPROCS={room} in [Service] of {unit}; or more CPU: systemctl set-property {unit} CPUQuota={}%",
                    u64::from(procs) * 100
                )),
                kubernetes: Some(format!(
                    "env: [{{name: GOMAXPROCS, value: \"{room}\"}}]; or resources.limits.cpu: \"{procs}\""
                )),
                docker: Some(format!("--env GOMAXPROCS={room}; or --cpus={procs}")),
                go: Some(in_go(subject, limit, room)?),
            },
            effect: if harmless {
                format!("none on {running} CPUs; with as many CPUs as GOMAXPROCS the longest stall of a period falls from {} to {}", stall(procs), stall(room))
            } else {
                format!("the longest stall of a period falls from {} to {}", stall(running), stall(room))
            },
            formula: "stall = period - quota / min(GOMAXPROCS, CPUs allowed), at least 0".to_owned(),
            source: "Go runtime/cgroup_linux.go (1.25); Linux Documentation/scheduler/sched-bwc.rst; golang/go#73193".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("gomaxprocs.seen", |process, firing| {
            super::tests::go(process).gomaxprocs.seen = Some(if firing { 8 } else { 2 });
        })
    }
}

#[cfg(test)]
mod forms {
    use super::super::tests;
    use super::*;
    use crate::inspect::model::{Process, Watched};

    /// What is said of the healthy process with 8 threads, changed so.
    fn said(change: impl Fn(&mut Process)) -> Advice {
        let mut process = tests::healthy();
        tests::go(&mut process).gomaxprocs.seen = Some(8);
        change(&mut process);
        tests::found(&GomaxprocsAboveQuota, &process).expect("it fires")
    }

    #[test]
    fn what_is_to_be_set_in_go_depends_on_what_the_runtime_sees() {
        let old = |minor: u32| {
            move |process: &mut Process| {
                let go = tests::go(process);
                go.minor = Some(minor);
                go.gomaxprocs.respects_quota = false;
            }
        };
        let lost = |minor: u32, respects: bool| {
            move |process: &mut Process| {
                let go = tests::go(process);
                go.minor = Some(minor);
                go.gomaxprocs.respects_quota = respects;
                go.gomaxprocs.finds_quota = Some(false);
            }
        };
        let above = |process: &mut Process| {
            tests::level(process).quota_ns = None;
            let cpu = process.groups.cpu.as_mut().expect("it has groups");
            cpu.levels[1].quota_ns = Some(200_000_000);
        };
        let set = |process: &mut Process| {
            tests::go(process).gomaxprocs.set = Some("8".into());
        };
        let moved = |process: &mut Process| {
            tests::go(process).gomaxprocs.watches = Some(Watched {
                file: "/x/cpu.max".into(),
                current: Some(false),
            });
        };
        let go = |change: &dyn Fn(&mut Process)| said(change).set.go.expect("it has a form");
        for (found, part, go_line) in [
            (go(&old(24)), "automaxprocs", true),
            (go(&old(25)), "containermaxprocs=1,updatemaxprocs=1", true),
            // What finds no group is not helped by asking it to heed quotas.
            (go(&lost(25, false)), "Go 1.26 and later", false),
            (go(&lost(25, true)), "finds no quota's file", false),
            (go(&lost(27, false)), "finds no quota's file", false),
            (go(&above), "not that of /a", false),
            (
                go(&|own| {
                    old(24)(own);
                    above(own);
                }),
                "not that of /a",
                false,
            ),
            (go(&set), "or none: its runtime", false),
            (
                go(&|own| {
                    old(24)(own);
                    set(own);
                }),
                "or none with Go 1.25",
                true,
            ),
            (go(&moved), "restart it where it is now", false),
            (go(&|_| {}), "SetDefaultGOMAXPROCS", false),
        ] {
            assert!(found.contains(part), "{found}");
            assert_eq!(found.contains("\"go 1.25\""), go_line, "{found}");
        }
        assert!(
            !go(&lost(27, true)).contains("1.26"),
            "it is later than that"
        );
    }

    #[test]
    fn no_more_run_at_a_time_than_there_are_cpus_for() {
        let four = said(|process| process.cpus_allowed_count = 4);
        // 200 ms for 4 at a time.
        assert!(four.why.contains("spent in 50 ms"), "{}", four.why);
        assert!(
            four.effect.contains("from 50 ms to 0 ns"),
            "{}",
            four.effect
        );
        assert_eq!(four.severity, Severity::Warning);
        let two = said(|process| process.cpus_allowed_count = 2);
        assert_eq!(two.severity, Severity::Info);
        assert!(two.effect.starts_with("none on 2 CPUs"), "{}", two.effect);
        assert!(two.effect.contains("from 75 ms to 0 ns"), "{}", two.effect);
    }
}
