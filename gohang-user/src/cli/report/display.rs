//! How a report is printed, validated.

use std::fs::OpenOptions;
use std::io::Write;
use std::path::PathBuf;

use anyhow::Context as _;
use gohang::alert::Thresholds;
use gohang::gate::Gate;

use super::super::Failure;
use super::args::{By, DisplayArgs, Output};

/// How a report is made and printed.
#[derive(Debug)]
pub struct Display {
    pub form: Output,
    pub events: bool,
    pub by: By,
    pub thresholds: Thresholds,
    /// What fails the run.
    pub gates: Vec<Gate>,
    out: Option<PathBuf>,
}

impl Display {
    /// Checks what clap cannot.
    pub fn new(args: DisplayArgs) -> Result<Self, Failure> {
        if args.output == Output::Json && args.events {
            return Err(Failure::usage(anyhow::anyhow!(
                "-o json prints one document at the end and cannot go with --events; use -o jsonl"
            )));
        }
        Ok(Self {
            form: args.output,
            events: args.events,
            by: args.by,
            thresholds: Thresholds {
                slow: args.threshold,
                pending: args.pending_limit,
                storm_rate: args.storm_rate,
                no_yield: args.no_yield_limit,
                stop: args.stop_limit,
                late: args.late_limit,
            },
            gates: args.fail_on,
            out: args.out,
        })
    }

    /// Whether the report goes to stdout.
    pub fn to_stdout(&self) -> bool {
        self.out.is_none()
    }

    /// Opens what the report goes to.
    pub fn open_output(&self) -> Result<Box<dyn Write + Send>, Failure> {
        let Some(path) = &self.out else {
            return Ok(Box::new(std::io::stdout()));
        };
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .open(path)
            .with_context(|| format!("cannot write {}", path.display()))
            .map_err(Failure::usage)?;
        Ok(Box::new(file))
    }
}
