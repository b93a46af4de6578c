//! Lines of gohang's own on standard error, between those of the command.

use std::io::Write as _;

use crate::process::escape;

/// Writes one line; what comes from processes is made harmless. Nobody to read it is no
/// error.
pub(super) fn say(text: &str) {
    // In one piece, so that the command's own lines do not get in between.
    let line = format!("gohang: {}\n", escape(text));
    let _ = std::io::stderr().write_all(line.as_bytes());
}
