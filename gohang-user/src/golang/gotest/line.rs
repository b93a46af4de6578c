//! One line of `go test`'s output.

use std::time::Duration;

use serde::Deserialize;

/// How a test or package ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Result {
    /// It passed.
    Pass,
    /// It failed.
    Fail,
    /// It was skipped, or has no tests.
    Skip,
}

/// What a line says.
#[derive(Debug, Clone, PartialEq)]
pub enum Event<'a> {
    /// A package's tests begin.
    PackageStart(&'a str),
    /// A test begins; the package is empty where the form does not tell it.
    Run(&'a str, &'a str),
    /// A test waits for its turn among parallel ones.
    Pause(&'a str, &'a str),
    /// It goes on.
    Cont(&'a str, &'a str),
    /// What is printed from here on is this test's.
    Name(&'a str, &'a str),
    /// A test has ended, after so long if that is told.
    End(&'a str, &'a str, Result, Option<Duration>),
    /// A package has ended.
    PackageEnd(&'a str, Result),
}

/// Marks lines of the test framework in the output of a test binary (`testing.chatty`, since
/// Go 1.20).
const MARKER: char = '\u{16}';

/// Reads a line of plain or `-v` output, without its line break; `None` when it is
/// something that a test printed, or nothing of interest.
#[must_use]
pub fn parse(line: &str) -> Option<Event<'_>> {
    let line = line.trim_end_matches('\r');
    let line = line.strip_prefix(MARKER).unwrap_or(line);
    if let Some(rest) = line.strip_prefix("=== ") {
        let (word, name) = rest.split_once(char::is_whitespace)?;
        let name = name.trim();
        return match word {
            _ if !is_test(name) => None,
            "RUN" => Some(Event::Run("", name)),
            "PAUSE" => Some(Event::Pause("", name)),
            "CONT" => Some(Event::Cont("", name)),
            "NAME" => Some(Event::Name("", name)),
            _ => None,
        };
    }
    if let Some(rest) = line.trim_start_matches(' ').strip_prefix("--- ") {
        let (word, rest) = rest.split_once(": ")?;
        let result = match word {
            "PASS" => Result::Pass,
            "FAIL" => Result::Fail,
            "SKIP" => Result::Skip,
            _ => return None,
        };
        let (name, time) = rest.rsplit_once(" (")?;
        let time = time.strip_suffix("s)")?.parse().ok();
        let time = time.and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        return is_test(name).then_some(Event::End("", name, result, time));
    }
    let mut fields = line.split('\t');
    let result = match fields.next()?.trim_end() {
        "ok" => Result::Pass,
        "FAIL" => Result::Fail,
        "?" => Result::Skip,
        _ => return None,
    };
    // `FAIL` alone is what a test binary prints before it ends.
    let package = fields.next()?.split(' ').next()?;
    (!package.is_empty()).then_some(Event::PackageEnd(package, result))
}

/// Whether it can be the name of a test, benchmark, fuzz test or example, or a part of one.
fn is_test(name: &str) -> bool {
    let known = ["Test", "Benchmark", "Fuzz", "Example"];
    !name.contains(char::is_whitespace) && known.iter().any(|word| name.starts_with(word))
}

/// A line of `-json` output (`go doc test2json`).
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Json {
    action: String,
    #[serde(default)]
    package: String,
    #[serde(default)]
    test: String,
    elapsed: Option<f64>,
    output: Option<String>,
    /// What is built, where that prints or fails (`go help buildjson`, since Go 1.24).
    #[serde(default)]
    import_path: String,
    /// Of a package that could not be built: what failed.
    #[serde(default)]
    failed_build: String,
}

impl Json {
    /// `None` when the line is not of this form.
    pub fn read(line: &[u8]) -> Option<Self> {
        // Cheap, for whatever else has braces.
        let begins = line.first() == Some(&b'{');
        begins.then(|| serde_json::from_slice(line).ok()).flatten()
    }

    /// The package that it is about.
    pub fn package(&self) -> &str {
        &self.package
    }

    /// Who printed it: a package, or what is built, and a test, or nothing.
    pub fn speaker(&self) -> (&str, &str) {
        if self.package.is_empty() {
            (&self.import_path, "")
        } else {
            (&self.package, &self.test)
        }
    }

    /// What could not be built.
    pub fn failed_build(&self) -> Option<&str> {
        (!self.failed_build.is_empty()).then_some(&self.failed_build)
    }

    /// What was printed.
    pub fn output(&self) -> Option<&str> {
        self.output.as_deref()
    }

    /// What it says.
    pub fn event(&self) -> Option<Event<'_>> {
        let (package, test) = (self.package.as_str(), self.test.as_str());
        let result = match self.action.as_str() {
            "start" => return Some(Event::PackageStart(package)),
            "run" => return Some(Event::Run(package, test)),
            "pause" => return Some(Event::Pause(package, test)),
            "cont" => return Some(Event::Cont(package, test)),
            "pass" | "bench" => Result::Pass,
            "fail" => Result::Fail,
            "skip" => Result::Skip,
            _ => return None,
        };
        if test.is_empty() {
            return Some(Event::PackageEnd(package, result));
        }
        let elapsed = self
            .elapsed
            .and_then(|s| Duration::try_from_secs_f64(s).ok());
        Some(Event::End(package, test, result, elapsed))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lines_of_the_framework() {
        let time = |ms| Some(Duration::from_millis(ms));
        for (line, want) in [
            ("=== RUN   TestA", Event::Run("", "TestA")),
            (
                "=== RUN   TestA/sub_case#01",
                Event::Run("", "TestA/sub_case#01"),
            ),
            ("\u{16}=== RUN   TestB\r", Event::Run("", "TestB")),
            ("=== PAUSE TestA", Event::Pause("", "TestA")),
            ("=== CONT  TestA", Event::Cont("", "TestA")),
            ("\u{16}=== NAME  TestA", Event::Name("", "TestA")),
            (
                "--- PASS: TestA (0.25s)",
                Event::End("", "TestA", Result::Pass, time(250)),
            ),
            (
                "    --- FAIL: TestA/b (1.00s)",
                Event::End("", "TestA/b", Result::Fail, time(1000)),
            ),
            (
                "--- SKIP: TestA (0.00s)",
                Event::End("", "TestA", Result::Skip, time(0)),
            ),
            (
                "ok  \texample.com/a/b\t0.012s",
                Event::PackageEnd("example.com/a/b", Result::Pass),
            ),
            ("ok  \tx\t(cached)", Event::PackageEnd("x", Result::Pass)),
            (
                "FAIL\texample.com/a\t1.5s",
                Event::PackageEnd("example.com/a", Result::Fail),
            ),
            (
                "FAIL\texample.com/a [build failed]",
                Event::PackageEnd("example.com/a", Result::Fail),
            ),
            (
                "?   \texample.com/c\t[no test files]",
                Event::PackageEnd("example.com/c", Result::Skip),
            ),
        ] {
            assert_eq!(parse(line), Some(want), "{line}");
        }
        for line in [
            "",
            "FAIL",
            "PASS",
            "ok",
            "ok then",
            "=== RUN",
            "=== RUN   something else",
            "--- PASS: TestA",
            "--- BENCH: BenchmarkA-4",
            "say --- PASS: TestA (0.00s)",
            "coverage: 80.0% of statements",
        ] {
            assert_eq!(parse(line), None, "{line}");
        }
    }

    #[test]
    fn lines_of_json() {
        let read = |text: &str| Json::read(text.as_bytes());
        let line = read(
            r#"{"Time":"2026-01-01T00:00:00Z","Action":"run","Package":"a/b","Test":"TestX"}"#,
        );
        assert_eq!(line.unwrap().event(), Some(Event::Run("a/b", "TestX")));
        let line =
            read(r#"{"Action":"fail","Package":"a/b","Test":"TestX","Elapsed":1.5}"#).unwrap();
        let end = Event::End(
            "a/b",
            "TestX",
            Result::Fail,
            Some(Duration::from_millis(1500)),
        );
        assert_eq!(line.event(), Some(end));
        let line = read(r#"{"Action":"skip","Package":"a/b","Elapsed":0}"#).unwrap();
        assert_eq!(line.event(), Some(Event::PackageEnd("a/b", Result::Skip)));
        let line = read(r#"{"Action":"start","Package":"a/b"}"#).unwrap();
        assert_eq!(line.event(), Some(Event::PackageStart("a/b")));
        let line = read(r#"{"Action":"output","Package":"a","Test":"T","Output":"x\n"}"#).unwrap();
        assert_eq!((line.event(), line.output()), (None, Some("x\n")));
        let line = read(r#"{"ImportPath":"a","Action":"build-output","Output":"oops\n"}"#).unwrap();
        assert_eq!((line.event(), line.package()), (None, ""));
        assert_eq!((line.speaker(), line.failed_build()), (("a", ""), None));
        let line = read(r#"{"Action":"fail","Package":"a","FailedBuild":"a [a.test]"}"#).unwrap();
        assert_eq!(line.failed_build(), Some("a [a.test]"));
        for text in ["{", "[1]", r#"{"level":"info"}"#, "x", r#"{"Action":5}"#] {
            assert!(read(text).is_none(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in "(=== |--- |ok  \t|FAIL\t|\u{16})?.{0,40}") {
            let _ = parse(&line);
            if let Some(json) = Json::read(line.as_bytes()) {
                let _ = json.event();
            }
        }

        #[test]
        fn times_are_read_or_not_told(seconds in any::<f64>()) {
            let line = format!("--- PASS: TestA ({seconds}s)");
            let _ = parse(&line);
            let line = format!(r#"{{"Action":"pass","Test":"T","Elapsed":{seconds:e}}}"#);
            if let Some(json) = Json::read(line.as_bytes()) {
                let _ = json.event();
            }
        }
    }
}
