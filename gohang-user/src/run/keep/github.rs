//! GitHub's annotations and step summary, within its limits.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::PathBuf;

use crate::process::escape;
use crate::run::explain::{Verdict, first_lines, markdown};

/// Most errors that a step may show; further ones are dropped by GitHub.
const MAX_ERRORS: usize = 10;
/// Largest step summary; a larger one is dropped whole.
const MAX_SUMMARY: u64 = 1 << 20;

/// What GitHub gave to the step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitHub {
    /// The file of the step's summary (`GITHUB_STEP_SUMMARY`).
    pub summary: Option<PathBuf>,
}

impl GitHub {
    /// What the environment tells, if GitHub runs this.
    pub fn of(get: impl Fn(&str) -> Option<String>) -> Option<Self> {
        let runs = get("GITHUB_ACTIONS").is_some_and(|value| value == "true");
        runs.then(|| Self {
            summary: get("GITHUB_STEP_SUMMARY")
                .filter(|path| !path.is_empty())
                .map(PathBuf::from),
        })
    }

    /// One error for every test that hung, or for the command.
    #[must_use]
    pub fn annotations(&self, verdict: &Verdict) -> String {
        let [cause, evidence, next] = first_lines(verdict);
        let message = [cause, evidence, next].join("\n");
        let one = |title: &str| format!("::error title={}::{}\n", property(title), data(&message));
        if verdict.running.is_empty() {
            return one("hung");
        }
        let tests = verdict.running.iter().take(MAX_ERRORS);
        tests
            .map(|test| one(&format!("{} hung", escape(&test.test))))
            .collect()
    }

    /// Adds the verdict to the step's summary, as far as there is room.
    ///
    /// # Errors
    /// The file cannot be written.
    pub fn summarize(&self, verdict: &Verdict) -> Result<(), String> {
        let Some(path) = &self.summary else {
            return Ok(());
        };
        let error = |why: std::io::Error| format!("cannot add to {}: {why}", path.display());
        let mut file = OpenOptions::new()
            .append(true)
            .create(true)
            .open(path)
            .map_err(error)?;
        let used = file.metadata().map_err(error)?.len();
        let room = usize::try_from(MAX_SUMMARY.saturating_sub(used)).unwrap_or(0);
        let mut text = format!("\n### gohang\n\n{}\n", markdown(verdict));
        if text.len() > room {
            let end = (0..=room).rev().find(|at| text.is_char_boundary(*at));
            text.truncate(end.unwrap_or(0));
            // Not half a line.
            text.truncate(text.rfind('\n').map_or(0, |at| at + 1));
        }
        file.write_all(text.as_bytes()).map_err(error)
    }
}

/// As the toolkit of GitHub's actions escapes a message.
fn data(text: &str) -> String {
    text.replace('%', "%25")
        .replace('\r', "%0D")
        .replace('\n', "%0A")
}

/// The same for a property.
fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_knows_where_it_runs() {
        let of = |set: &[(&str, &str)]| {
            GitHub::of(|name| {
                let found = set.iter().find(|(key, _)| *key == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[]), None);
        assert_eq!(of(&[("GITHUB_ACTIONS", "false")]), None);
        let both = [("GITHUB_ACTIONS", "true"), ("GITHUB_STEP_SUMMARY", "/s")];
        assert_eq!(of(&both).unwrap().summary, Some(PathBuf::from("/s")));
        assert_eq!(property("a:b,c%\n"), "a%3Ab%2Cc%25%0A");
    }
}
