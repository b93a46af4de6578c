//! Test results as JUnit's XML: tests that ended as they did, and the one that hung with the
//! verdict. What a test printed stands with it, unless it passed.

use std::collections::BTreeMap;
use std::io::{self, Write};

use quick_xml::Writer;
use quick_xml::events::BytesText;

use crate::process::escape;
use crate::run::evidence::{EndedTest, RunningTest, TestOutcome, Tests};
use crate::run::explain::{Verdict, first_lines, markdown};

/// What stands for a package that is not told.
const NO_PACKAGE: &str = "go test";
/// The type of the error of a test that hung.
const HANG: &str = "hang";

/// What is in one `testsuite`.
#[derive(Default)]
struct Suite<'a> {
    ended: Vec<&'a EndedTest>,
    running: Vec<Hung<'a>>,
}

/// A test that hung.
#[derive(Clone, Copy)]
struct Hung<'a> {
    test: &'a RunningTest,
    output: &'a str,
}

/// The document.
///
/// # Errors
/// None that writing to memory can have.
pub fn junit(tests: &Tests, verdict: Option<&Verdict>) -> io::Result<Vec<u8>> {
    let mut suites: BTreeMap<&str, Suite<'_>> = BTreeMap::new();
    for ended in &tests.ended {
        let suite = suites.entry(package(&ended.package)).or_default();
        // A package is a suite; it counts as a test where none of its own is known.
        if !ended.test.is_empty() {
            suite.ended.push(ended);
        }
    }
    for ended in tests.ended.iter().filter(|ended| ended.test.is_empty()) {
        let suite = suites.entry(package(&ended.package)).or_default();
        let has_failed = suite
            .ended
            .iter()
            .any(|one| one.outcome == TestOutcome::Failed);
        let explained = ended.outcome != TestOutcome::Failed || has_failed;
        if suite.ended.is_empty() || !explained {
            suite.ended.push(ended);
        }
    }
    if verdict.is_some() {
        for (index, test) in tests.running.iter().enumerate() {
            let suite = suites.entry(package(&test.package)).or_default();
            let output = tests.running_output.get(index).map_or("", String::as_str);
            suite.running.push(Hung { test, output });
        }
    }
    // A hang without a test that is known is one of the command.
    let command = RunningTest {
        test: "command".to_owned(),
        ran_ns: verdict.map_or(0, |verdict| verdict.elapsed_ns),
        ..RunningTest::default()
    };
    if verdict.is_some() && tests.running.is_empty() {
        suites.entry("gohang run").or_default().running.push(Hung {
            test: &command,
            output: "",
        });
    }
    let mut writer = Writer::new_with_indent(Vec::new(), b' ', 2);
    writer
        .get_mut()
        .write_all(b"<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n")?;
    let (all, failed, errors) = suites
        .values()
        .fold((0, 0, 0), |(all, failed, errors), suite| {
            let (a, f, e) = suite.counts();
            (all + a, failed + f, errors + e)
        });
    writer
        .create_element("testsuites")
        .with_attribute(("tests", all.to_string().as_str()))
        .with_attribute(("failures", failed.to_string().as_str()))
        .with_attribute(("errors", errors.to_string().as_str()))
        .write_inner_content(|writer| {
            suites
                .iter()
                .try_for_each(|(name, suite)| suite.write(writer, name, verdict))
        })?;
    let mut text = writer.into_inner();
    text.push(b'\n');
    Ok(text)
}

fn package(name: &str) -> &str {
    if name.is_empty() { NO_PACKAGE } else { name }
}

impl Suite<'_> {
    /// Tests, failures, and errors.
    fn counts(&self) -> (usize, usize, usize) {
        let failed = self
            .ended
            .iter()
            .filter(|one| one.outcome == TestOutcome::Failed);
        (
            self.ended.len() + self.running.len(),
            failed.count(),
            self.running.len(),
        )
    }

    fn write(
        &self,
        writer: &mut Writer<Vec<u8>>,
        name: &str,
        verdict: Option<&Verdict>,
    ) -> io::Result<()> {
        let (all, failed, errors) = self.counts();
        let skipped = self
            .ended
            .iter()
            .filter(|one| one.outcome == TestOutcome::Skipped);
        let took = self.ended.iter().filter_map(|one| one.took_ns).sum::<u64>()
            + self.running.iter().map(|one| one.test.ran_ns).sum::<u64>();
        writer
            .create_element("testsuite")
            .with_attribute(("name", safe(name).as_str()))
            .with_attribute(("tests", all.to_string().as_str()))
            .with_attribute(("failures", failed.to_string().as_str()))
            .with_attribute(("errors", errors.to_string().as_str()))
            .with_attribute(("skipped", skipped.count().to_string().as_str()))
            .with_attribute(("time", seconds(took).as_str()))
            .write_inner_content(|writer| {
                for ended in &self.ended {
                    write_ended(writer, name, ended)?;
                }
                let Some(verdict) = verdict else {
                    return Ok(());
                };
                self.running
                    .iter()
                    .try_for_each(|hung| write_hung(writer, name, hung, verdict))
            })?;
        Ok(())
    }
}

fn write_ended(writer: &mut Writer<Vec<u8>>, suite: &str, ended: &EndedTest) -> io::Result<()> {
    let test = if ended.test.is_empty() {
        suite
    } else {
        &ended.test
    };
    let (suite, test, took) = (safe(suite), safe(test), seconds(ended.took_ns.unwrap_or(0)));
    let case = writer
        .create_element("testcase")
        .with_attribute(("classname", suite.as_str()))
        .with_attribute(("name", test.as_str()))
        .with_attribute(("time", took.as_str()));
    match ended.outcome {
        TestOutcome::Passed => case.write_empty()?,
        TestOutcome::Skipped => case.write_inner_content(|writer| {
            let mut lines = ended.output.lines().map(str::trim);
            let why = lines.rfind(|line| !line.is_empty());
            let skipped = writer.create_element("skipped");
            match why.map(safe) {
                Some(why) => skipped.with_attribute(("message", why.as_str())),
                None => skipped,
            }
            .write_empty()?;
            Ok(())
        })?,
        TestOutcome::Failed => case.write_inner_content(|writer| {
            let failure = writer
                .create_element("failure")
                .with_attribute(("message", "failed"));
            match ended.output.as_str() {
                "" => failure.write_empty()?,
                output => failure.write_text_content(BytesText::new(&lines(output)))?,
            };
            Ok(())
        })?,
    };
    Ok(())
}

fn write_hung(
    writer: &mut Writer<Vec<u8>>,
    suite: &str,
    hung: &Hung<'_>,
    verdict: &Verdict,
) -> io::Result<()> {
    let running = hung.test;
    let [message, ..] = first_lines(verdict);
    writer
        .create_element("testcase")
        .with_attribute(("classname", safe(suite).as_str()))
        .with_attribute(("name", safe(&running.test).as_str()))
        .with_attribute(("time", seconds(running.ran_ns).as_str()))
        .write_inner_content(|writer| {
            writer
                .create_element("error")
                .with_attribute(("type", HANG))
                .with_attribute(("message", safe(&message).as_str()))
                .write_text_content(BytesText::new(&lines(&markdown(verdict))))?;
            if !hung.output.is_empty() {
                writer
                    .create_element("system-out")
                    .write_text_content(BytesText::new(&lines(hung.output)))?;
            }
            Ok(())
        })?;
    Ok(())
}

fn seconds(ns: u64) -> String {
    format!("{}.{:03}", ns / 1_000_000_000, ns / 1_000_000 % 1000)
}

/// A text without what XML has no form for.
fn safe(text: &str) -> String {
    escape(text).chars().filter(|c| is_xml(*c)).collect()
}

/// The same, with its line breaks and tabs.
pub(super) fn lines(text: &str) -> String {
    let line = |line: &str| line.split('\t').map(safe).collect::<Vec<_>>().join("\t") + "\n";
    text.lines().map(line).collect()
}

/// Characters that XML 1.0 allows (2.2), but for those that [`escape`] has made visible.
fn is_xml(c: char) -> bool {
    !matches!(u32::from(c), 0xfffe | 0xffff)
}
