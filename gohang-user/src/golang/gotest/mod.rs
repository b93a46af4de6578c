//! What `go test` prints: `-json`, `-v` and plain. Which tests run, since when, and what
//! each printed.
//!
//! The forms were read from Go 1.14 to 1.27 (`cmd/internal/test2json`, `testing`,
//! `cmd/go/internal/test`).

mod book;
mod line;
mod printed;
mod stream;

pub use book::{Book, Ended, Running, Tally};
pub use line::{Event, Result, parse};
pub use printed::Text;
pub use stream::{Form, TestStream};
