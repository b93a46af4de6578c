//! Makes the recordings and the figures.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail, ensure};
use sha2::{Digest as _, Sha256};

use super::figures::{self, Figures, File, Made, Sum};
use super::rounds::{self, MANY, OTHERS};
use super::rows::{StopsRow, StormRow};
use super::{FIGURES, GOHANG, REFERENCE, table};
use crate::group::Hierarchy;
use crate::run::Settings;

/// So many episodes are recorded at least.
const EPISODES: u64 = 1_000_000;

/// More rounds of the many than this are not made: then the machine is too slow.
const MANY_ROUNDS: u32 = 30;

/// `agreement FOLDER GOHANG GO_ROOT [QUICK]`: records all rounds, storms and stops, and writes
/// the three files into the folder. With the word `quick` at the end: one round of the many, and no
/// storms or stops.
///
/// # Errors
/// Bad words, something cannot be started or recorded, or a file cannot be written.
pub fn make(words: &[String]) -> Result<()> {
    let (folder, gohang, go_root, quick) = match words {
        [folder, gohang, go_root] => (folder, gohang, go_root, false),
        [folder, gohang, go_root, quick] if quick == "quick" => (folder, gohang, go_root, true),
        _ => bail!("agreement wants a folder, a gohang, a folder of Go tool chains"),
    };
    let settings = Settings {
        gohang: Some(std::path::absolute(gohang)?),
        go_root: Some(std::path::absolute(go_root)?),
        ..Settings::default()
    };
    if let Ok(hierarchy) = Hierarchy::find() {
        hierarchy.sweep();
    }
    let (mut seen, mut said) = (Vec::new(), Vec::new());
    let mut episodes = 0;
    let mut add = |plan: &rounds::Plan, name: &str| -> Result<u64> {
        let (events, lines) = rounds::record(&settings, plan, name)?;
        let (_, sum) =
            figures::compute(std::slice::from_ref(&events), std::slice::from_ref(&lines))?;
        eprintln!("{name}: {}", summary(&sum));
        seen.push(events);
        said.push(lines);
        Ok(sum.episodes)
    };
    for plan in &OTHERS {
        episodes += add(plan, plan.name)?;
    }
    let mut plan = MANY;
    for number in 1..=if quick { 1 } else { MANY_ROUNDS } {
        if episodes < EPISODES {
            let new = add(&plan, &format!("{} {number}", plan.name))?;
            episodes += new;
            plan.last_ms(EPISODES.saturating_sub(episodes), new);
        }
    }
    ensure!(
        quick || episodes >= EPISODES,
        "only {episodes} episodes in {MANY_ROUNDS} rounds"
    );
    let (rounds, total) = figures::compute(&seen, &said)?;
    let tables = seen.iter().map(super::events::Seen::table);
    let reference = table::write(&tables.collect::<Result<Vec<_>>>()?)?;
    let tables = said.iter().map(super::lines::Said::table);
    let gohang = table::write(&tables.collect::<Result<Vec<_>>>()?)?;
    let folder = PathBuf::from(folder);
    std::fs::create_dir_all(&folder)
        .with_context(|| format!("could not make {}", folder.display()))?;
    let mut files = BTreeMap::new();
    for (name, bytes) in [(REFERENCE, &reference), (GOHANG, &gohang)] {
        write(&folder, name, bytes)?;
        files.insert(name.to_owned(), file(bytes));
    }
    let (storms, stops) = if quick {
        (Vec::new(), Vec::new())
    } else {
        (
            StormRow::make_all(&settings)?,
            vec![StopsRow::make(&settings)?],
        )
    };
    let figures = Figures {
        made: made(settings.gohang()?)?,
        files,
        rounds,
        total,
        storms,
        stops,
    };
    let mut text = serde_json::to_string_pretty(&figures)?;
    text.push('\n');
    write(&folder, FIGURES, text.as_bytes())
}

/// Identity of a file.
pub fn file(bytes: &[u8]) -> File {
    let digest = Sha256::digest(bytes);
    File {
        bytes: bytes.len() as u64,
        sha256: digest.iter().map(|byte| format!("{byte:02x}")).collect(),
    }
}

/// The figures in a line.
pub fn summary(sum: &Sum) -> String {
    format!(
        "{} episodes, {} equal, {} differing, {} missing, {} extra; difference p50 {} ns, p99 {} \
         ns, max {} ns",
        sum.episodes,
        sum.equal,
        sum.differing,
        sum.missing,
        sum.extra,
        sum.difference.p50_ns,
        sum.difference.p99_ns,
        sum.difference.max_ns
    )
}

fn made(gohang: &Path) -> Result<Made> {
    let version = Command::new(gohang).arg("--version").output();
    let version = version.context("could not run gohang --version")?.stdout;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    Ok(Made {
        gohang: String::from_utf8_lossy(&version).trim().to_owned(),
        // A name of the machine may follow.
        kernel: kernel.trim().split('-').next().unwrap_or("").to_owned(),
        cpus: std::thread::available_parallelism()?.get(),
        at_unix_s: now.as_secs(),
    })
}

fn write(folder: &Path, name: &str, bytes: &[u8]) -> Result<()> {
    let path = folder.join(name);
    std::fs::write(&path, bytes).with_context(|| format!("could not write {}", path.display()))
}
