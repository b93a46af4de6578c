//! `tasks-limit`: the group is near, or was at, its limit of tasks.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct TasksLimit;

impl Rule for TasksLimit {
    fn name(&self) -> &'static str {
        "tasks-limit"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the group is about to run out of tasks, or has",
            meaning: "A thread that the runtime cannot start ends the program. It starts one for each blocked system call and cgo call beyond GOMAXPROCS.",
            detection: "pids.current is at 90 % of the lowest pids.max on the way up or above, or pids.events there counts refused forks",
            severity: "warning; critical where forks were refused",
            limits: &[],
            advice: "a higher TasksMax= (pids.max), or fewer blocking calls at a time",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let process = subject.process;
        process.go.as_ref()?;
        let pids = process.groups.pids.as_ref()?;
        let tasks = pids.effective.as_ref()?;
        let own = pids.levels.iter().find(|level| level.path == tasks.path);
        let refused = own.map_or(0, |level| level.hits);
        if refused == 0 && tasks.current < tasks.limit / 10 * 9 {
            return None;
        }
        let threads = process.threads.len();
        let wanted = tasks.limit.saturating_mul(2);
        let (severity, more) = match refused {
            0 => (Severity::Warning, String::new()),
            _ => (Severity::Critical, format!("; {refused} were refused")),
        };
        Some(Advice {
            rule: self.name().to_owned(),
            severity,
            what: format!(
                "{} has {} of its {} tasks, {threads} of them threads of this process{more}",
                tasks.path, tasks.current, tasks.limit,
            ),
            why: "a thread that the runtime cannot start ends the program (\"runtime: failed to create new OS thread\"); it starts one for each blocked system call and cgo call beyond GOMAXPROCS".to_owned(),
            evidence: evidence([
                ("tasks", tasks.current.into()),
                ("tasks_limit", tasks.limit.into()),
                ("refused", refused.into()),
                ("threads", threads.into()),
                ("limit_owner", tasks.path.to_string().into()),
            ]),
            set: Settings {
                systemd: Some(format!("systemctl set-property {} TasksMax={wanted}", subject.unit())),
                kubernetes: Some("podPidsLimit of the kubelet's configuration".to_owned()),
                docker: Some(format!("--pids-limit={wanted}")),
                go: Some("fewer blocking calls at a time (a semaphore around them); debug.SetMaxThreads only ends the program earlier".to_owned()),
            },
            effect: format!("room for {} more threads", wanted.saturating_sub(tasks.current)),
            formula: "threads = GOMAXPROCS + blocked system and cgo calls + a handful of the runtime's own".to_owned(),
            source: "systemd.resource-control(5), TasksMax=; Linux Documentation/admin-guide/cgroup-v2.rst (pids.max); Go runtime/os_linux.go (newosproc)".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("pids.max", |process, firing| {
            if let Some(pids) = &mut process.groups.pids {
                pids.levels[0].limit = Some(if firing { 10 } else { 1000 });
            }
        })
    }
}
