//! Which tests the matrix runs.

use anyhow::{Result, bail};

use super::setup::Chosen;

/// The tests of the short form, which CI runs, and on which kernels: every step of the ladder,
/// every component and every cause once, within eight minutes on two processors.
const SHORT: [(&str, Chosen); 11] = [
    ("input::lockdown", Chosen::All),
    ("input::no_cpu_controller", Chosen::All),
    ("preempted::uprobes", Chosen::Only("7.3")),
    ("shape::limits", Chosen::Only("7.3")),
    ("agreement::go_quota", Chosen::All),
    ("causes::confusion", Chosen::All),
    ("ladder::doctor", Chosen::Only("6.12")),
    ("throttle::scenes", Chosen::All),
    ("throttle::burst", Chosen::All),
    ("throttle::without_queue_hooks", Chosen::All),
    ("cost::throttle_edges", Chosen::Only("6.12")),
];

/// What the names of the tests of the long form begin with: throttling and the causes of
/// delays, which differ between kernels.
const LONG: [&str; 11] = [
    "input::lockdown",
    "input::no_cpu_controller",
    "preempted::",
    "shape::",
    "agreement::go_quota",
    "causes::",
    "chain::starved",
    "ladder::",
    "throttle::",
    "churn::",
    "cost::",
];

/// The tests to run among `all`, in their order: the long form's, those whose names
/// contain one of `parts`, or the short form's.
///
/// # Errors
/// A form names a test that is not there, or no test has such a name.
pub fn choose(all: &[String], full: bool, parts: &[String]) -> Result<Vec<String>> {
    if !parts.is_empty() {
        let named = |test: &&String| parts.iter().any(|part| test.contains(part));
        let chosen: Vec<String> = all.iter().filter(named).cloned().collect();
        if chosen.is_empty() {
            bail!("no test's name contains {}", parts.join(" or "));
        }
        return Ok(chosen);
    }
    if full {
        let is_there = |part: &&&str| all.iter().any(|test| test.starts_with(**part));
        if let Some(gone) = LONG.iter().find(|part| !is_there(part)) {
            bail!("the long form of the matrix names tests {gone}, which the suite does not have");
        }
        let chosen = all
            .iter()
            .filter(|test| LONG.iter().any(|part| test.starts_with(part)));
        return Ok(chosen.cloned().collect());
    }
    if let Some((gone, _)) = SHORT
        .iter()
        .find(|(name, _)| !all.iter().any(|test| test == *name))
    {
        bail!("the short form of the matrix names the test {gone}, which the suite does not have");
    }
    let chosen = all.iter().filter(|test| place(test).is_some());
    Ok(chosen.cloned().collect())
}

/// On which kernels the short form runs a test, if it does.
fn place(test: &str) -> Option<Chosen> {
    let row = SHORT.iter().find(|(name, _)| *name == test);
    row.map(|(_, kernels)| *kernels)
}

/// Those of the short form's `tests` that run on the kernel at `at` among `kernels`.
pub fn here(tests: &[String], at: usize, kernels: &[&str]) -> Vec<String> {
    let has = |test: &&String| place(test).is_none_or(|chosen| chosen.has(at, kernels, true));
    tests.iter().filter(has).cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all() -> Vec<String> {
        let short = SHORT.iter().rev().map(|(name, _)| *name);
        let long = LONG.iter().copied();
        let more = ["life::soak", "inspect::moves"];
        let all = short.chain(long).chain(more);
        all.map(str::to_owned).collect()
    }

    #[test]
    fn each_form_has_its_tests() {
        let all = all();
        let short = choose(&all, false, &[]).expect("all there");
        assert_eq!(short[..SHORT.len()], all[..SHORT.len()]);
        let long = choose(&all, true, &[]).expect("all there");
        assert!(long.contains(&"churn::".to_owned()));
        assert!(!long.contains(&"inspect::moves".to_owned()));
        assert!(choose(&all[1..], false, &[]).is_err());
        assert!(choose(&[], true, &[]).is_err());
        let soak = choose(&all, true, &["soak".to_owned()]).expect("there");
        assert_eq!(soak, ["life::soak"]);
        assert!(choose(&all, false, &["nothing".to_owned()]).is_err());
    }

    #[test]
    fn the_short_form_is_a_part_of_the_long_one() {
        let is_long = |test: &str| LONG.iter().any(|part| test.starts_with(part));
        assert!(SHORT.iter().all(|(test, _)| is_long(test)));
    }

    #[test]
    fn some_run_on_some_kernels() {
        let kernels = crate::vm::kernels::KERNELS.map(|kernel| kernel.name);
        let tests = choose(&all(), false, &[]).expect("all there");
        let on = |test: &str| -> Vec<&str> {
            let all = kernels.iter().enumerate();
            let has = |(at, _): &(usize, &&str)| {
                here(&tests, *at, &kernels).iter().any(|own| own == test)
            };
            all.filter(has).map(|(_, name)| *name).collect()
        };
        assert_eq!(on("throttle::scenes"), kernels);
        assert_eq!(on("shape::limits"), ["7.3"]);
        assert_eq!(on("ladder::doctor"), ["6.12"]);
    }
}
