//! `gohang run`, `inspect` and `doctor` where systemd runs the machine, with cgroup v2.

mod delegated;
mod left;
mod scope;
mod stated;

use crate::run::Test;

/// The tests of this folder.
pub fn tests() -> Vec<Test> {
    [
        scope::tests(),
        left::tests(),
        delegated::tests(),
        stated::tests(),
    ]
    .into_iter()
    .flatten()
    .collect()
}
