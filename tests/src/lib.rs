//! Shared parts of the privileged tests: reference recorder, targets, quota groups, comparison.
