//! What Go programs told of themselves.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::golang::dump::{Dump, parse};

/// A text with goroutines in it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct DumpText {
    /// Where it comes from.
    pub origin: Origin,
    /// The process; null where the output does not tell (`go test` of several packages).
    pub pid: Option<u32>,
    /// The package under test, or empty.
    pub package: String,
    /// The text.
    pub text: String,
}

/// Why there is a dump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Origin {
    /// SIGQUIT was sent for it.
    #[default]
    Quit,
    /// The program served it (`/debug/pprof/goroutine?debug=2`).
    Pprof,
    /// It was in the output before (a panic, `-test.timeout`).
    Output,
}

impl DumpText {
    /// The goroutines.
    #[must_use]
    pub fn parse(&self) -> Dump {
        parse(&self.text)
    }
}

/// What a program served.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Fetched {
    /// The process.
    pub pid: u32,
    /// From where, as `http://127.0.0.1:6060/debug/pprof/goroutine?debug=2`.
    pub url: String,
    /// The HTTP status; null when there was no answer.
    pub status: Option<u16>,
    /// Bytes of the answer's body.
    pub bytes: u64,
    /// Why there is none.
    pub error: Option<String>,
    /// The body, of what is no text: a file of its own.
    #[serde(skip)]
    pub body: Vec<u8>,
}
