//! JSON forms of what has none of its own.

use std::collections::{BTreeMap, HashMap};

use gohang_common::counter::Counter;
use gohang_common::hist;
use gohang_common::map::{Moments, OUTCOMES, Summary, series};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::ProcessId;
use crate::probe::{Counters, OwnerSummary, Snapshot};

/// Path of a group.
#[derive(Debug, Serialize, Deserialize)]
pub struct GroupForm {
    /// Kernel id.
    pub id: u64,
    /// Path, none if it is gone.
    pub path: Option<String>,
}

/// Totals of ended processes.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndedForm(#[serde(with = "snapshot")] pub Snapshot);

/// One owner. Moments are count, sum, min, max; a bucket is series, slot,
/// count.
#[derive(Serialize, Deserialize)]
struct Owner {
    process: ProcessId,
    cgroup_id: u64,
    series: [[u64; 4]; series::COUNT],
    outcomes: [u64; OUTCOMES],
    coalesced: u64,
    parts_ns: [u64; gohang_common::cause::CAUSES],
    running_ns: u64,
    buckets: Vec<(u16, u16, u64)>,
}

impl Owner {
    fn new((process, cgroup_id): (ProcessId, u64), owner: &OwnerSummary) -> Self {
        let Summary {
            series,
            outcomes,
            coalesced,
            parts_ns,
            running_ns,
            scratch: _,
        } = owner.totals;
        Self {
            process,
            cgroup_id,
            series: series.map(|moments| {
                let Moments {
                    count,
                    sum,
                    min,
                    max,
                } = moments;
                [count, sum, min, max]
            }),
            outcomes,
            coalesced,
            parts_ns,
            running_ns,
            buckets: owner
                .buckets
                .iter()
                .map(|((series, slot), count)| (*series, *slot, *count))
                .collect(),
        }
    }

    fn summary(&self) -> Result<OwnerSummary, String> {
        let mut buckets = BTreeMap::new();
        for (of, slot, count) in &self.buckets {
            if usize::from(*of) >= series::COUNT || usize::from(*slot) >= hist::SLOTS {
                return Err(format!("there is no slot {slot} of series {of}"));
            }
            buckets.insert((*of, *slot), *count);
        }
        Ok(OwnerSummary {
            totals: Summary {
                series: self.series.map(|[count, sum, min, max]| Moments {
                    count,
                    sum,
                    min,
                    max,
                }),
                outcomes: self.outcomes,
                coalesced: self.coalesced,
                parts_ns: self.parts_ns,
                running_ns: self.running_ns,
                scratch: 0,
            },
            buckets,
        })
    }
}

/// A snapshot as the list of its owners.
pub mod snapshot {
    use super::*;

    pub fn serialize<S: Serializer>(snapshot: &Snapshot, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(
            snapshot
                .owners
                .iter()
                .map(|(key, owner)| Owner::new(*key, owner)),
        )
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Snapshot, D::Error> {
        let owners = Vec::<Owner>::deserialize(from)?
            .iter()
            .map(|owner| {
                let summary = owner.summary().map_err(D::Error::custom)?;
                Ok(((owner.process, owner.cgroup_id), summary))
            })
            .collect::<Result<HashMap<_, _>, D::Error>>()?;
        Ok(Snapshot { owners })
    }
}

/// Counters by their names.
pub mod counters {
    use super::*;

    pub fn serialize<S: Serializer>(counters: &Counters, to: S) -> Result<S::Ok, S::Error> {
        to.collect_map(
            Counter::ALL
                .iter()
                .map(|counter| (counter.name(), counters.get(*counter))),
        )
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Counters, D::Error> {
        BTreeMap::<String, u64>::deserialize(from)?
            .into_iter()
            .map(|(name, value)| {
                let counter = Counter::ALL.iter().find(|counter| counter.name() == name);
                counter
                    .map(|counter| (*counter, value))
                    .ok_or_else(|| D::Error::custom(format!("there is no counter {name}")))
            })
            .collect()
    }
}
