//! Writing one document to stdout.

use std::io::{ErrorKind, Write as _};

use anyhow::Context as _;

use super::Failure;

/// Writes `text` whole. A reader that has gone away is no error.
pub(super) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error)
            .context("cannot write to stdout")
            .map_err(Failure::from),
        _ => Ok(()),
    }
}
