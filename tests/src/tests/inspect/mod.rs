//! `gohang inspect` and `gohang advise` against processes that were set up so.

mod computed;
mod facts;
mod hostile;
mod layouts;
mod moves;
mod program;
mod rules;
mod runc;

use std::path::PathBuf;

use anyhow::Result;

use crate::run::{Settings, Test};
use program::{HEEDS, NEWEST, Program};

/// The tests of this folder.
pub fn tests() -> Vec<Test> {
    [
        facts::tests(),
        computed::tests(),
        layouts::tests(),
        moves::tests(),
        rules::tests(),
        runc::tests(),
        hostile::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// Builds the programs that these tests run; their paths.
///
/// # Errors
/// When one cannot be built.
pub fn programs(settings: &Settings) -> Result<Vec<PathBuf>> {
    let facts = program::forms()
        .map(|(version, line)| Ok(Program::of(settings, version, line)?.path().to_owned()));
    facts.chain([rules::program(settings)]).collect()
}

/// The program of the newest version.
///
/// # Errors
/// Skips the test without that tool chain; fails when the build does.
pub(super) fn newest_program(settings: &Settings) -> Result<PathBuf> {
    Ok(Program::of(settings, NEWEST, HEEDS)?.path().to_owned())
}
