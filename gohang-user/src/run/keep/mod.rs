//! Keeping what is known of a hang: the verdict on its own first, then the bundle, and what CI
//! systems read.

mod diff;
mod github;
mod goroutines;
mod in_time;
mod junit;
#[cfg(test)]
mod junit_tests;
mod open;
mod parts;
#[cfg(test)]
mod tests;

use std::io::Write as _;
use std::path::{Path, PathBuf};

pub use diff::{DIFF_VERSION, Difference, Field, Places, Side, diff, diff_text};
pub use github::GitHub;
pub use in_time::InTime;
pub use junit::junit;
pub use open::{OPENED_VERSION, Opened, OpenedMember, open, open_text};
pub use parts::{TIMELINE_VERSION, Timeline, TimelineEvent};

use super::evidence::{Evidence, Tests};
use super::explain::{self, Verdict, first_lines, markdown};
use super::keeper::{Judged, Keeper};
use super::say;
use crate::bundle::{self, Redactor, SUFFIX};

/// The end of the name of a verdict that stands alone.
const VERDICT_SUFFIX: &str = "-VERDICT.md";

/// What to keep, and where.
#[derive(Debug, Clone, Default)]
pub struct KeepOptions {
    /// Where bundles go; `None`: none is written.
    pub folder: Option<PathBuf>,
    /// Take out environment values, secrets and host names.
    pub redact: bool,
    /// Most bytes of a bundle, before it is compressed.
    pub size_cap_bytes: u64,
    /// Where the test results go, as JUnit's XML.
    pub junit: Option<PathBuf>,
    /// GitHub runs this, and takes annotations and a summary.
    pub github: Option<GitHub>,
    /// The environment, of which secrets are taken out.
    pub environment: Vec<(String, String)>,
}

/// Writes verdicts and bundles.
#[derive(Debug)]
pub struct Bundler {
    options: KeepOptions,
    /// Where the verdict was written, and under what name.
    written: Option<(PathBuf, String)>,
}

impl Bundler {
    /// Nothing is written yet.
    #[must_use]
    pub fn new(options: KeepOptions) -> Self {
        Self {
            options,
            written: None,
        }
    }

    fn redactor(&self, evidence: &Evidence) -> Option<Redactor> {
        let environment = self.options.environment.iter().cloned();
        self.options
            .redact
            .then(|| Redactor::new(environment, &evidence.host))
    }

    /// The evidence as it may be kept.
    fn kept(&self, evidence: &Evidence) -> Result<Evidence, String> {
        match self.redactor(evidence) {
            Some(mut redactor) => parts::redacted(evidence, &mut redactor),
            None => Ok(evidence.clone()),
        }
    }

    /// Writes the verdict alone, in place of what was written of it before.
    fn write_verdict(&mut self, evidence: &Evidence, verdict: &Verdict) -> Result<(), String> {
        let Some(folder) = self.options.folder.clone() else {
            return Ok(());
        };
        let text = markdown(verdict);
        let error = |error: &dyn std::fmt::Display| error.to_string();
        if let Some((path, _)) = &self.written {
            return replace(path, text.as_bytes())
                .map_err(|why| format!("cannot write {}: {why}", path.display()));
        }
        let stem = parts::stem(evidence);
        let path = bundle::save(&folder, &stem, VERDICT_SUFFIX, text.as_bytes());
        let path = path.map_err(|why| error(&why))?;
        // Where there was one of that name already, the bundle gets the same number.
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned());
        let stem = name.and_then(|name| Some(name.strip_suffix(VERDICT_SUFFIX)?.to_owned()));
        self.written = Some((path, stem.unwrap_or_default()));
        Ok(())
    }

    fn write_junit(&self, tests: &Tests, verdict: Option<&Verdict>) -> Result<(), String> {
        let Some(path) = &self.options.junit else {
            return Ok(());
        };
        let text = junit(tests, verdict);
        let written = text.and_then(|text| replace(path, &text));
        written.map_err(|why| format!("cannot write {}: {why}", path.display()))
    }

    fn write_bundle(
        &self,
        evidence: &Evidence,
        verdict: &Verdict,
    ) -> Result<Option<PathBuf>, String> {
        let Some(folder) = &self.options.folder else {
            return Ok(None);
        };
        let about = parts::about(evidence, self.options.redact, self.options.size_cap_bytes);
        let parts = parts::parts(evidence, verdict).map_err(|why| why.to_string())?;
        let packed = bundle::pack(about, parts).map_err(|why| why.to_string())?;
        let stem = match &self.written {
            Some((_, stem)) => stem.clone(),
            None => parts::stem(evidence),
        };
        let path = bundle::save(folder, &stem, SUFFIX, &packed.bytes);
        path.map(Some).map_err(|why| why.to_string())
    }
}

impl Keeper for Bundler {
    fn judge(&mut self, evidence: &Evidence) -> Result<Judged, String> {
        let evidence = self.kept(evidence)?;
        let verdict = explain::explain(&evidence);
        let mut lines = first_lines(&verdict).to_vec();
        // The verdict is worth more than the error.
        if let Err(why) = self.write_verdict(&evidence, &verdict) {
            lines.push(format!("warning: {why}"));
        }
        Ok(Judged {
            lines,
            verdict: self.written.as_ref().map(|(path, _)| path.clone()),
            bundle: None,
        })
    }

    fn keep(&mut self, evidence: &Evidence) -> Result<Judged, String> {
        let evidence = self.kept(evidence)?;
        let verdict = explain::explain(&evidence);
        let mut lines = first_lines(&verdict).to_vec();
        let mut warn = |what: Result<(), String>| {
            if let Err(why) = what {
                lines.push(format!("warning: {why}"));
            }
        };
        warn(self.write_verdict(&evidence, &verdict));
        warn(self.write_junit(&evidence.tests, Some(&verdict)));
        if let Some(github) = &self.options.github {
            let annotations = github.annotations(&verdict);
            // As whole lines of their own, or GitHub takes them for text.
            say::write(annotations.as_bytes());
            warn(github.summarize(&verdict));
        }
        let mut path = None;
        match self.write_bundle(&evidence, &verdict) {
            Ok(written) => path = written,
            Err(why) => warn(Err(why)),
        }
        if let Some(path) = &path {
            lines.push(format!(
                "bundle: {} (gohang open reads it)",
                crate::process::escape(path.as_os_str().as_encoded_bytes())
            ));
        }
        Ok(Judged {
            lines,
            verdict: self.written.as_ref().map(|(path, _)| path.clone()),
            bundle: path,
        })
    }

    fn ended(&mut self, tests: &Tests) -> Result<(), String> {
        self.write_junit(tests, None)
    }
}

/// Writes a file whole or not at all, in place of what was there. What is no regular file, as
/// `/dev/stdout`, is written to as it is.
fn replace(path: &Path, content: &[u8]) -> std::io::Result<()> {
    use std::os::unix::fs::PermissionsExt as _;
    if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
        return std::fs::OpenOptions::new()
            .write(true)
            .open(path)?
            .write_all(content);
    }
    let folder = path
        .parent()
        .filter(|folder| !folder.as_os_str().is_empty());
    let mut file = tempfile::Builder::new()
        .prefix(".gohang-")
        .suffix(".part")
        .permissions(std::fs::Permissions::from_mode(0o666))
        .tempfile_in(folder.unwrap_or(Path::new(".")))?;
    file.write_all(content)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    Ok(())
}
