//! Kernels that gohang cannot work on, by the way they were booted: one message that says why
//! and what to do, and exit code 3. Each test needs a kernel booted so.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::product::{Finished, Gohang};
use crate::run::{Report, Settings, Test, skip};

/// Longer than any of these runs.
const LIMIT: Duration = Duration::from_secs(60);

/// The tests of this file; the matrix boots a machine for each.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "input::lockdown",
            body: lockdown,
        },
        Test {
            name: "input::no_cpu_controller",
            body: no_cpu_controller,
        },
    ]
}

/// What is refused.
const TRACE: &[&str] = &["trace", "-d", "1s"];

/// Skips the test unless the kernel's command line has this word.
fn booted_with(word: &str) -> Result<()> {
    let line = std::fs::read_to_string("/proc/cmdline")?;
    if line.split_whitespace().any(|own| own == word) {
        return Ok(());
    }
    Err(skip(format!("needs a kernel booted with {word}")))
}

/// What `trace`, `demo` and `doctor` are to say of such a kernel.
struct Verdict<'a> {
    /// Words of the message.
    words: &'a [&'a str],
    /// Mounts securityfs, where lockdown is told, for gohang alone.
    securityfs: bool,
}

impl Verdict<'_> {
    fn run(&self, settings: &Settings, args: &[&str]) -> Result<Finished> {
        let gohang = settings.gohang()?;
        let mut command = if self.securityfs {
            let script = "mount -t securityfs securityfs /sys/kernel/security && exec \"$@\"";
            let mut command = Command::new("unshare");
            command.args(["-m", "sh", "-c", script, "sh"]).arg(gohang);
            command
        } else {
            Command::new(gohang)
        };
        Gohang::spawn_command(command.args(args))?.wait(LIMIT)
    }

    fn is_in(&self, text: &str) -> Result<()> {
        for word in self.words {
            ensure!(text.contains(word), "{word:?} is not in {text:?}");
        }
        Ok(())
    }

    /// Checks a command that ends with one message.
    fn check_refusal(
        &self,
        settings: &Settings,
        command: &[&str],
        report: &mut Report,
    ) -> Result<()> {
        let end = self.run(settings, command)?;
        report.note(format!(
            "{}: {}: {}",
            command[0],
            end.status,
            end.stderr_line()
        ));
        ensure!(end.status.code() == Some(3), "{}", end.status);
        ensure!(
            end.stderr.lines().count() == 1 && end.stderr.starts_with("gohang: error: "),
            "not one message"
        );
        self.is_in(&end.stderr)?;
        ensure!(end.stdout.is_empty(), "it printed something");
        Ok(())
    }

    /// Checks all three; hands over the document of `doctor`.
    fn check(&self, settings: &Settings, report: &mut Report) -> Result<Value> {
        for command in [TRACE, &["demo"]] {
            self.check_refusal(settings, command, report)?;
        }
        let end = self.run(settings, &["doctor"])?;
        ensure!(end.status.code() == Some(3), "doctor: {}", end.status);
        let text = String::from_utf8(end.stdout).context("not UTF-8")?;
        ensure!(
            text.starts_with("gohang cannot trace here:\n"),
            "doctor says {text}"
        );
        self.is_in(text.lines().nth(1).unwrap_or_default())?;
        let end = self.run(settings, &["doctor", "-o", "json"])?;
        ensure!(end.status.code() == Some(3), "doctor: {}", end.status);
        let found: Value = serde_json::from_slice(&end.stdout).context("not one document")?;
        let problems = found["problems"].as_array().context("no problems")?;
        report.note(format!("doctor: {}", found["problems"]));
        let fatal: Vec<&Value> = problems.iter().filter(|p| p["fatal"] == true).collect();
        ensure!(
            found["verdict"] == "cannot" && fatal.len() == 1,
            "doctor's verdict: {}",
            found["verdict"]
        );
        self.is_in(fatal[0]["what"].as_str().unwrap_or_default())?;
        Ok(found)
    }
}

/// The kernel lets nobody read its memory: known from securityfs where it is mounted, and else
/// from the refusal.
fn lockdown(settings: &Settings, report: &mut Report) -> Result<()> {
    booted_with("lockdown=confidentiality")?;
    let verdict = |securityfs| Verdict {
        words: &[
            "locked down at confidentiality level",
            "without lockdown=confidentiality",
        ],
        securityfs,
    };
    let found = verdict(true).check(settings, report)?;
    ensure!(
        found["lockdown"] == "confidentiality",
        "doctor takes the lockdown for {}",
        found["lockdown"]
    );
    // Each start takes long where a processor is emulated: of what comes to the same refusal,
    // the one that is used most.
    verdict(false).check_refusal(settings, TRACE, report)
}

/// There are no groups with a quota.
fn no_cpu_controller(settings: &Settings, report: &mut Report) -> Result<()> {
    booted_with("cgroup_disable=cpu")?;
    let verdict = Verdict {
        words: &["no cpu controller", "remove cgroup_disable=cpu"],
        securityfs: false,
    };
    let found = verdict.check(settings, report)?;
    ensure!(
        found["cgroup"]["cpu_version"].is_null() && found["cgroup"]["error"].is_string(),
        "doctor says of the groups {}",
        found["cgroup"]
    );
    Ok(())
}
