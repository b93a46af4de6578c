//! What a Go program prints of its goroutines: at SIGQUIT, at a panic, when the runtime gives
//! up.
//!
//! The forms are those of `runtime.goroutineheader`, `printcreatedby` and `traceback`
//! (`runtime/traceback.go`, `proc.go`) from Go 1.14 to 1.27.

mod focus;
mod frame;
mod group;
mod header;
mod parse;
#[cfg(test)]
mod tests;

pub use frame::{CreatedBy, Frame};
pub use group::{Group, group};
pub use header::Header;
pub use parse::{Dump, Goroutine, parse};
