//! What is known of a Go program from outside: version, build settings, its functions,
//! and where its runtime keeps the goroutine id.
//!
//! Files are read in ranges and every size in them is distrusted, so that neither a
//! binary of several gigabytes nor a hostile one costs more than a bounded effort.

mod buildinfo;
mod discover;
pub mod dump;
mod dwarf;
#[cfg(test)]
mod dwarf_tests;
mod elf;
mod functions;
mod godebug;
mod gomaxprocs;
pub mod gotest;
mod image;
mod layout;
mod layout_table;
mod leaf;
mod libraries;
mod live;
mod memory;
mod modinfo;
mod moduledata;
mod number;
mod offsets;
mod pclntab;
mod places;
#[cfg(test)]
mod places_tests;
mod points;
mod relocations;
mod safepoint;
mod settings;
mod symbols;
#[cfg(test)]
mod symbols_tests;
mod symtab;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod synthetic_pclntab;
mod version;

pub use buildinfo::BuildInfo;
pub use discover::{FileKey, FoundGo, GoProgram, InspectError, Inspector, inspect_image};
pub use elf::{Arch, Elf, ElfError, Section, Segment};
pub use functions::{Caller, Probe, RuntimeFunctions, Yielder};
pub use godebug::{Origin, PreemptionOff, environment_variable, godebug, preemption_off};
pub use gomaxprocs::{Because, Gomaxprocs, QuotaUse};
pub use image::{FileImage, ReadAt};
pub use layout::{Field, Layout, LayoutSource, NoLayout};
pub use leaf::LeafQuota;
pub(crate) use leaf::READS_QUOTA;
pub use live::{LiveReader, LiveValues, NoLive};
pub use memory::{gc_percent, memory_limit};
pub use modinfo::ModInfo;
pub use offsets::{GoOffsets, NoOffsets, offsets};
pub use pclntab::NoTable;
pub use places::Place;
pub(crate) use places::Places;
pub use points::{NoPoints, Point, ProbePoints};
pub use safepoint::{SafePoint, SafePoints};
pub(crate) use settings::NOT_OURS;
pub use settings::{Setting, settings};
pub use symbols::{Function, NoSymbols, SourceLine, Symbols};
pub use version::{GoVersion, NotAVersion};
