//! Time limits that get in each other's way: `go test`'s, the CI job's and gohang's own.

use std::ffi::OsString;
use std::path::Path;
use std::time::Duration;

use super::breaker::Breaker;
use crate::units::span;

/// What `go test -timeout` is when it is not given (`cmd/go/internal/test`).
const GO_DEFAULT: Duration = Duration::from_secs(600);

/// What is wrong with the limits, a line each.
pub(super) fn warnings(
    command: &[OsString],
    breaker: &Breaker,
    job_limit: Option<Duration>,
) -> Vec<String> {
    let job = job_limit.map(|limit| (limit, "--job-limit")).or_else(|| {
        let variable = |name: &str| std::env::var(name).ok();
        of_job(&variable)
    });
    check(test_limit(command), breaker, job)
}

/// `go`: `go test`'s own limit. `job`: the CI job's, and how it is known.
fn check(go: Option<Duration>, breaker: &Breaker, job: Option<(Duration, &str)>) -> Vec<String> {
    let own = [
        ("--timeout", breaker.timeout),
        ("--idle-timeout", breaker.idle_timeout),
    ];
    let own = own
        .into_iter()
        .filter_map(|(name, limit)| Some((limit?, name)));
    let first = own.min();
    let mut found = Vec::new();
    if let (Some(go), Some((own, name))) = (go, first)
        && own >= go
    {
        found.push(format!(
            "go test ends a test binary after its -timeout of {}, before {name} {} can explain \
             the hang: give {name} less, or go test more (-timeout)",
            span(go),
            span(own)
        ));
    }
    let before_job = first.or_else(|| go.map(|go| (go, "go test -timeout")));
    if let (Some((job, known_by)), Some((limit, name))) = (job, before_job) {
        // Its own limit only begins the steps that explain and end a hang.
        let ending = first.map_or(Duration::ZERO, |_| breaker.ending());
        if limit >= job {
            found.push(format!(
                "the CI job ends in {} ({known_by}), before {name} {} can explain a hang: give \
                 {name} less, or the job more",
                span(job),
                span(limit)
            ));
        } else if limit + ending > job {
            found.push(format!(
                "the CI job ends in {} ({known_by}), while a hang is still being explained and \
                 ended, which takes up to {} after {name} {}: give {name} less, or the job more",
                span(job),
                span(ending),
                span(limit)
            ));
        }
    }
    found
}

/// The limit of the CI job, from what the service tells it.
fn of_job<'a>(variable: &dyn Fn(&str) -> Option<String>) -> Option<(Duration, &'a str)> {
    let number = |name: &str| {
        variable(name)?
            .trim()
            .parse::<u64>()
            .ok()
            .filter(|&n| n > 0)
    };
    // GitLab: seconds. Buildkite: minutes, or `false`.
    let gitlab = number("CI_JOB_TIMEOUT").map(|n| (Duration::from_secs(n), "CI_JOB_TIMEOUT"));
    gitlab.or_else(|| {
        number("BUILDKITE_TIMEOUT").map(|n| {
            (
                Duration::from_secs(n.saturating_mul(60)),
                "BUILDKITE_TIMEOUT",
            )
        })
    })
}

/// The limit of a test binary, and where it is given; without one it is `None`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TestLimit {
    /// With the command.
    Command(Option<Duration>),
    /// In `GOFLAGS`.
    Goflags(Option<Duration>),
    /// Nowhere: `go test`'s own default, or none for a test binary by itself.
    Default(Option<Duration>),
    /// The command is neither `go test` nor a test binary.
    Unknown,
}

/// The limit of the CI job that the environment tells, and the variable that does.
pub(crate) fn ci_job_limit() -> Option<(Duration, &'static str)> {
    of_job(&|name: &str| std::env::var(name).ok())
}

/// The command's own limit on each test binary, as in [`go_timeout`].
pub(super) fn test_limit(command: &[OsString]) -> Option<Duration> {
    go_timeout(command, &std::env::var("GOFLAGS").unwrap_or_default())
}

/// The limit that `go test` puts on each test binary; `None` when the command is not one, or
/// has none.
fn go_timeout(command: &[OsString], goflags: &str) -> Option<Duration> {
    match go_test_limit(command, goflags) {
        TestLimit::Command(limit) | TestLimit::Goflags(limit) | TestLimit::Default(limit) => limit,
        TestLimit::Unknown => None,
    }
}

/// The limit that the command puts on each test binary.
pub(crate) fn go_test_limit(command: &[OsString], goflags: &str) -> TestLimit {
    let words: Vec<&str> = command.iter().filter_map(|word| word.to_str()).collect();
    let Some((program, arguments)) = words.split_first() else {
        return TestLimit::Unknown;
    };
    let set = |limit: Duration| (!limit.is_zero()).then_some(limit);
    let name = Path::new(program)
        .file_name()
        .and_then(|name| name.to_str());
    let rest = match (name, arguments) {
        (Some(name), _) if name.ends_with(".test") => {
            return match flag(arguments) {
                Some(limit) => TestLimit::Command(set(limit)),
                None => TestLimit::Default(None),
            };
        }
        // `-C dir` may stand before the subcommand.
        (Some("go"), ["-C", _, rest @ ..]) => rest,
        (Some("go"), [first, rest @ ..]) if first.starts_with("-C=") => rest,
        (Some("go"), rest) => rest,
        _ => return TestLimit::Unknown,
    };
    let ["test", rest @ ..] = rest else {
        return TestLimit::Unknown;
    };
    let of_env: Vec<&str> = goflags.split_whitespace().collect();
    match (flag(rest), flag(&of_env)) {
        (Some(limit), _) => TestLimit::Command(set(limit)),
        (None, Some(limit)) => TestLimit::Goflags(set(limit)),
        (None, None) => TestLimit::Default(Some(GO_DEFAULT)),
    }
}

/// The last `-timeout` among flags, in any of its spellings.
fn flag(words: &[&str]) -> Option<Duration> {
    let mut found = None;
    let mut words = words.iter();
    while let Some(word) = words.next() {
        if matches!(*word, "-args" | "--args") {
            break;
        }
        let bare = word.strip_prefix("--").or_else(|| word.strip_prefix('-'));
        let Some(bare) = bare else { continue };
        let bare = bare.strip_prefix("test.").unwrap_or(bare);
        let value = match bare.split_once('=') {
            Some(("timeout", value)) => Some(value),
            None if bare == "timeout" => words.next().copied(),
            _ => None,
        };
        found = value.and_then(go_duration).or(found);
    }
    found
}

/// A time as Go writes it: `1h30m`, `90s`, `1.5h`, `0`.
fn go_duration(text: &str) -> Option<Duration> {
    if text == "0" {
        return Some(Duration::ZERO);
    }
    let mut rest = text;
    let mut sum = Duration::ZERO;
    if rest.is_empty() {
        return None;
    }
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let length = after
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(after.len());
        let (unit, after) = after.split_at(length);
        let seconds = match unit {
            "ns" => 1e-9,
            "us" | "\u{b5}s" | "\u{3bc}s" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        let number: f64 = number.parse().ok()?;
        sum = sum.checked_add(Duration::try_from_secs_f64(number * seconds).ok()?)?;
        rest = after;
    }
    Some(sum)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const MINUTE: Duration = Duration::from_secs(60);

    fn command(text: &str) -> Vec<OsString> {
        text.split(' ').map(Into::into).collect()
    }

    #[test]
    fn the_limit_of_a_go_test_in_all_its_spellings() {
        for (text, goflags, want) in [
            ("go test ./...", "", Some(600)),
            ("go test -timeout 5m ./...", "", Some(300)),
            ("/usr/bin/go test --timeout=90s", "", Some(90)),
            ("go -C dir test -test.timeout 1.5h", "", Some(5400)),
            ("go test -timeout=0 ./...", "", None),
            ("go test ./... -args -timeout 5s", "", Some(600)),
            ("go test ./...", "-mod=mod -timeout=7m", Some(420)),
            ("go test -timeout 1m", "-timeout=7m", Some(60)),
            ("./pkg.test -test.timeout=1h30m", "", Some(5400)),
            ("./pkg.test -test.v", "", None),
            ("go build -timeout 5m", "", None),
            ("make test", "", None),
        ] {
            let got = go_timeout(&command(text), goflags);
            assert_eq!(got, want.map(Duration::from_secs), "{text} {goflags}");
        }
    }

    #[test]
    fn limits_that_come_too_late_are_named() {
        let with = |timeout: Option<u32>, idle: Option<u32>| Breaker {
            timeout: timeout.map(|n| MINUTE * n),
            idle_timeout: idle.map(|n| MINUTE * n),
            ..Breaker::default()
        };
        let go = Some(MINUTE * 10);
        let job = Some((MINUTE * 60, "--job-limit"));
        for (go, breaker, job, words) in [
            (go, with(None, None), job, &[][..]),
            (go, with(Some(9), None), job, &[]),
            (go, with(Some(30), Some(5)), job, &[]),
            (
                go,
                with(Some(10), None),
                job,
                &["-timeout of 10 min, before --timeout 10 min"],
            ),
            (None, with(Some(60), None), job, &["the CI job ends in 1 h"]),
            // Time for the lifted limit, goroutines and SIGTERM: 25 s by default.
            (
                None,
                with(Some(2), None),
                Some((MINUTE * 2 + Duration::from_secs(24), "--job-limit")),
                &["takes up to 25 s after --timeout 2 min"],
            ),
            (
                None,
                with(Some(2), None),
                Some((MINUTE * 2 + Duration::from_secs(25), "--job-limit")),
                &[],
            ),
            (
                Some(MINUTE * 60),
                with(None, None),
                job,
                &["before go test -timeout"],
            ),
            (
                go,
                with(Some(90), None),
                job,
                &["before --timeout 1 h 30 min can", "the CI job"],
            ),
            (None, with(None, None), job, &[]),
            (
                go,
                with(None, Some(15)),
                None,
                &["before --idle-timeout 15 min"],
            ),
        ] {
            let found = check(go, &breaker, job);
            assert_eq!(found.len(), words.len(), "{found:?}");
            for (line, word) in found.iter().zip(words) {
                assert!(line.contains(word), "{line}");
            }
        }
    }

    #[test]
    fn the_limits_of_ci_services() {
        let of = |pairs: &[(&str, &str)]| {
            of_job(&|name: &str| {
                let found = pairs.iter().find(|(known, _)| *known == name);
                found.map(|(_, value)| (*value).to_owned())
            })
        };
        assert_eq!(of(&[("CI_JOB_TIMEOUT", "3600")]).unwrap().0, MINUTE * 60);
        assert_eq!(of(&[("BUILDKITE_TIMEOUT", "10")]).unwrap().0, MINUTE * 10);
        assert_eq!(of(&[("BUILDKITE_TIMEOUT", "false")]), None);
        assert_eq!(of(&[]), None);
    }

    proptest! {
        #[test]
        fn times_never_panic(text in "[0-9.hmsnu\u{b5}]{0,12}|.{0,12}") {
            let _ = go_duration(&text);
        }
    }
}
