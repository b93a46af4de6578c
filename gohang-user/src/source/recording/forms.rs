//! JSON forms of what has none of its own.

use std::collections::{BTreeMap, HashMap};

use gohang_common::counter::Counter;
use gohang_common::hist;
use gohang_common::map::{Moments, OUTCOMES, Summary, series};
use gohang_common::runtime::Hits;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::event::ProcessId;
use crate::golang::Place;
use crate::probe::{Counters, OwnerSummary, Snapshot};
use crate::report::Open;

/// Path of a group.
#[derive(Debug, Serialize, Deserialize)]
pub struct GroupForm {
    /// Kernel id.
    pub id: u64,
    /// Path, none if it is gone.
    pub path: Option<String>,
}

/// What lies at an instruction of a process.
#[derive(Debug, Serialize, Deserialize)]
pub struct PlaceForm {
    /// The process.
    pub process: ProcessId,
    /// Address of the instruction.
    pub pc: u64,
    /// What is there, none if not known.
    pub place: Option<Place>,
}

/// Totals of ended processes and removed groups.
#[derive(Debug, Serialize, Deserialize)]
pub struct EndedForm(#[serde(with = "snapshot")] pub Snapshot);

/// One owner's totals. Moments are count, sum, min, max; a bucket is series,
/// slot, count.
#[derive(Serialize, Deserialize)]
struct OwnerForm {
    series: [[u64; 4]; series::COUNT],
    outcomes: [u64; OUTCOMES],
    coalesced: u64,
    parts_ns: [u64; gohang_common::cause::CAUSES],
    running_ns: u64,
    buckets: Vec<(u16, u16, u64)>,
}

impl From<&OwnerSummary> for OwnerForm {
    fn from(owner: &OwnerSummary) -> Self {
        let Summary {
            series,
            outcomes,
            coalesced,
            parts_ns,
            running_ns,
            scratch: _,
        } = owner.totals;
        Self {
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
}

impl TryFrom<OwnerForm> for OwnerSummary {
    type Error = String;

    fn try_from(form: OwnerForm) -> Result<Self, String> {
        let mut buckets = BTreeMap::new();
        for (of, slot, count) in form.buckets {
            if usize::from(of) >= series::COUNT || usize::from(slot) >= hist::SLOTS {
                return Err(format!("there is no slot {slot} of series {of}"));
            }
            buckets.insert((of, slot), count);
        }
        Ok(Self {
            totals: Summary {
                series: form.series.map(|[count, sum, min, max]| Moments {
                    count,
                    sum,
                    min,
                    max,
                }),
                outcomes: form.outcomes,
                coalesced: form.coalesced,
                parts_ns: form.parts_ns,
                running_ns: form.running_ns,
                scratch: 0,
            },
            buckets,
        })
    }
}

/// A snapshot as lists of its owners.
pub mod snapshot {
    use super::*;

    #[derive(Serialize, Deserialize)]
    struct Form {
        /// Process, group, totals.
        owners: Vec<(ProcessId, u64, OwnerForm)>,
        /// Group, group whose limit it was, totals.
        spans: Vec<(u64, u64, OwnerForm)>,
        /// Process, entries of functions of its Go runtime.
        #[serde(default)]
        hits: Vec<(ProcessId, Hits)>,
        /// Process, requests to yield that are not over.
        #[serde(default)]
        open: Vec<(ProcessId, Open)>,
    }

    pub fn serialize<S: Serializer>(snapshot: &Snapshot, to: S) -> Result<S::Ok, S::Error> {
        let owners = snapshot.owners.iter();
        Form {
            owners: owners
                .map(|((id, group), owner)| (*id, *group, owner.into()))
                .collect(),
            spans: snapshot
                .spans
                .iter()
                .map(|((group, limit), owner)| (*group, *limit, owner.into()))
                .collect(),
            hits: snapshot
                .hits
                .iter()
                .map(|(id, hits)| (*id, *hits))
                .collect(),
            open: snapshot
                .open
                .iter()
                .map(|(id, open)| (*id, *open))
                .collect(),
        }
        .serialize(to)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Snapshot, D::Error> {
        let form = Form::deserialize(from)?;
        let mut owners = HashMap::new();
        for (id, group, form) in form.owners {
            let owner = form.try_into().map_err(D::Error::custom)?;
            owners.insert((id, group), owner);
        }
        let mut spans = BTreeMap::new();
        for (group, limit, form) in form.spans {
            let owner = form.try_into().map_err(D::Error::custom)?;
            spans.insert((group, limit), owner);
        }
        Ok(Snapshot {
            owners,
            spans,
            hits: form.hits.into_iter().collect(),
            open: form.open.into_iter().collect(),
        })
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
