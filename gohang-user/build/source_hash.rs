//! The hash that ties the committed kernel object to its sources.
//!
//! Included by `build.rs`, which refuses an object that is not built from the
//! sources beside it, and by xtask, which writes the hash into the manifest.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

/// The crates whose sources make the object, as folders below the workspace root.
pub const SOURCE_CRATES: [&str; 2] = ["gohang-common", "gohang-ebpf"];

/// What the object was built from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceHash {
    /// SHA-256, in hexadecimal, over every source file and `crates`.
    pub sha256: String,
    /// Name to version of the kernel-side dependencies, from `Cargo.lock`.
    pub crates: BTreeMap<String, String>,
}

/// Hashes `Cargo.toml` and `src/**` of every source crate below `root`, with their
/// relative paths, and the locked versions of the kernel-side dependencies.
///
/// The whole `Cargo.lock` is left out on purpose: an update of a user-space
/// dependency leaves the object as it is.
pub fn source_hash(root: &Path) -> io::Result<SourceHash> {
    let mut hasher = Sha256::new();
    for path in source_files(root)? {
        let content = fs::read(root.join(&path)).map_err(|err| with_path(err, &path))?;
        feed(&mut hasher, path.to_string_lossy().as_bytes());
        feed(&mut hasher, &content);
    }
    let lock = Path::new("Cargo.lock");
    let text = fs::read_to_string(root.join(lock)).map_err(|err| with_path(err, lock))?;
    let crates = kernel_crates(&text);
    for (name, version) in &crates {
        feed(&mut hasher, name.as_bytes());
        feed(&mut hasher, version.as_bytes());
    }
    Ok(SourceHash {
        sha256: hex(&hasher.finalize()),
        crates,
    })
}

/// The SHA-256 of `bytes` in hexadecimal.
pub fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// Every hashed file, relative to `root`, in the order of hashing.
pub fn source_files(root: &Path) -> io::Result<Vec<PathBuf>> {
    let mut files = Vec::new();
    for name in SOURCE_CRATES {
        files.push(Path::new(name).join("Cargo.toml"));
        walk(root, &Path::new(name).join("src"), &mut files)?;
    }
    files.sort();
    Ok(files)
}

fn walk(root: &Path, folder: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    for entry in fs::read_dir(root.join(folder)).map_err(|err| with_path(err, folder))? {
        let entry = entry?;
        let name = entry.file_name();
        let name_text = name.to_string_lossy();
        // What editors leave while a file is open is no source.
        if name_text.starts_with('.') || name_text.ends_with('~') {
            continue;
        }
        let path = folder.join(&name);
        if entry.file_type()?.is_dir() {
            walk(root, &path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

/// The packages that end up in the object, from the text of a `Cargo.lock`.
fn kernel_crates(lock: &str) -> BTreeMap<String, String> {
    let mut crates = BTreeMap::new();
    for package in lock.split("[[package]]").skip(1) {
        let field = |key: &str| {
            package.lines().find_map(|line| {
                line.strip_prefix(key)?
                    .strip_prefix(" = \"")?
                    .strip_suffix('"')
                    .map(str::to_owned)
            })
        };
        if let (Some(name), Some(version)) = (field("name"), field("version"))
            && (name.starts_with("aya-ebpf") || name.starts_with("aya-log-"))
        {
            crates.insert(name, version);
        }
    }
    crates
}

/// Length first, so that no two lists of parts hash alike.
fn feed(hasher: &mut Sha256, part: &[u8]) {
    hasher.update((part.len() as u64).to_le_bytes());
    hasher.update(part);
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn with_path(err: io::Error, path: &Path) -> io::Error {
    io::Error::new(err.kind(), format!("{}: {err}", path.display()))
}
