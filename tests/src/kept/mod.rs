//! Recordings that are kept: what gohang and the independent reference say of the same runs,
//! packed small enough for the repository, and the figures that anybody can compute from them
//! again.
//!
//! Three files lie in one folder: `reference.bin` has the raw events of the reference, not yet
//! paired; `gohang.bin` the lines that gohang printed; `figures.json` what follows from both,
//! with the digests of the two. [`verify()`] trusts none of the figures: it pairs the events,
//! compares every episode and holds what it finds against the file.

mod column;
mod events;
mod figures;
mod lines;
mod make;
mod rounds;
mod rows;
mod table;
mod verify;
#[cfg(test)]
mod verify_tests;

pub use make::make;
pub use verify::verify;

/// The reference's events.
const REFERENCE: &str = "reference.bin";
/// gohang's lines.
const GOHANG: &str = "gohang.bin";
/// The figures.
const FIGURES: &str = "figures.json";
