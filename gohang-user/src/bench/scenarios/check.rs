//! Checks that a verdict is made of.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Unit;
use super::trace::Traced;

/// How a figure is held against its bound.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Relation {
    /// Not below it.
    AtLeast,
    /// Not above it.
    AtMost,
    /// The same.
    Equals,
}

impl Relation {
    /// As text has it.
    #[must_use]
    pub const fn sign(self) -> &'static str {
        match self {
            Self::AtLeast => ">=",
            Self::AtMost => "<=",
            Self::Equals => "=",
        }
    }
}

/// One statement that a right answer must meet.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Check {
    /// What is held against the bound.
    pub what: String,
    /// What was found; null if there was nothing to find it in, which does not hold.
    pub found: Option<f64>,
    /// How.
    pub relation: Relation,
    /// Against what.
    pub bound: f64,
    /// Of both.
    pub unit: Unit,
    /// Whether it holds.
    pub holds: bool,
}

impl Check {
    /// From the figures alone.
    fn new(
        what: impl Into<String>,
        found: Option<f64>,
        relation: Relation,
        bound: f64,
        unit: Unit,
    ) -> Self {
        let holds = found.is_some_and(|found| match relation {
            Relation::AtLeast => found >= bound,
            Relation::AtMost => found <= bound,
            // Counts, which are whole.
            Relation::Equals => (found - bound).abs() < 0.5,
        });
        Self {
            what: what.into(),
            found,
            relation,
            bound,
            unit,
            holds,
        }
    }

    /// Holds if `found` is not below `bound`.
    pub(super) fn at_least(
        what: impl Into<String>,
        found: impl Into<Option<f64>>,
        bound: f64,
        unit: Unit,
    ) -> Self {
        Self::new(what, found.into(), Relation::AtLeast, bound, unit)
    }

    /// Holds if `found` is not above `bound`.
    pub(super) fn at_most(
        what: impl Into<String>,
        found: impl Into<Option<f64>>,
        bound: f64,
        unit: Unit,
    ) -> Self {
        Self::new(what, found.into(), Relation::AtMost, bound, unit)
    }

    /// Holds if two counts are the same.
    pub(super) fn equals(what: impl Into<String>, found: u64, bound: u64) -> Self {
        let (found, bound) = (found as f64, bound as f64);
        Self::new(what, Some(found), Relation::Equals, bound, Unit::Count)
    }

    /// Holds if the rule was raised.
    pub(super) fn raised(setting: &str, traced: &Traced, rule: &str) -> Self {
        let what = format!("{setting}: alerts {rule}");
        Self::at_least(what, traced.alerts(rule), 1.0, Unit::Count)
    }

    /// Holds if the rule was not raised.
    pub(super) fn silent(setting: &str, traced: &Traced, rule: &str) -> Self {
        let what = format!("{setting}: alerts {rule}");
        Self::at_most(what, traced.alerts(rule), 0.0, Unit::Count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_check_holds_by_its_figures() {
        assert!(Check::at_least("a", 1.0, 1.0, Unit::Share).holds);
        assert!(!Check::at_least("a", 0.9, 1.0, Unit::Share).holds);
        assert!(Check::at_most("a", 1.0, 1.0, Unit::Ns).holds);
        assert!(!Check::at_most("a", 1.1, 1.0, Unit::Ns).holds);
        assert!(Check::equals("a", 7, 7).holds && !Check::equals("a", 7, 8).holds);
    }

    #[test]
    fn nothing_found_does_not_hold() {
        assert!(!Check::at_most("a", None, 1.0, Unit::Ns).holds);
        assert!(!Check::at_least("a", f64::NAN, 0.0, Unit::Ns).holds);
    }
}
