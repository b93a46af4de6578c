//! Every scenario.

use super::not_built::{NOT_BUILT, NotBuilt};
use super::scenario::Scenario;

/// Those that are made here, in the order in which they run.
pub(super) const SCENARIOS: &[&Scenario] = &[
    &super::b01_stop_under_quota::SCENARIO,
    &super::b02_gomaxprocs::SCENARIO,
    &super::b04_collector::SCENARIO,
    &super::b05_loop::SCENARIO,
    &super::b06_clear::SCENARIO,
    &super::b07_resent::SCENARIO,
    &super::b08_flood::SCENARIO,
    &super::b11_stopping::SCENARIO,
    &super::b12_unspent::SCENARIO,
    &super::b13_slices::SCENARIO,
    &super::b14_burst::SCENARIO,
    &super::b15_refill::SCENARIO,
    &super::b17_lease::SCENARIO,
    &super::b18_mean_use::SCENARIO,
    &super::b19_quota_use::SCENARIO,
    &super::b20_starved::SCENARIO,
];

/// A line of the list of all scenarios.
#[derive(Clone, Copy, Debug)]
pub(super) enum Entry {
    /// One that can be run.
    Built(&'static Scenario),
    /// One that cannot.
    NotBuilt(&'static NotBuilt),
}

impl Entry {
    /// Its name.
    pub(super) fn id(&self) -> &'static str {
        match self {
            Self::Built(scenario) => scenario.id,
            Self::NotBuilt(scenario) => scenario.id,
        }
    }

    /// Its number.
    fn number(&self) -> u64 {
        let digits = self.id().trim_start_matches('B');
        digits.parse().unwrap_or(u64::MAX)
    }
}

/// All of them by number.
pub(super) fn all() -> Vec<Entry> {
    let built = SCENARIOS.iter().map(|scenario| Entry::Built(scenario));
    let mut all: Vec<Entry> = built.chain(NOT_BUILT.iter().map(Entry::NotBuilt)).collect();
    all.sort_by_key(Entry::number);
    all
}

/// The name of the scenario that `text` names, in whatever case.
pub(super) fn find(text: &str) -> Option<&'static str> {
    let mut ids = all().into_iter().map(|entry| entry.id());
    ids.find(|id| id.eq_ignore_ascii_case(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::Extent;

    #[test]
    fn each_scenario_is_there_once() {
        let all = all();
        assert_eq!(all.len(), 20);
        for (index, entry) in all.iter().enumerate() {
            assert_eq!(entry.id(), format!("B{}", index + 1));
        }
        for entry in all {
            let texts = match entry {
                Entry::Built(own) => {
                    let (quick, full) =
                        ((own.estimate)(Extent::Quick), (own.estimate)(Extent::Full));
                    assert!(quick <= full && !quick.is_zero(), "{}", own.id);
                    vec![own.title, own.source, own.reported, own.scale]
                }
                Entry::NotBuilt(own) => vec![own.title, own.source, own.reported, own.why],
            };
            for text in texts {
                assert!(!text.is_empty() && !text.contains(['|', '\n']), "{text}");
            }
        }
    }

    #[test]
    fn names_are_found_in_either_case() {
        assert_eq!(find("b20"), Some("B20"));
        assert_eq!(find("B1"), Some("B1"));
        assert_eq!(find("B21"), None);
        assert_eq!(find(""), None);
    }
}
