//! Lines of gohang's own on standard error, between those of the command.

use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use crate::process::escape;

/// What was said since it was last asked for, if anybody asks.
static SAID: Mutex<Option<Vec<Vec<u8>>>> = Mutex::new(None);

/// Writes one line; what comes from processes is made harmless. Nobody to read it is no
/// error.
pub(super) fn say(text: &str) {
    // In one piece, so that the command's own lines do not get in between.
    let line = format!("gohang: {}\n", escape(text)).into_bytes();
    let _ = std::io::stderr().write_all(&line);
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(said) = &mut *said {
        said.push(line);
    }
}

/// The lines that were said since the last call. The first call begins to keep them.
pub(super) fn take_said() -> Vec<Vec<u8>> {
    let mut said = SAID.lock().unwrap_or_else(PoisonError::into_inner);
    said.replace(Vec::new()).unwrap_or_default()
}
