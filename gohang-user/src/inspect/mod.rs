//! What is set for a process, and what follows from it: Go, signals, control groups.

mod collect;
mod containers;
mod go;
mod groups;
mod migrate;
pub mod model;
mod model_go;
mod model_group;
mod name;
mod round;
mod sample;
mod slots;
mod status;
mod units;

pub use collect::{Collector, NotShown};
pub use containers::Containers;
pub(crate) use go::HAS_MEMORY_LIMIT;
pub use groups::GroupReader;
#[cfg(test)]
pub(crate) use groups::{effective, lowest};
pub use migrate::{MoveError, has_moved, migrate, watch as watch_move};
pub use model::Inspection;
pub use name::Name;
pub use round::look;
pub(crate) use slots::Slots;
