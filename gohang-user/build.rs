//! Guards the committed kernel object.
fn main() {}
