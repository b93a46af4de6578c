//! Room of its own; see the crate documentation.
