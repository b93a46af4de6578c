//! What can go wrong with a bundle.

use std::io;
use std::path::PathBuf;

/// A bundle cannot be written or read.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// It cannot be written.
    #[error("cannot write {}: {source}{}", path.display(), hint(source))]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It cannot be read.
    #[error("cannot read {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It is something else.
    #[error(
        "{} is no bundle of gohang: {why}; give a gohang-NAME-TIME.tar.zst that `gohang run` wrote",
        path.display()
    )]
    NoBundle {
        /// The file.
        path: PathBuf,
        /// What it lacks.
        why: String,
    },
    /// There is no such member.
    #[error("{} has no {name}; --list shows what it has", path.display())]
    NoMember {
        /// The file.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
    },
}

/// What to do about it.
fn hint(source: &io::Error) -> &'static str {
    match source.kind() {
        io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => {
            "; give a folder with room (--bundle-dir), or less of it (--bundle-size)"
        }
        io::ErrorKind::PermissionDenied
        | io::ErrorKind::NotFound
        | io::ErrorKind::NotADirectory
        | io::ErrorKind::ReadOnlyFilesystem => {
            "; give a folder that can be written to (--bundle-dir)"
        }
        _ => "",
    }
}
