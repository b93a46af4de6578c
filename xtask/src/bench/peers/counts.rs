//! What each tool counts of one process.

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Sends, deliveries, and deliveries whose first send is known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Signals sent, with those that found one pending.
    pub sends: u64,
    /// Signals delivered.
    pub deliveries: u64,
    /// Of those, with a known first send: episodes.
    pub pairs: u64,
}

/// What a tool says of a run.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub struct Told {
    /// Its counts.
    pub counts: Counts,
    /// What it says it has lost.
    pub lost: u64,
}

/// The document of `gohang trace -o json`.
///
/// # Errors
/// It is none, or has no such process.
pub fn of_gohang(text: &str, pid: u32) -> Result<Told> {
    let document: Value = serde_json::from_str(text).context("gohang's document")?;
    let processes = document["processes"].as_array();
    let process = processes
        .and_then(|all| all.iter().find(|process| process["pid"] == pid))
        .with_context(|| format!("gohang's document has no process {pid}"))?;
    let number = |value: &Value, key: &str| {
        let number = value[key].as_u64();
        number.with_context(|| format!("gohang's document has no {key}"))
    };
    let outcomes = process["outcomes"].as_object().context("no outcomes")?;
    let episodes: u64 = outcomes.values().filter_map(Value::as_u64).sum();
    let loss = &document["loss"];
    let mut lost = 0;
    for key in ["ring_full", "map_full", "rejected", "output_dropped"] {
        lost += number(loss, key)?;
    }
    let taken = ["delivered", "delivered_no_handler"].map(|key| process["outcomes"][key].as_u64());
    Ok(Told {
        counts: Counts {
            sends: episodes + number(process, "coalesced")?,
            deliveries: number(process, "episodes")?,
            pairs: taken.into_iter().flatten().sum(),
        },
        lost,
    })
}

/// The output of `bpftrace -f json` with the script of this folder.
///
/// # Errors
/// A line is not JSON.
pub fn of_bpftrace(text: &str, pid: u32) -> Result<Told> {
    let mut told = Told {
        counts: Counts::default(),
        lost: 0,
    };
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        let value: Value =
            serde_json::from_str(line).with_context(|| format!("bpftrace prints {line:?}"))?;
        let of = |name: &str| value["data"][name][pid.to_string()].as_u64();
        match value["type"].as_str() {
            Some("map") => {
                let Counts {
                    sends,
                    deliveries,
                    pairs,
                } = &mut told.counts;
                for (name, count) in [
                    ("@sends", sends),
                    ("@deliveries", deliveries),
                    ("@pairs", pairs),
                ] {
                    *count += of(name).unwrap_or(0);
                }
            }
            Some("lost_events") => {
                let events = value["data"]["events"].as_u64();
                told.lost += events.context("lost events without a number")?;
            }
            Some("attached_probes" | "hist") => {}
            other => bail!("bpftrace prints {other:?}: {line}"),
        }
    }
    Ok(told)
}

/// The output of `perf script -F tid,event --show-lost-events` on signals of one thread, which
/// signals itself.
///
/// # Errors
/// A line is something else.
pub fn of_perf(text: &str, tid: u32) -> Result<Told> {
    let mut counts = Counts::default();
    let (mut lost, mut pending) = (0, false);
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if line.contains("PERF_RECORD_LOST") {
            let number = line.split_whitespace().last().and_then(|n| n.parse().ok());
            lost += number.unwrap_or(1);
            continue;
        }
        let mut words = line.split_whitespace();
        let (Some(thread), Some(event)) = (words.next(), words.next()) else {
            bail!("perf script prints {line:?}");
        };
        if thread
            .parse::<u32>()
            .with_context(|| format!("perf script prints {line:?}"))?
            != tid
        {
            continue;
        }
        match event.trim_end_matches(':').rsplit(':').next() {
            Some("signal_generate") => {
                counts.sends += 1;
                pending = true;
            }
            Some("signal_deliver") => {
                counts.deliveries += 1;
                counts.pairs += u64::from(pending);
                pending = false;
            }
            Some("sched_switch" | "sched_waking") => {}
            _ => bail!("perf script prints {line:?}"),
        }
    }
    Ok(Told { counts, lost })
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXPECTED: Counts = Counts {
        sends: 3,
        deliveries: 2,
        pairs: 1,
    };

    #[test]
    fn gohang_counts_outcomes_and_what_they_hide() {
        let text = r#"{"loss": {"ring_full": 1, "map_full": 0, "rejected": 2, "output_dropped": 0},
            "processes": [{"pid": 6}, {"pid": 7, "episodes": 2, "coalesced": 1,
            "outcomes": {"delivered": 1, "exited": 1}}]}"#;
        let told = of_gohang(text, 7).expect("valid");
        assert_eq!((told.counts, told.lost), (EXPECTED, 3));
        assert!(of_gohang(text, 8).is_err());
        assert!(of_gohang(text, 6).is_err());
        assert!(of_gohang("{", 7).is_err());
    }

    #[test]
    fn bpftrace_counts_by_process() {
        let text = "{\"type\": \"attached_probes\", \"data\": {\"probes\": 5}}\n\
            {\"type\": \"map\", \"data\": {\"@sends\": {\"7\": 3, \"8\": 9}}}\n\
            {\"type\": \"map\", \"data\": {\"@off_queued_ns\": 5}}\n\
            {\"type\": \"map\", \"data\": {\"@deliveries\": {\"7\": 2}}}\n\
            {\"type\": \"hist\", \"data\": {\"@latency_ns\": []}}\n\
            {\"type\": \"lost_events\", \"data\": {\"events\": 4}}\n\
            {\"type\": \"map\", \"data\": {\"@pairs\": {\"7\": 1}}}\n";
        let told = of_bpftrace(text, 7).expect("valid");
        assert_eq!((told.counts, told.lost), (EXPECTED, 4));
        assert!(of_bpftrace("words", 7).is_err());
        assert!(of_bpftrace("{\"type\": \"printf\"}", 7).is_err());
    }

    #[test]
    fn perf_pairs_in_order() {
        let text = "     7  signal:signal_deliver: \n     7  signal:signal_generate: \n\
                    7 signal:signal_generate:\n     8  signal:signal_deliver: \n\
                    7 sched:sched_switch:\n     7  signal:signal_deliver: \n\
                    7 signal:signal_generate:\n";
        let told = of_perf(text, 7).expect("valid");
        assert_eq!((told.counts, told.lost), (EXPECTED, 0));
        assert!(of_perf("seven signal:signal_deliver:", 7).is_err());
        assert!(of_perf("7 other:event:", 7).is_err());
        assert!(of_perf("7", 7).is_err());
    }
}
