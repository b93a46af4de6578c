//! Two bundles side by side: whether it is the same hang, and what differs.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::open::{Opened, open};
use crate::bundle::Bundle;
use crate::golang::dump::parse;
use crate::process::escape;
use crate::run::explain::{Verdict, time};

/// Raised when a field changes its meaning or goes away.
pub const DIFF_VERSION: u32 = 1;

/// What differs: `gohang diff -o json`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Difference {
    /// Version of this document's form.
    pub schema_version: u32,
    /// Both have the same fingerprint; null where one has none.
    pub same_hang: Option<bool>,
    /// The first.
    pub a: Side,
    /// The second.
    pub b: Side,
    /// What is not the same in both.
    pub fields: Vec<Field>,
    /// Where goroutines are and how many, where their number differs.
    pub goroutines: Vec<Places>,
}

/// A bundle.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Side {
    /// Its file.
    pub path: String,
    /// Nothing of it is missing or changed.
    pub whole: bool,
    /// Its fingerprint.
    pub fingerprint: Option<String>,
}

/// Something that differs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Field {
    /// What.
    pub name: String,
    /// In the first; null where it is not there.
    pub a: Option<String>,
    /// In the second.
    pub b: Option<String>,
}

/// A place in the program.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Places {
    /// What goroutines do there, and where.
    pub place: String,
    /// How many in the first.
    pub a: u64,
    /// How many in the second.
    pub b: u64,
}

/// Compares two bundles.
#[must_use]
pub fn diff(a: &Bundle, b: &Bundle) -> Difference {
    let (opened_a, opened_b) = (open(a), open(b));
    let side = |bundle: &Bundle, opened: &Opened| Side {
        path: bundle.path.display().to_string(),
        whole: opened.whole,
        fingerprint: opened
            .verdict
            .as_ref()
            .map(|verdict| verdict.fingerprint.clone()),
    };
    let (side_a, side_b) = (side(a, &opened_a), side(b, &opened_b));
    let same_hang = side_a.fingerprint.as_ref().zip(side_b.fingerprint.as_ref());
    let fields = fields(&opened_a).into_iter().zip(fields(&opened_b));
    let fields = fields.filter(|((_, a), (_, b))| a != b);
    let fields = fields.map(|((name, a), (_, b))| Field {
        name: name.to_owned(),
        a,
        b,
    });
    let (places_a, places_b) = (places(a), places(b));
    let mut all: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (place, count) in &places_a {
        all.entry(place).or_default().0 = *count;
    }
    for (place, count) in &places_b {
        all.entry(place).or_default().1 = *count;
    }
    let mut goroutines: Vec<Places> = all
        .into_iter()
        .filter(|(_, (a, b))| a != b)
        .map(|(place, (a, b))| Places {
            place: place.to_owned(),
            a,
            b,
        })
        .collect();
    goroutines.sort_by_key(|places| std::cmp::Reverse(places.a.abs_diff(places.b)));
    Difference {
        schema_version: DIFF_VERSION,
        same_hang: same_hang.map(|(a, b)| a == b),
        fields: fields.collect(),
        goroutines,
        a: side_a,
        b: side_b,
    }
}

/// What is compared, in the same order of every bundle.
fn fields(opened: &Opened) -> Vec<(&'static str, Option<String>)> {
    let verdict = opened.verdict.as_ref();
    let of = |get: &dyn Fn(&Verdict) -> String| verdict.map(get);
    vec![
        ("command", of(&|v| v.command.join(" "))),
        ("cause", of(&|v| v.cause.name().to_owned())),
        ("kind", verdict.and_then(|v| v.kind.clone())),
        ("confidence", of(&|v| v.confidence.name().to_owned())),
        ("summary", of(&|v| v.summary.clone())),
        (
            "running",
            of(&|v| {
                let names: Vec<&str> = v.running.iter().map(|test| test.test.as_str()).collect();
                names.join(", ")
            }),
        ),
        ("lift", of(&|v| format!("{:?}", v.lift))),
        ("elapsed", of(&|v| time(v.elapsed_ns))),
        ("idle", of(&|v| time(v.idle_ns))),
        ("gohang", opened.gohang_version.clone()),
        ("kernel", opened.kernel.clone()),
        ("go", Some(opened.go.join(", ")).filter(|go| !go.is_empty())),
    ]
}

/// The goroutines by what they do and where.
fn places(bundle: &Bundle) -> BTreeMap<String, u64> {
    let mut places = BTreeMap::new();
    for (name, text) in &bundle.members {
        if !name.starts_with("dumps/") {
            continue;
        }
        let dump = parse(&String::from_utf8_lossy(text));
        for goroutine in dump
            .goroutines
            .iter()
            .filter(|goroutine| !goroutine.is_of_runtime())
        {
            let place = goroutine
                .place()
                .map_or("", |frame| frame.function.as_str());
            let place = format!("{} at {place}", goroutine.header.status);
            *places.entry(place).or_insert(0) += 1;
        }
    }
    places
}

/// The difference for people.
#[must_use]
pub fn diff_text(difference: &Difference) -> String {
    let mut text = String::new();
    let fingerprint = |side: &Side| side.fingerprint.clone().unwrap_or_else(|| "-".to_owned());
    let _ = match difference.same_hang {
        Some(true) => writeln!(text, "the same hang ({})", fingerprint(&difference.a)),
        Some(false) => writeln!(
            text,
            "not the same hang ({}, {})",
            fingerprint(&difference.a),
            fingerprint(&difference.b)
        ),
        None => writeln!(
            text,
            "whether it is the same hang cannot be told: a verdict is missing"
        ),
    };
    for (name, side) in [("a", &difference.a), ("b", &difference.b)] {
        let whole = if side.whole { "" } else { " (not whole)" };
        let _ = writeln!(text, "{name}: {}{whole}", escape(&side.path));
    }
    for field in &difference.fields {
        let value = |value: &Option<String>| value.as_ref().map_or_else(|| "-".to_owned(), escape);
        let _ = writeln!(
            text,
            "\n{}\n  a: {}\n  b: {}",
            field.name,
            value(&field.a),
            value(&field.b)
        );
    }
    if !difference.goroutines.is_empty() {
        let _ = writeln!(text, "\ngoroutines (a, b)");
    }
    for places in &difference.goroutines {
        let _ = writeln!(
            text,
            "  {:>6} {:>6}  {}",
            places.a,
            places.b,
            escape(&places.place)
        );
    }
    text
}
