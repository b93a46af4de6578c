//! `preemption-disabled`: the process was started with asynchronous preemption
//! turned off.

use std::collections::BTreeMap;

use gohang_common::chain::RequestEnd;
use serde_json::json;

use super::{Explanation, Finding, Rule, Scope, Thresholds};
use crate::event::{ProcessId, Request};
use crate::golang::{Origin, PreemptionOff};
use crate::report::Severity;
use crate::source::Facts;
use crate::units::duration;

/// Fewest requests without a signal that show that none are sent, and over how long: each
/// has a reason now and then.
const MIN_REQUESTS: u64 = 20;
const MIN_LENGTH_NS: u64 = 1_000_000_000;
/// Most processes that are kept.
const MAX_PROCESSES: usize = 16_384;

#[derive(Debug, Default)]
pub(super) struct PreemptionDisabled {
    /// By process id: what turns it off, and that program's Go version.
    settings: BTreeMap<u32, (PreemptionOff, Option<String>)>,
    requests: BTreeMap<ProcessId, Requests>,
}

/// Requests of one process since a signal was last sent for one.
#[derive(Clone, Copy, Debug)]
struct Requests {
    since_ns: u64,
    unsent: u64,
}

/// What is found: by the setting, or without one that is known.
fn finding(
    setting: Option<&(PreemptionOff, Option<String>)>,
    requests: Option<(u64, u64)>,
) -> Finding {
    let (place, advice) = match setting.map(|(off, _)| off.origin) {
        Some(Origin::Environment) => (
            "GODEBUG in its environment",
            "start the process without that setting in GODEBUG; until then every long loop without a call holds up garbage collection",
        ),
        Some(Origin::BuiltIn) => (
            "the program's built-in GODEBUG",
            "build the program without that setting, or start it with GODEBUG=asyncpreemptoff=0",
        ),
        None => (
            "",
            "look for asyncpreemptoff in GODEBUG, or //go:debug lines, of whatever starts or builds the process",
        ),
    };
    let asked = requests.map(|(unsent, length)| {
        format!(
            "{unsent} requests to yield in {} sent none",
            duration(length)
        )
    });
    let headline = match (setting, asked) {
        (Some((off, _)), None) => format!(
            "asynchronous preemption is off: {place} has {}, so the runtime sends no preemption signals",
            off.setting
        ),
        (Some((off, _)), Some(asked)) => format!(
            "asynchronous preemption is off: {place} has {}, so the runtime sends no preemption signals; {asked}",
            off.setting
        ),
        (None, asked) => format!(
            "the runtime sends no preemption signals, though nothing is known that turns them off: {}",
            asked.unwrap_or_default()
        ),
    };
    let origin = setting.map(|(off, _)| match off.origin {
        Origin::Environment => "environment",
        Origin::BuiltIn => "built_in",
    });
    let mut evidence = BTreeMap::from([
        (
            "setting".to_owned(),
            json!(setting.map(|(off, _)| &off.setting)),
        ),
        ("origin".to_owned(), json!(origin)),
        ("go".to_owned(), json!(setting.map(|(_, go)| go))),
    ]);
    if let Some((unsent, length)) = requests {
        evidence.insert("requests_without_signal".to_owned(), json!(unsent));
        evidence.insert("length_ns".to_owned(), json!(length));
    }
    Finding {
        severity: Severity::Critical,
        headline,
        evidence,
        advice,
        since_ns: None,
        weight: 1 + requests.map_or(0, |(unsent, _)| unsent),
    }
}

impl Rule for PreemptionDisabled {
    fn name(&self) -> &'static str {
        "preemption-disabled"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the process runs with asynchronous preemption turned off",
            meaning: "The runtime sends no preemption signals at all, so a goroutine that runs without a function call cannot be stopped: it holds up garbage collection, which needs every goroutine to stop, and whatever waits for its processor, until it ends by itself. That the process has few or no signals in the report says nothing of its health then.",
            detection: "GODEBUG in the environment that the process was started with (/proc/PID/environ, read when it is found and when it executes another program), else the program's own DefaultGODEBUG: asyncpreemptoff other than 0, or from Go 1.25 on gccheckmark above 0. The last setting of a name counts, as in the runtime. With probes in the runtime also without a known setting: 20 requests to yield or more, over a second or more, for none of which a signal was sent",
            severity: "critical, always",
            limits: &[],
            advice: "start the process without that setting. If it was set because system calls return EINTR or because of a debugger, put a limit on where it applies, and keep calls in long loops.",
        }
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn found(&mut self, facts: &Facts, _thresholds: &Thresholds) -> Option<Finding> {
        let Some(off) = &facts.preemption_off else {
            self.settings.remove(&facts.pid);
            return None;
        };
        let setting = (off.clone(), facts.go.clone());
        let finding = finding(Some(&setting), None);
        if self.settings.len() < MAX_PROCESSES {
            self.settings.insert(facts.pid, setting);
        }
        Some(finding)
    }

    fn request(&mut self, request: &Request, _thresholds: &Thresholds) -> Option<Finding> {
        let process = request.process;
        if request.sent_ns.is_some() {
            self.requests.remove(&process);
            return None;
        }
        let known = self.requests.contains_key(&process);
        let is_unsent = matches!(request.end, RequestEnd::Disabled | RequestEnd::NotSent);
        if !is_unsent || !known && self.requests.len() >= MAX_PROCESSES {
            return None;
        }
        let requests = self.requests.entry(process).or_insert(Requests {
            since_ns: request.first_ns,
            unsent: 0,
        });
        requests.unsent += 1 + u64::from(request.repeats);
        let length = request.requested_ns.saturating_sub(requests.since_ns);
        if requests.unsent < MIN_REQUESTS || length < MIN_LENGTH_NS {
            return None;
        }
        let requests = (requests.unsent, length);
        Some(finding(self.settings.get(&process.pid), Some(requests)))
    }

    fn end(
        &mut self,
        process: Option<ProcessId>,
        _thresholds: &Thresholds,
    ) -> Vec<(ProcessId, Finding)> {
        match process {
            Some(process) => {
                self.settings.remove(&process.pid);
                self.requests.remove(&process);
            }
            None => {
                self.settings.clear();
                self.requests.clear();
            }
        }
        Vec::new()
    }
}
