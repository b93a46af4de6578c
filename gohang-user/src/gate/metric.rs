//! Figures of a process that gates compare, under the names of the report.

use crate::report::{CauseShare, Distribution, Process, Waits};

/// A value, which compares with its own kind only.
#[derive(Clone, Copy, Debug, PartialEq, PartialOrd)]
pub enum Figure {
    /// A duration.
    Ns(u64),
    /// A number of things.
    Count(u64),
    /// A share, 0 to 1.
    Share(f64),
}

/// What a metric's values are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// [`Figure::Ns`].
    Time,
    /// [`Figure::Count`].
    Count,
    /// [`Figure::Share`].
    Share,
}

/// A figure by its name, as `delivery.p99` or `causes.throttled.share`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Metric {
    part: Part,
    field: &'static str,
}

/// Where it stands in the process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Part {
    Delivery,
    Stall,
    RunQueue,
    Cause(&'static str),
}

const DELIVERY: [&str; 8] = ["count", "min", "mean", "p50", "p90", "p99", "p999", "max"];
const WAITS: [&str; 5] = ["count", "total", "p99", "max", "share"];
const CAUSE: [&str; 4] = ["count", "total", "max", "share"];
const CAUSES: [Part; 5] = [
    Part::Cause("throttled"),
    Part::Cause("masked"),
    Part::Cause("blocked"),
    Part::Cause("runqueue"),
    Part::Cause("running"),
];

/// Every metric.
#[must_use]
pub fn metrics() -> Vec<Metric> {
    let parts = [Part::Delivery, Part::Stall, Part::RunQueue]
        .into_iter()
        .chain(CAUSES);
    parts
        .flat_map(|part| {
            part.fields()
                .iter()
                .map(move |field| Metric { part, field })
        })
        .collect()
}

/// Every metric's name, for people: the fields of one part together.
pub(super) fn allowed() -> String {
    let part = |name: &str, fields: &[&str]| format!("{name}.{{{}}}", fields.join(","));
    let causes: Vec<&str> = CAUSES
        .iter()
        .map(|cause| match cause {
            Part::Cause(name) => *name,
            Part::Delivery | Part::Stall | Part::RunQueue => "",
        })
        .collect();
    [
        part("delivery", &DELIVERY),
        part("stall", &WAITS),
        part("runqueue", &WAITS),
        part(&format!("causes.{{{}}}", causes.join(",")), &CAUSE),
    ]
    .join(", ")
}

impl Part {
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Delivery => &DELIVERY,
            Self::Stall | Self::RunQueue => &WAITS,
            Self::Cause(_) => &CAUSE,
        }
    }
}

impl Metric {
    /// The metric of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        metrics().into_iter().find(|metric| metric.name() == name)
    }

    /// Its name.
    #[must_use]
    pub fn name(&self) -> String {
        let field = self.field;
        match self.part {
            Part::Delivery => format!("delivery.{field}"),
            Part::Stall => format!("stall.{field}"),
            Part::RunQueue => format!("runqueue.{field}"),
            Part::Cause(cause) => format!("causes.{cause}.{field}"),
        }
    }

    /// What its values are.
    #[must_use]
    pub fn kind(&self) -> Kind {
        match self.field {
            "count" => Kind::Count,
            "share" => Kind::Share,
            _ => Kind::Time,
        }
    }

    /// Its value of a process; none where there is nothing to take it from, as a
    /// percentile of no deliveries.
    #[must_use]
    pub fn of(&self, process: &Process) -> Option<Figure> {
        match self.part {
            Part::Delivery => delivery(&process.delivery, self.field),
            Part::Stall => waits(&process.stall, process.stall_share(), self.field),
            Part::RunQueue => waits(&process.runqueue, process.runqueue_share(), self.field),
            Part::Cause(name) => cause(process, name, self.field),
        }
    }
}

fn delivery(delivery: &Distribution, field: &str) -> Option<Figure> {
    if field == "count" {
        return Some(Figure::Count(delivery.count));
    }
    let ns = match field {
        "min" => delivery.min_ns,
        "mean" => delivery.mean_ns,
        "p50" => delivery.p50_ns,
        "p90" => delivery.p90_ns,
        "p99" => delivery.p99_ns,
        "p999" => delivery.p999_ns,
        "max" => delivery.max_ns,
        _ => None,
    };
    ns.map(Figure::Ns)
}

fn waits(waits: &Waits, share: Option<f64>, field: &str) -> Option<Figure> {
    match field {
        "count" => Some(Figure::Count(waits.count)),
        "total" => Some(Figure::Ns(waits.total_ns)),
        "p99" => waits.p99_ns.map(Figure::Ns),
        "max" => waits.max_ns.map(Figure::Ns),
        "share" => share.map(Figure::Share),
        _ => None,
    }
}

/// Of one cause; its share is that of all the time that deliveries took.
fn cause(process: &Process, name: &str, field: &str) -> Option<Figure> {
    let cause: CauseShare = process.causes.get(name).copied().unwrap_or_default();
    match field {
        "count" => Some(Figure::Count(cause.count)),
        "total" => Some(Figure::Ns(cause.total_ns)),
        "max" => cause.max_ns.map(Figure::Ns),
        "share" => {
            let all: u64 = process.causes.values().map(|cause| cause.total_ns).sum();
            (all > 0).then(|| Figure::Share(cause.total_ns as f64 / all as f64))
        }
        _ => None,
    }
}
