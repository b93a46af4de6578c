//! `ineffective-setting`: a setting that does nothing in this version.

use super::{Advice, Explanation, Rule, Settings, Subject, evidence};
use crate::golang::Origin;
use crate::inspect::HAS_MEMORY_LIMIT;
use crate::report::Severity;

#[derive(Debug)]
pub(super) struct IneffectiveSetting;

impl Rule for IneffectiveSetting {
    fn name(&self) -> &'static str {
        "ineffective-setting"
    }

    fn explanation(&self) -> Explanation {
        Explanation {
            summary: "a setting that does nothing in this version of Go",
            meaning: "Someone relies on it: what it was set for is not done, and the next one to read it is misled.",
            detection: "GODEBUG of the environment, by what the runtime of the program's version knows and does with that value; GOMEMLIMIT before Go 1.19",
            severity: "info, always",
            limits: &[],
            advice: "remove it, or build with a version that heeds it",
        }
    }

    fn look(&self, subject: &Subject<'_>) -> Option<Advice> {
        let go = subject.process.go.as_ref()?;
        // What is built in comes with the version, and is overridden on purpose.
        let given = go.settings.iter();
        let mut found: Vec<(String, &str)> = given
            .filter(|setting| setting.origin == Origin::Environment)
            .filter_map(|setting| {
                let name = format!("{}={}", setting.name, setting.value);
                Some((name, setting.ineffective.as_deref()?))
            })
            .collect();
        let too_old = go.minor.is_some_and(|minor| minor < HAS_MEMORY_LIMIT);
        if let Some(limit) = go.gc.gomemlimit.as_ref().filter(|_| too_old) {
            found.push((format!("GOMEMLIMIT={limit}"), "it is known from Go 1.19 on"));
        }
        let (name, why) = found.first()?.clone();
        let names: Vec<String> = found.iter().map(|(name, _)| name.clone()).collect();
        let more = match names.len() {
            1 => String::new(),
            all => format!(" (and {} more)", all - 1),
        };
        Some(Advice {
            rule: self.name().to_owned(),
            severity: Severity::Info,
            what: format!("{name} does nothing in {}: {why}{more}", go.version),
            why: "someone relies on it: what it was set for is not done, and the next one to read it is misled".to_owned(),
            evidence: evidence([
                ("settings", names.into()),
                ("go", go.version.clone().into()),
            ]),
            set: Settings {
                systemd: Some(format!("no {name} in Environment= of {}", subject.unit())),
                kubernetes: Some(format!("no {name} in the container's env")),
                docker: Some(format!("no {name} in --env")),
                go: Some(format!("remove {name}, or build with a version that knows it")),
            },
            effect: "none on the program".to_owned(),
            formula: "none: it has no effect to begin with".to_owned(),
            source: "Go runtime/runtime1.go (dbgvars) and runtime/extern.go of the version".to_owned(),
        })
    }

    #[cfg(test)]
    fn pair(&self) -> super::tests::Pair {
        super::tests::Pair::new("GODEBUG", |process, firing| {
            let value = if firing { "1" } else { "0" };
            let version = crate::golang::GoVersion::parse("go1.27.3").expect("a version");
            let environ = format!("GODEBUG=madvdontneed={value}");
            let info = crate::golang::ModInfo::default();
            let own = crate::golang::settings(&version, &info, environ.as_bytes());
            super::tests::go(process).settings = own.into_iter().map(Into::into).collect();
        })
    }
}
