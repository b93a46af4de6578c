//! `other-group-watched`: the runtime follows the quota of a group that the process left.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct OtherGroupWatched;

impl Rule for OtherGroupWatched {
    fn name(&self) -> &'static str {
        "other-group-watched"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the runtime goes by the quota of another group than the process is in, mostly because it was moved",
            meaning: "The Go runtime finds its group once, at the start, and keeps that group's quota file open: neither a move nor later changes of the new group's quota reach GOMAXPROCS. Go 1.25 finds a wrong one where a process has a cgroup namespace of its own and the machine's mounts.",
            detection: "the quota file that a Go 1.25 or later program keeps open (/proc/PID/fd) is not that of the group in /proc/PID/cgroup, and no GOMAXPROCS was given",
            severity: "warning, always",
            limits: &[],
            advice: "start it in its place in place of moving it, restart it, or have the program call runtime.GOMAXPROCS(n); gohang inspect PID --migrate-to CGROUP says beforehand what a move changes",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let procs = &subject.process.go.as_ref()?.gomaxprocs;
        let watches = procs.watches.as_ref()?;
        if watches.current != Some(false) || procs.set.is_some() {
            return None;
        }
        let own = subject.process.groups.cpu.as_ref()?.path.to_string();
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Warning,
            what: format!("it is in {own}, but its runtime goes by {} of another group: it was moved after its start, or its mounts show it another in its place", watches.file),
            why: "the Go runtime finds its group once, at the start, and keeps that group's quota file open: neither the move nor later changes of the new group's quota reach GOMAXPROCS".to_owned(),
            evidence: evidence([
                ("watched_file", watches.file.to_string().into()),
                ("own_group", own.into()),
                ("gomaxprocs", procs.seen.into()),
                ("gomaxprocs_if_started_here", procs.computed.into()),
            ]),
            set: Settings {
                systemd: Some(format!("start it in its place: systemctl restart {}; a command with systemd-run --scope -p CPUQuota=", subject.unit())),
                kubernetes: Some("in-place resizing keeps the group and needs nothing; a process moved by hand has to be restarted".to_owned()),
                docker: Some("docker update keeps the group and needs nothing; a process moved by hand has to be restarted".to_owned()),
                go: Some("restart it, or have the program call runtime.GOMAXPROCS(n)".to_owned()),
            },
            effect: match procs.computed {
                Some(computed) => format!("started where it is now, GOMAXPROCS is {computed}"),
                None => "started where it is now, GOMAXPROCS goes by its own group".to_owned(),
            },
            formula: "GOMAXPROCS = min(CPUs allowed, max(2, ceil(quota / period of the group at the start)))".to_owned(),
            source: "Go runtime/cgroup_linux.go (1.25 to 1.27), which looks for its group only once at startup".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("watched group", |process, firing| {
            let procs = &mut super::tests::go(process).gomaxprocs;
            procs.watches = Some(crate::inspect::model::Watched {
                file: "/sys/fs/cgroup/x/cpu.max".into(),
                current: Some(!firing),
            });
        })
    }
}
