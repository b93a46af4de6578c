//! JSON lines: a document a line, each with its `type`.

use std::borrow::Cow;

use gohang_common::cause::Outcome;
use schemars::JsonSchema;
use serde::Serialize;

use super::chain_line::{RequestLine, StopLine};
use super::interval::Interval;
use super::json::push_line;
use crate::event::{BlockedKinds, Episode, Request, Stop};
use crate::process::escape;
use crate::report::{Alert, Report};

/// A line of `gohang trace -o jsonl`.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(tag = "type", rename_all = "lowercase")]
pub enum Line<'a> {
    /// An episode ended (with `--events`).
    Episode(&'a EpisodeLine<'a>),
    /// A request to yield ended (with `--events`).
    Request(&'a RequestLine<'a>),
    /// The world was stopped and started again (with `--events`).
    Stop(&'a StopLine),
    /// A rule found something.
    Alert(&'a Alert),
    /// Figures since the last interval (with `-i`).
    Interval(&'a Interval),
    /// The whole trace; the last line.
    End(&'a Report),
}

/// Whom a signal was sent to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Directed {
    /// One thread.
    Thread,
    /// The process: the thread that took it is named.
    Process,
}

/// One pending SIGURG, from its first send to its end.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct EpisodeLine<'a> {
    /// Process, root PID namespace.
    pub pid: u32,
    /// Thread that took it, or that it was sent to; root PID namespace.
    pub tid: u32,
    /// Start of the process, CLOCK_MONOTONIC: with `pid` it names the process.
    pub start_ns: u64,
    /// Thread name, escaped.
    pub comm: Cow<'a, str>,
    /// Goroutine interrupted, null if unknown.
    pub goid: Option<u64>,
    /// Function interrupted, escaped; null if unknown or if it was not delivered.
    pub function: Option<Cow<'a, str>>,
    /// Whom it was sent to.
    pub directed: Directed,
    /// Sending process, null if the kernel sent it.
    pub sender_pid: Option<u32>,
    /// First send, CLOCK_MONOTONIC.
    pub sent_ns: u64,
    /// Delivery, CLOCK_MONOTONIC; null if it was not delivered.
    pub delivered_ns: Option<u64>,
    /// First send to delivery; null if it was not delivered.
    pub latency_ns: Option<u64>,
    /// Later sends absorbed.
    pub coalesced: u32,
    /// How it ended.
    #[schemars(extend("enum" = [
        "delivered", "delivered_no_handler", "ignored", "exited", "consumed_unseen", "pending_at_end"
    ]))]
    pub outcome: &'static str,
    /// Time out of quota.
    pub throttled_ns: u64,
    /// Time waiting for a CPU.
    pub runqueue_ns: u64,
    /// Time not runnable.
    pub blocked_ns: u64,
    /// Time on a CPU.
    pub running_ns: u64,
    /// Time with SIGURG blocked.
    pub masked_ns: u64,
    /// Largest component; null if it was not delivered.
    #[schemars(extend("enum" = ["throttled", "masked", "blocked", "runqueue", "running", null]))]
    pub cause: Option<&'static str>,
    /// Control group of the thread, null if unknown.
    pub cgroup: Option<&'a str>,
    /// Largest kind of `blocked_ns`, null if that is 0.
    #[schemars(extend("enum" = [
        "interruptible", "uninterruptible", "stopped", "traced", "frozen", null
    ]))]
    pub blocked_kind: Option<&'static str>,
    /// Part of `throttled_ns` is an estimate.
    pub estimate: bool,
}

impl<'a> EpisodeLine<'a> {
    /// The line of an episode.
    #[must_use]
    pub fn new(episode: &'a Episode, cgroup: Option<&'a str>) -> Self {
        let delivered = episode.outcome.is_delivered();
        Self {
            pid: episode.process.pid,
            tid: episode.tid,
            start_ns: episode.process.start_ns,
            comm: name(&episode.comm),
            goid: episode.goid,
            function: episode
                .place
                .as_ref()
                .and_then(|place| place.function.as_ref())
                .map(|function| name(function.as_bytes())),
            directed: if episode.process_directed {
                Directed::Process
            } else {
                Directed::Thread
            },
            sender_pid: episode.sender_pid,
            sent_ns: episode.sent_ns,
            delivered_ns: delivered.then_some(episode.end_ns),
            latency_ns: episode.latency_ns(),
            coalesced: episode.coalesced,
            outcome: Outcome::name(episode.outcome),
            throttled_ns: episode.parts.throttled,
            runqueue_ns: episode.parts.runqueue,
            blocked_ns: episode.parts.blocked,
            running_ns: episode.parts.running,
            masked_ns: episode.parts.masked,
            cause: delivered.then(|| episode.cause.name()),
            cgroup,
            blocked_kind: largest_kind(&episode.blocked_kinds),
            estimate: episode.estimate,
        }
    }
}

/// A name that came from a process; only an unusual one costs a copy.
pub(super) fn name(raw: &[u8]) -> Cow<'_, str> {
    match std::str::from_utf8(raw) {
        Ok(text) if raw.iter().all(|byte| (0x20..0x7f).contains(byte)) => Cow::Borrowed(text),
        _ => Cow::Owned(escape(raw)),
    }
}

/// Name of the largest kind of blocked time; none if there was none. Ties go to
/// the one that stands first.
pub(super) fn largest_kind(kinds: &BlockedKinds) -> Option<&'static str> {
    let mut best = (0, None);
    for (ns, name) in [
        (kinds.frozen, "frozen"),
        (kinds.traced, "traced"),
        (kinds.stopped, "stopped"),
        (kinds.uninterruptible, "uninterruptible"),
        (kinds.interruptible, "interruptible"),
    ] {
        if ns > best.0 {
            best = (ns, Some(name));
        }
    }
    best.1
}

/// Appends an `episode` line. `cgroup` is the thread's group, if known.
pub fn write_episode(out: &mut Vec<u8>, episode: &Episode, cgroup: Option<&str>) {
    push_line(out, &Line::Episode(&EpisodeLine::new(episode, cgroup)));
}

/// Appends a `request` line.
pub fn write_request(out: &mut Vec<u8>, request: &Request) {
    push_line(out, &Line::Request(&RequestLine::new(request)));
}

/// Appends a `stop` line.
pub fn write_stop(out: &mut Vec<u8>, stop: &Stop) {
    push_line(out, &Line::Stop(&StopLine::new(stop)));
}

/// Appends an `alert` line.
pub fn write_alert(out: &mut Vec<u8>, alert: &Alert) {
    push_line(out, &Line::Alert(alert));
}

/// Appends an `interval` line.
pub fn write_interval(out: &mut Vec<u8>, interval: &Interval) {
    push_line(out, &Line::Interval(interval));
}

/// Appends the `end` line, the last.
pub fn write_end(out: &mut Vec<u8>, report: &Report) {
    push_line(out, &Line::End(report));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::golang::Place;
    use crate::sink::sample;
    use gohang_common::cause::Cause;
    use serde_json::Value;
    use std::sync::Arc;

    fn parse(out: &[u8]) -> Value {
        assert_eq!(
            out.iter().filter(|byte| **byte == b'\n').count(),
            1,
            "one line"
        );
        serde_json::from_slice(out).expect("JSON")
    }

    #[test]
    fn a_delivered_episode_has_every_field() {
        let mut out = Vec::new();
        write_episode(&mut out, &sample::episode(), Some("/team/a"));
        assert_eq!(
            String::from_utf8(out).expect("ASCII"),
            "{\"type\":\"episode\",\"pid\":1234,\"tid\":1240,\"start_ns\":77,\"comm\":\"server\",\
             \"goid\":17,\"function\":\"main.(*server).run\",\"directed\":\"thread\",\"sender_pid\":1234,\"sent_ns\":5000000000,\
             \"delivered_ns\":5088000000,\"latency_ns\":88000000,\"coalesced\":3,\
             \"outcome\":\"delivered\",\"throttled_ns\":86000000,\"runqueue_ns\":1000000,\
             \"blocked_ns\":600000,\"running_ns\":400000,\"masked_ns\":0,\"cause\":\"throttled\",\
             \"cgroup\":\"/team/a\",\"blocked_kind\":\"stopped\",\"estimate\":false}\n"
        );
    }

    #[test]
    fn an_undelivered_one_has_nulls() {
        for outcome in Outcome::ALL
            .into_iter()
            .filter(|outcome| !outcome.is_delivered())
        {
            let episode = Episode {
                outcome,
                goid: None,
                place: None,
                handler: None,
                handler_place: None,
                sender_tid: None,
                sender_pid: None,
                process_directed: true,
                cause: Cause::Running,
                ..sample::episode()
            };
            let mut out = Vec::new();
            write_episode(&mut out, &episode, None);
            let line = parse(&out);
            assert_eq!(line["outcome"], outcome.name());
            assert_eq!(line["directed"], "process");
            for field in [
                "delivered_ns",
                "latency_ns",
                "cause",
                "goid",
                "function",
                "sender_pid",
                "cgroup",
            ] {
                assert_eq!(line.get(field), Some(&Value::Null), "{field}");
            }
        }
    }

    #[test]
    fn the_largest_kind_of_blocked_time_is_named() {
        let none = BlockedKinds::default();
        assert_eq!(largest_kind(&none), None);
        assert_eq!(
            largest_kind(&BlockedKinds {
                interruptible: 1,
                ..none
            }),
            Some("interruptible")
        );
        let two = BlockedKinds {
            interruptible: 5,
            uninterruptible: 6,
            ..none
        };
        assert_eq!(largest_kind(&two), Some("uninterruptible"));
        let tie = BlockedKinds {
            interruptible: 5,
            frozen: 5,
            ..none
        };
        assert_eq!(largest_kind(&tie), Some("frozen"));
    }

    #[test]
    fn hostile_names_are_harmless() {
        let episode = Episode {
            comm: b"\x1b[31m\"\xff\xe2\x80\xae".to_vec(),
            place: Some(Arc::new(Place {
                function: Some("main.\u{202e}".to_owned()),
                safe_point: None,
            })),
            ..sample::episode()
        };
        let mut out = Vec::new();
        write_episode(&mut out, &episode, Some("/a\u{9b}\n"));
        assert!(
            out[..out.len() - 1]
                .iter()
                .all(|byte| (0x20..0x7f).contains(byte))
        );
        let line = parse(&out);
        assert_eq!(line["comm"], "\\x1b[31m\"\\xff\\u{202e}");
        assert_eq!(line["function"], "main.\\u{202e}");
        // A path stays exact, for joining.
        assert_eq!(line["cgroup"], "/a\u{9b}\n");
    }

    #[test]
    fn every_other_type_is_one_line_with_its_type() {
        let report = sample::report();
        let mut out = Vec::new();
        write_alert(&mut out, &report.alerts[0]);
        assert_eq!(parse(&out)["type"], "alert");
        assert_eq!(parse(&out)["rule"], "slow-delivery");
        out.clear();
        write_interval(
            &mut out,
            &Interval::between(None, &report).expect("a first one"),
        );
        assert_eq!(parse(&out)["type"], "interval");
        out.clear();
        write_end(&mut out, &report);
        let end = parse(&out);
        assert_eq!(
            (&end["type"], &end["schema_version"]),
            (&"end".into(), &1.into())
        );
        let back: Report = serde_json::from_value(end).expect("a report");
        assert_eq!(back, report);
    }
}
