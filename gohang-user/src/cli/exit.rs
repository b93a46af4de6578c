//! Exit codes and how failures are told.

use std::io::Write as _;

use gohang::run::PatientStderr;

/// Exit codes of every command but `run`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// Fine.
    Ok = 0,
    /// A check or gate failed, or the output could not be written.
    Failed = 1,
    /// Wrong usage.
    Usage = 2,
    /// This kernel or these privileges cannot do it.
    Unable = 3,
}

/// A failure and the exit code that goes with it.
#[derive(Debug)]
pub struct Failure {
    /// Exit code.
    pub exit: Exit,
    /// What was tried, why it failed, what to do.
    pub error: anyhow::Error,
}

impl Failure {
    /// Wrong usage.
    pub fn usage(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Usage,
            error: error.into(),
        }
    }

    /// This kernel or these privileges cannot do it.
    pub fn unable(error: impl Into<anyhow::Error>) -> Self {
        Self {
            exit: Exit::Unable,
            error: error.into(),
        }
    }
}

impl<E: Into<anyhow::Error>> From<E> for Failure {
    fn from(error: E) -> Self {
        Self {
            exit: Exit::Failed,
            error: error.into(),
        }
    }
}

/// Prints clap's message and gives its exit code: 0 for help, 2 for usage.
pub(super) fn usage(error: &clap::Error) -> i32 {
    // A closed pipe is no error.
    let _ = error.print();
    if error.use_stderr() {
        Exit::Usage as i32
    } else {
        Exit::Ok as i32
    }
}

/// Prints a failure and gives its exit code.
pub(super) fn code(outcome: Result<Exit, Failure>) -> i32 {
    match outcome {
        Ok(exit) => exit as i32,
        Err(failure) => {
            tell(&failure);
            failure.exit as i32
        }
    }
}

/// Prints a failure.
pub(super) fn tell(failure: &Failure) {
    let mut text = String::new();
    for (depth, cause) in failure.error.chain().enumerate() {
        let cause = cause.to_string();
        // An error that repeats its source says it once.
        if depth == 0 {
            text = cause;
        } else if !text.contains(&cause) {
            text.push_str(": ");
            text.push_str(&cause);
        }
    }
    let text: Vec<String> = text.lines().map(crate::escape_line).collect();
    let _ = writeln!(std::io::stderr(), "gohang: error: {}", text.join("\n"));
}

/// Module of the kernel programs, whose rare diagnostics show with `-v`.
const KERNEL_SIDE: &str = "gohang_ebpf";

/// Diagnostics go to stderr: warnings always, more with `-v`.
pub(super) fn init_log(verbose: u8) {
    let level = match verbose {
        0 => log::LevelFilter::Warn,
        1 => log::LevelFilter::Info,
        _ => log::LevelFilter::Debug,
    };
    let kernel_side = if verbose == 0 {
        log::LevelFilter::Off
    } else {
        level
    };
    env_logger::Builder::new()
        .filter_level(level)
        .filter_module(KERNEL_SIDE, kernel_side)
        // Nobody who does not read them is to keep gohang from its work.
        .target(env_logger::Target::Pipe(Box::new(PatientStderr)))
        .format(|buf, record| {
            let text = crate::escape_line(&record.args().to_string());
            writeln!(
                buf,
                "gohang: {}: {text}",
                record.level().as_str().to_lowercase()
            )
        })
        .init();
}
