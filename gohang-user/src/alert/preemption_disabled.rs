//! `preemption-disabled`: the process was started with asynchronous preemption
//! turned off.

use super::{Explanation, Finding, Rule, Scope, Thresholds};
use crate::golang::Origin;
use crate::report::Severity;
use crate::source::Facts;

#[derive(Debug)]
pub(super) struct PreemptionDisabled;

impl Rule for PreemptionDisabled {
    fn name(&self) -> &'static str {
        "preemption-disabled"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "the process runs with asynchronous preemption turned off",
            meaning: "The runtime sends no preemption signals at all, so a goroutine that runs without a function call cannot be stopped: it holds up garbage collection, which needs every goroutine to stop, and whatever waits for its processor, until it ends by itself. That the process has few or no signals in the report says nothing of its health then.",
            detection: "GODEBUG in the environment that the process was started with (/proc/PID/environ, read when it is found and when it executes another program), else the program's own DefaultGODEBUG: asyncpreemptoff other than 0, or from Go 1.25 on gccheckmark above 0. The last setting of a name counts, as in the runtime",
            severity: "critical, always",
            limits: &[],
            advice: "start the process without that setting. If it was set because system calls return EINTR or because of a debugger, put a limit on where it applies, and keep calls in long loops.",
        }
    }

    fn scope(&self) -> Scope {
        Scope::Process
    }

    fn found(&mut self, facts: &Facts, _thresholds: &Thresholds) -> Option<Finding> {
        let off = facts.preemption_off.as_ref()?;
        let (place, advice) = match off.origin {
            Origin::Environment => (
                "GODEBUG in its environment",
                "start the process without that setting in GODEBUG; until then every long loop without a call holds up garbage collection",
            ),
            Origin::BuiltIn => (
                "the program's built-in GODEBUG",
                "build the program without that setting, or start it with GODEBUG=asyncpreemptoff=0",
            ),
        };
        let evidence = [
            ("setting".to_owned(), off.setting.clone().into()),
            (
                "origin".to_owned(),
                match off.origin {
                    Origin::Environment => "environment",
                    Origin::BuiltIn => "built_in",
                }
                .into(),
            ),
            ("go".to_owned(), facts.go.clone().into()),
        ];
        Some(Finding {
            severity: Severity::Critical,
            headline: format!(
                "asynchronous preemption is off: {place} has {}, so the runtime sends no preemption signals",
                off.setting
            ),
            evidence: evidence.into_iter().collect(),
            advice,
            since_ns: None,
            weight: 1,
        })
    }
}
