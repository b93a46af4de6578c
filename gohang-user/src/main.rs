//! The `gohang` command.
fn main() {}
