//! Which tests the matrix runs.

use anyhow::{Result, bail};

/// The tests of the short form, which CI runs: every step of the ladder, every component
/// and every cause once, within eight minutes on two processors. The long form runs all of
/// them.
const SHORT: [&str; 7] = [
    "input::lockdown",
    "input::no_cpu_controller",
    "agreement::go_quota",
    "causes::confusion",
    "throttle::scenes",
    "throttle::burst",
    "throttle::without_queue_hooks",
];

/// The tests to run among `all`, in their order: the long form's, those whose names
/// contain one of `parts`, or the short form's.
///
/// # Errors
/// When the short form names a test that is not there, or no test has such a name.
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
        return Ok(all.to_vec());
    }
    if let Some(gone) = SHORT
        .iter()
        .find(|name| !all.iter().any(|test| test == *name))
    {
        bail!("the short form of the matrix names the test {gone}, which the suite does not have");
    }
    let chosen = all.iter().filter(|test| SHORT.contains(&test.as_str()));
    Ok(chosen.cloned().collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_short_form_is_a_part_of_the_long_one() {
        let mut all: Vec<String> = SHORT.iter().rev().map(|name| (*name).to_owned()).collect();
        all.push("life::soak".to_owned());
        let short = choose(&all, false, &[]).expect("all there");
        assert_eq!(short, all[..SHORT.len()]);
        assert_eq!(choose(&all, true, &[]).expect("all"), all);
        assert!(choose(&all[1..], false, &[]).is_err());
        let soak = choose(&all, false, &["soak".to_owned()]).expect("there");
        assert_eq!(soak, ["life::soak"]);
        assert!(choose(&all, false, &["nothing".to_owned()]).is_err());
    }
}
