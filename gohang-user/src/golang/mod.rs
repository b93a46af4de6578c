//! What is known of a Go program from outside: version, build settings, and where
//! its runtime keeps the goroutine id.
//!
//! Files are read in ranges and every size in them is distrusted, so that neither a
//! binary of several gigabytes nor a hostile one costs more than a bounded effort.

mod buildinfo;
mod discover;
pub mod dump;
mod elf;
pub mod gotest;
mod image;
mod libraries;
mod modinfo;
mod offsets;
#[cfg(test)]
mod synthetic;
mod version;

pub use buildinfo::BuildInfo;
pub use discover::{FoundGo, GoProgram, InspectError, Inspector, inspect_image};
pub use elf::{Arch, Elf, ElfError, Section, Segment};
pub use image::{FileImage, ReadAt};
pub use modinfo::ModInfo;
pub use offsets::{GoOffsets, NoOffsets, offsets};
pub use version::{GoVersion, NotAVersion};
