//! Computes the figures again from the recordings.

use std::path::Path;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Serialize;
use serde_json::Value;

use super::events::Seen;
use super::figures::{self, Figures};
use super::lines::Said;
use super::make::{file, summary};
use super::{FIGURES, GOHANG, REFERENCE, table};

/// What to do about a file that is not as it was made.
const ADVICE: &str = "restore the file, or record all anew with `cargo xtask bench agreement`";

/// Reads both recordings, compares every episode, and holds what it finds against the figures.
/// Prints a line a round, at the end the sum.
///
/// # Errors
/// A file is missing, cut short or changed, or a figure is not what the recordings give.
pub fn verify(folder: &Path) -> Result<()> {
    let text = read(folder, FIGURES)?;
    let stated: Figures = serde_json::from_slice(&text)
        .with_context(|| format!("{FIGURES} has no figures: {ADVICE}"))?;
    let seen = tables(folder, &stated, REFERENCE)?
        .iter()
        .map(Seen::from_table)
        .collect::<Result<Vec<_>>>()
        .context(REFERENCE)?;
    let said = tables(folder, &stated, GOHANG)?
        .iter()
        .map(Said::from_table)
        .collect::<Result<Vec<_>>>()
        .context(GOHANG)?;
    let (rounds, total) = figures::compute(&seen, &said)?;
    for round in &rounds {
        println!("{}: {}", round.name, summary(&round.sum));
        let [own, reference] = round.handled;
        ensure!(
            own == reference,
            "round {:?}: the processes' handlers counted {own} signals, the reference {reference}",
            round.name
        );
    }
    same("rounds", &stated.rounds, &rounds)?;
    same("total", &stated.total, &total)?;
    for storm in &stated.storms {
        storm.check()?;
    }
    for stops in &stated.stops {
        same("stops", &stops.figures, &stops.compute()?)?;
    }
    println!("total: {}", summary(&total));
    Ok(())
}

fn read(folder: &Path, name: &str) -> Result<Vec<u8>> {
    let path = folder.join(name);
    std::fs::read(&path).with_context(|| format!("could not read {}: {ADVICE}", path.display()))
}

fn tables(folder: &Path, stated: &Figures, name: &str) -> Result<Vec<table::Table>> {
    let bytes = read(folder, name)?;
    let file = file(&bytes);
    let expected = stated.files.get(name);
    let expected = expected.with_context(|| format!("{FIGURES} does not name {name}: {ADVICE}"))?;
    ensure!(
        file == *expected,
        "{name} is not the recording that {FIGURES} was made from ({} bytes, SHA-256 {}; expected \
         {} bytes, {}): {ADVICE}",
        file.bytes,
        file.sha256,
        expected.bytes,
        expected.sha256
    );
    table::read(&bytes).with_context(|| format!("{name} cannot be read: {ADVICE}"))
}

/// Compares figure by figure and names the first that is another.
fn same<T: Serialize>(what: &str, stated: &T, computed: &T) -> Result<()> {
    let (stated, computed) = (
        serde_json::to_value(stated)?,
        serde_json::to_value(computed)?,
    );
    match difference(what, &stated, &computed) {
        Some((place, stated, computed)) => {
            bail!("{FIGURES} states {stated} for {place}, the recordings give {computed}: {ADVICE}")
        }
        None => Ok(()),
    }
}

fn difference(place: &str, a: &Value, b: &Value) -> Option<(String, Value, Value)> {
    match (a, b) {
        (Value::Object(x), Value::Object(y)) if x.keys().eq(y.keys()) => x
            .iter()
            .zip(y.values())
            .find_map(|((key, x), y)| difference(&format!("{place}.{key}"), x, y)),
        (Value::Array(x), Value::Array(y)) if x.len() == y.len() => x
            .iter()
            .zip(y)
            .enumerate()
            .find_map(|(at, (x, y))| difference(&format!("{place}[{at}]"), x, y)),
        _ if a == b => None,
        _ => Some((place.to_owned(), a.clone(), b.clone())),
    }
}
