//! What rules are, for people who meet one of their alerts or one of their advices.

use schemars::JsonSchema;
use serde::Serialize;

use crate::advice;
use crate::alert::{self, Explanation, Limit};

/// Whose rule it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// An alert's: it looks at what is traced (`trace`, `replay`, `run`).
    Alert,
    /// An advice's: it looks at what is set (`inspect`, `advise`).
    Advice,
}

/// A rule's explanation under its name.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Explained {
    /// Name of the rule.
    pub rule: String,
    /// Whose rule it is.
    pub kind: Kind,
    /// In one line.
    pub summary: String,
    /// What it means for the program.
    pub meaning: String,
    /// How it is detected.
    pub detection: String,
    /// How bad, and when it is worse.
    pub severity: String,
    /// Thresholds that options change.
    pub limits: Vec<Limit>,
    /// What to do.
    pub advice: String,
}

/// Explanations of rules: the document that `explain -o json` prints.
#[derive(Clone, Debug, PartialEq, Serialize, JsonSchema)]
pub struct Explanations {
    /// Version of this document's form.
    pub schema_version: u32,
    /// By rule, alerts first.
    pub rules: Vec<Explained>,
}

/// There is no such rule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "there is no rule {}; alerts: {}; advice: {}",
    crate::process::escape(given),
    of(Kind::Alert).join(", "),
    of(Kind::Advice).join(", ")
)]
pub struct UnknownRule {
    /// Given.
    pub given: String,
}

/// Names of all rules of a kind.
fn of(kind: Kind) -> Vec<String> {
    let all = every().into_iter().filter(|rule| rule.kind == kind);
    all.map(|rule| rule.rule).collect()
}

/// Explains one rule, or all of them.
///
/// # Errors
/// There is no rule of that name.
pub fn explain(rule: Option<&str>) -> Result<Explanations, UnknownRule> {
    let mut rules = every();
    if let Some(given) = rule {
        rules.retain(|known| known.rule == given);
        if rules.is_empty() {
            return Err(UnknownRule {
                given: given.to_owned(),
            });
        }
    }
    Ok(Explanations {
        schema_version: crate::report::SCHEMA_VERSION,
        rules,
    })
}

fn every() -> Vec<Explained> {
    let alerts = alert::rules();
    let alerts = alerts
        .iter()
        .map(|rule| explained(rule.name(), Kind::Alert, rule.explanation()));
    let advices = advice::rules();
    let advices = advices
        .iter()
        .map(|rule| explained(rule.name(), Kind::Advice, rule.explanation()));
    alerts.chain(advices).collect()
}

fn explained(name: &str, kind: Kind, explanation: Explanation) -> Explained {
    let Explanation {
        summary,
        meaning,
        detection,
        severity,
        limits,
        advice,
    } = explanation;
    Explained {
        rule: name.to_owned(),
        kind,
        summary: summary.to_owned(),
        meaning: meaning.to_owned(),
        detection: detection.to_owned(),
        severity: severity.to_owned(),
        limits: limits.to_vec(),
        advice: advice.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn every_rule_is_explained_and_an_unknown_one_names_them() {
        let all = explain(None).expect("all");
        let names = [of(Kind::Alert), of(Kind::Advice)].concat();
        let told: Vec<&str> = all.rules.iter().map(|rule| rule.rule.as_str()).collect();
        assert_eq!(told, names);
        assert_eq!(told.iter().collect::<BTreeSet<_>>().len(), told.len());
        assert_eq!(of(Kind::Alert), alert::names());
        assert_eq!(of(Kind::Advice).len(), advice::rules().len());
        for rule in &all.rules {
            for text in [
                &rule.summary,
                &rule.meaning,
                &rule.detection,
                &rule.severity,
                &rule.advice,
            ] {
                assert!(text.len() > 10 && text.is_ascii(), "{}: {text}", rule.rule);
            }
            let level = |word| rule.severity.contains(word);
            assert!(["critical", "warning", "info"].into_iter().any(level));
            let one = explain(Some(&rule.rule)).expect("known");
            assert_eq!(one.rules, std::slice::from_ref(rule));
        }
        let error = explain(Some("slow\x1b")).expect_err("unknown").to_string();
        assert!(error.contains(r"no rule slow\x1b;"), "{error}");
        for name in names {
            assert!(error.contains(&name), "{error}");
        }
    }
}
