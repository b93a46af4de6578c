//! `gohang inspect` and `gohang advise` against processes that were set up so.

mod facts;
mod hostile;
mod moves;
mod program;

use std::path::PathBuf;

use anyhow::Result;

use crate::run::{Settings, Test};
use program::Program;

/// The tests of this folder.
pub fn tests() -> Vec<Test> {
    [facts::tests(), moves::tests(), hostile::tests()]
        .into_iter()
        .flatten()
        .collect()
}

/// Builds the programs that these tests run; their paths.
///
/// # Errors
/// When one cannot be built.
pub fn programs(settings: &Settings) -> Result<Vec<PathBuf>> {
    let all = program::forms();
    all.map(|(version, line)| Ok(Program::of(settings, version, line)?.path().to_owned()))
        .collect()
}
