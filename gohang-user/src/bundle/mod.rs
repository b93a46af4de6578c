//! A bundle: everything that is known of a hang in one file, `gohang-NAME-TIME.tar.zst`.
//!
//! It is a tar archive in zstd, which `tar --zstd` unpacks too. Every member is a zstd frame of
//! its own, so that of a bundle that was cut off all members before the cut can be read. The
//! verdict comes first, then the manifest, which lists every member with its checksum.

mod error;
mod manifest;
mod name;
mod read;
mod redact;
#[cfg(test)]
mod tests;
mod write;

pub use error::BundleError;
pub use manifest::{Collector, LeftOut, MANIFEST, Manifest, Member, Status};
pub use name::{file_stem, is_member_name};
pub use read::{Bundle, FileState, Problem, read};
pub use redact::Redactor;
pub use write::{About, Packed, Part, pack, save};

/// The end of a bundle's name.
pub const SUFFIX: &str = ".tar.zst";
