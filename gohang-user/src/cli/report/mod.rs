//! What commands that print a report share: its arguments, the path from a
//! source's items to it, and the output.

pub mod args;
mod display;
mod flow;
mod output;
mod writer;

pub(super) use display::Display;
pub(super) use flow::Flow;
pub(super) use writer::Writer;
