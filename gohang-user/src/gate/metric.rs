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
    /// A link of the chain.
    Chain(&'static str),
    /// Of stops of the world: until all had stopped, or until they ran again.
    Stop(&'static str),
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

const LINKS: [Part; 6] = [
    Part::Chain("late"),
    Part::Chain("request_sent"),
    Part::Chain("sent_delivered"),
    Part::Chain("delivered_yielded"),
    Part::Chain("yielded_running"),
    Part::Chain("request_yielded"),
];
const STOPS: [Part; 2] = [Part::Stop("stopping"), Part::Stop("total")];

/// Every metric.
#[must_use]
pub fn metrics() -> Vec<Metric> {
    let parts = [Part::Delivery, Part::Stall, Part::RunQueue]
        .into_iter()
        .chain(CAUSES)
        .chain(LINKS)
        .chain(STOPS);
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
    let names = |parts: &[Part]| {
        let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
        names.join(",")
    };
    [
        part("delivery", &DELIVERY),
        part("stall", &WAITS),
        part("runqueue", &WAITS),
        part(&format!("causes.{{{}}}", names(&CAUSES)), &CAUSE),
        part(&format!("chain.{{{}}}", names(&LINKS)), &DELIVERY),
        part(&format!("stop.{{{}}}", names(&STOPS)), &DELIVERY),
    ]
    .join(", ")
}

impl Part {
    fn fields(self) -> &'static [&'static str] {
        match self {
            Self::Delivery | Self::Chain(_) | Self::Stop(_) => &DELIVERY,
            Self::Stall | Self::RunQueue => &WAITS,
            Self::Cause(_) => &CAUSE,
        }
    }

    /// Its own name, without that of what it belongs to.
    fn name(self) -> &'static str {
        match self {
            Self::Delivery => "delivery",
            Self::Stall => "stall",
            Self::RunQueue => "runqueue",
            Self::Cause(name) | Self::Chain(name) | Self::Stop(name) => name,
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
        let name = self.part.name();
        match self.part {
            Part::Delivery | Part::Stall | Part::RunQueue => format!("{name}.{field}"),
            Part::Cause(_) => format!("causes.{name}.{field}"),
            Part::Chain(_) => format!("chain.{name}.{field}"),
            Part::Stop(_) => format!("stop.{name}.{field}"),
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
            Part::Chain(name) => {
                let links = process.chain.as_ref()?.links.named();
                let link = links.iter().find(|(link, _)| *link == name)?.1;
                delivery(link, self.field)
            }
            Part::Stop(name) => {
                let stops = &process.chain.as_ref()?.stops;
                let of = match name {
                    "stopping" => &stops.stopping,
                    _ => &stops.total,
                };
                delivery(of, self.field)
            }
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
