//! `gohang demo`.

use gohang::demo;

use super::args::DemoArgs;
use super::experiment::{Bar, failure, finish, tell_loss};
use super::{Exit, Failure};

/// Runs the demo and prints what it measured.
pub(super) fn run(options: DemoArgs) -> Result<Exit, Failure> {
    let mut bar = Bar::new("demo");
    let outcome = demo::run(&mut bar);
    bar.clear();
    let demo = outcome.map_err(failure)?;
    tell_loss(&demo.loss, &demo.impossible);
    finish(options.output, &demo, demo::text, &demo.imbalances())
}
