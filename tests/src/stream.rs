//! The product's output, read by its published contract alone.

use anyhow::{Context, Result};
use serde::Deserialize;
use serde_json::Value;

use crate::reference::{Directed, Episode, Outcome};

/// An `episode` line.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub struct Line {
    /// Process id in the root namespace.
    pub pid: u32,
    /// Thread id in the root namespace.
    pub tid: u32,
    /// `thread` or `process`.
    pub directed: String,
    /// Null when the kernel sent it.
    pub sender_pid: Option<u32>,
    /// First send.
    pub sent_ns: u64,
    /// Null when not delivered.
    pub delivered_ns: Option<u64>,
    /// Null when not delivered.
    pub latency_ns: Option<u64>,
    /// Later sends.
    pub coalesced: u64,
    /// How it ended.
    pub outcome: String,
    /// Component.
    pub throttled_ns: u64,
    /// Component.
    pub runqueue_ns: u64,
    /// Component.
    pub blocked_ns: u64,
    /// Component.
    pub running_ns: u64,
    /// Component.
    pub masked_ns: u64,
    /// Null when not delivered.
    pub cause: Option<String>,
}

impl Line {
    /// The components in the order in which ties are decided, with their names.
    pub fn components(&self) -> [(&'static str, u64); 5] {
        [
            ("throttled", self.throttled_ns),
            ("masked", self.masked_ns),
            ("blocked", self.blocked_ns),
            ("runqueue", self.runqueue_ns),
            ("running", self.running_ns),
        ]
    }

    /// Holds the line's figures against each other; `Err` says what is wrong.
    ///
    /// # Errors
    /// A sum, an order or a cause that cannot be.
    pub fn check(&self) -> Result<(), String> {
        let components = self.components();
        let delivered = matches!(self.outcome.as_str(), "delivered" | "delivered_no_handler");
        let nulls = [
            self.delivered_ns.is_none(),
            self.latency_ns.is_none(),
            self.cause.is_none(),
        ];
        if nulls != [!delivered; 3] {
            return Err(format!("outcome {} with nulls {nulls:?}", self.outcome));
        }
        let (Some(end), Some(latency), Some(cause)) =
            (self.delivered_ns, self.latency_ns, &self.cause)
        else {
            return Ok(());
        };
        if end.checked_sub(self.sent_ns) != Some(latency) {
            return Err(format!("latency {latency} is not {end} - {}", self.sent_ns));
        }
        let sum = components
            .iter()
            .try_fold(0u64, |sum, (_, ns)| sum.checked_add(*ns));
        if sum != Some(latency) {
            return Err(format!(
                "components {components:?} make {sum:?}, not {latency}"
            ));
        }
        let largest = components.iter().map(|(_, ns)| *ns).max().unwrap_or(0);
        let expected = components
            .iter()
            .find(|(_, ns)| *ns == largest)
            .map_or("", |(n, _)| n);
        if cause != expected {
            return Err(format!(
                "cause {cause} of {components:?}, expected {expected}"
            ));
        }
        Ok(())
    }

    /// The line as the comparison wants it.
    ///
    /// # Errors
    /// On a word that the contract does not have.
    pub fn episode(&self) -> Result<Episode> {
        let directed = match self.directed.as_str() {
            "thread" => Directed::Thread,
            "process" => Directed::Process,
            other => anyhow::bail!("directed {other:?}"),
        };
        let outcome = match self.outcome.as_str() {
            "delivered" => Outcome::Delivered,
            "delivered_no_handler" => Outcome::DeliveredNoHandler,
            "ignored" => Outcome::Ignored,
            "exited" => Outcome::Exited,
            "consumed_unseen" => Outcome::ConsumedUnseen,
            "pending_at_end" => Outcome::PendingAtEnd,
            other => anyhow::bail!("outcome {other:?}"),
        };
        Ok(Episode {
            pid: self.pid,
            tid: self.tid,
            directed,
            sender_pid: self.sender_pid,
            sent_ns: self.sent_ns,
            // An end that is not told is taken as never: see `compare`.
            end_ns: self.delivered_ns.unwrap_or(u64::MAX),
            coalesced: self.coalesced,
            outcome,
        })
    }
}

/// A whole `-o jsonl` output.
#[derive(Debug, Default)]
pub struct Stream {
    /// The `episode` lines.
    pub lines: Vec<Line>,
    /// The `request` lines.
    pub requests: Vec<Value>,
    /// The `stop` lines.
    pub stops: Vec<Value>,
    /// The `alert` lines.
    pub alerts: Vec<Value>,
    /// The `end` line.
    pub end: Value,
}

impl Stream {
    /// Parses it.
    ///
    /// # Errors
    /// On a line that is not JSON, has an unknown type or lacks a field, and when `end` is not
    /// there exactly once, as the last.
    pub fn parse(text: &[u8]) -> Result<Self> {
        let text = std::str::from_utf8(text).context("the output is not UTF-8")?;
        let mut out = Self::default();
        let mut ended = false;
        for line in text.lines() {
            anyhow::ensure!(!ended, "a line after `end`: {line}");
            let value: Value =
                serde_json::from_str(line).with_context(|| format!("not JSON: {line}"))?;
            match value["type"].as_str() {
                Some("episode") => {
                    let parsed = Line::deserialize(&value);
                    out.lines
                        .push(parsed.with_context(|| format!("in {line}"))?);
                }
                Some("request") => out.requests.push(value),
                Some("stop") => out.stops.push(value),
                Some("alert") => out.alerts.push(value),
                Some("interval") => {}
                Some("end") => {
                    out.end = value;
                    ended = true;
                }
                other => anyhow::bail!("a line of type {other:?}: {line}"),
            }
        }
        anyhow::ensure!(ended, "the output has no `end` line");
        Ok(out)
    }

    /// A number of the end document, by JSON pointer.
    ///
    /// # Errors
    /// When there is no unsigned number there.
    pub fn number(&self, pointer: &str) -> Result<u64> {
        number(&self.end, pointer)
    }

    /// The entry of a process in the end document (the first, for a reused id).
    ///
    /// # Errors
    /// When there is none.
    pub fn process(&self, pid: u32) -> Result<&Value> {
        self.end["processes"]
            .as_array()
            .and_then(|all| all.iter().find(|p| p["pid"] == pid))
            .with_context(|| format!("the end document has no process {pid}"))
    }
}

/// A number of a JSON value, by JSON pointer.
///
/// # Errors
/// When there is no unsigned number there.
pub fn number(value: &Value, pointer: &str) -> Result<u64> {
    let found = value.pointer(pointer).and_then(Value::as_u64);
    found.with_context(|| format!("no number at {pointer} in the document"))
}

/// Checks the identity of the loss line; the text says the figures.
///
/// # Errors
/// When one of the three equations does not hold.
pub fn check_loss(end: &Value) -> Result<String> {
    let n = |name: &str| number(end, &format!("/loss/{name}"));
    let (seen, submitted) = (n("seen")?, n("submitted")?);
    let (ring_full, map_full) = (n("ring_full")?, n("map_full")?);
    let (received, decoded, rejected) = (n("received")?, n("decoded")?, n("rejected")?);
    let (emitted, dropped) = (n("emitted")?, n("output_dropped")?);
    let text = format!(
        "seen {seen} = submitted {submitted} + ring_full {ring_full} + map_full {map_full}; \
         received {received} = decoded {decoded} + rejected {rejected}; \
         decoded = emitted {emitted} + output_dropped {dropped}"
    );
    let holds = seen == submitted + ring_full + map_full
        && submitted == received
        && received == decoded + rejected
        && decoded == emitted + dropped;
    anyhow::ensure!(holds, "the loss identity does not hold: {text}");
    anyhow::ensure!(rejected == 0, "records were rejected: {text}");
    Ok(text)
}

/// Checks that a document counts nothing impossible.
///
/// # Errors
/// When it does, or does not say.
pub fn check_impossible(end: &Value) -> Result<()> {
    let impossible = &end["impossible"];
    let none = impossible
        .as_object()
        .is_some_and(serde_json::Map::is_empty);
    anyhow::ensure!(none, "impossible: {impossible}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn line(edit: impl Fn(&mut Value)) -> Line {
        let mut v = json!({"type": "episode", "pid": 1, "tid": 2, "directed": "thread",
            "sender_pid": 3, "sent_ns": 10, "delivered_ns": 110, "latency_ns": 100,
            "coalesced": 0, "outcome": "delivered", "throttled_ns": 60, "runqueue_ns": 20,
            "blocked_ns": 10, "running_ns": 10, "masked_ns": 0, "cause": "throttled"});
        edit(&mut v);
        serde_json::from_value(v).unwrap()
    }

    #[test]
    fn a_right_line_passes() {
        assert_eq!(line(|_| {}).check(), Ok(()));
    }

    #[test]
    fn a_swapped_cause_fails() {
        assert!(line(|v| v["cause"] = json!("runqueue")).check().is_err());
    }

    #[test]
    fn a_dropped_transition_fails() {
        assert!(line(|v| v["runqueue_ns"] = json!(0)).check().is_err());
    }

    #[test]
    fn a_wrong_latency_fails() {
        assert!(line(|v| v["delivered_ns"] = json!(111)).check().is_err());
        assert!(line(|v| v["delivered_ns"] = json!(9)).check().is_err());
    }

    #[test]
    fn ties_go_in_the_stated_order() {
        let tie = |cause: &str| {
            line(|v| {
                v["throttled_ns"] = json!(0);
                v["masked_ns"] = json!(50);
                v["running_ns"] = json!(50);
                v["runqueue_ns"] = json!(0);
                v["blocked_ns"] = json!(0);
                v["cause"] = json!(cause);
            })
            .check()
        };
        assert_eq!(tie("masked"), Ok(()));
        assert!(tie("running").is_err());
    }

    #[test]
    fn nulls_and_outcome_must_agree() {
        assert!(line(|v| v["outcome"] = json!("exited")).check().is_err());
        assert!(line(|v| v["latency_ns"] = Value::Null).check().is_err());
    }

    #[test]
    fn the_end_line_is_the_last_and_only_one() {
        assert!(Stream::parse(b"{\"type\":\"end\"}\n").is_ok());
        assert!(Stream::parse(b"").is_err());
        assert!(Stream::parse(b"{\"type\":\"end\"}\n{\"type\":\"end\"}\n").is_err());
        assert!(Stream::parse(b"{\"type\":\"thing\"}\n{\"type\":\"end\"}\n").is_err());
    }

    #[test]
    fn an_impossible_value_or_none_said_is_found() {
        assert!(check_impossible(&json!({"impossible": {}})).is_ok());
        assert!(check_impossible(&json!({"impossible": {"clock_backwards": 1}})).is_err());
        assert!(check_impossible(&json!({})).is_err());
    }

    #[test]
    fn a_leak_in_the_loss_identity_is_found() {
        let mut v = json!({"loss": {"seen": 10, "submitted": 8, "ring_full": 2, "map_full": 0,
            "received": 8, "decoded": 8, "rejected": 0, "emitted": 8, "output_dropped": 0}});
        assert!(check_loss(&v).is_ok());
        v["loss"]["ring_full"] = json!(1);
        assert!(check_loss(&v).is_err());
        v["loss"]["ring_full"] = json!(2);
        v["loss"]["received"] = json!(7);
        assert!(check_loss(&v).is_err());
    }
}
