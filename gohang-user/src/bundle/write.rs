//! Packing a bundle and saving it in one piece.

use std::fs::Permissions;
use std::io::{self, Write as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use ruzstd::encoding::{CompressionLevel, compress};

use super::BundleError;
use super::manifest::{Collector, LeftOut, MANIFEST, Manifest, Member, SCHEMA_VERSION};
use super::name::is_member_name;
use crate::sink::json;

/// A block of a tar archive.
const BLOCK: usize = 512;
/// The least of a member that is worth keeping when its middle has to go.
const LEAST: usize = 4096;
/// What stands in place of a middle that was left out.
const CUT: &str = "\n[... gohang left out the middle: the bundle's size is limited ...]\n";

/// A member to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: String,
    /// What it holds.
    pub content: Vec<u8>,
    /// It is text of which beginning and end are worth keeping alone.
    pub divisible: bool,
}

impl Part {
    /// A text that may be cut.
    #[must_use]
    pub fn text(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            name: name.into(),
            content: content.into(),
            divisible: true,
        }
    }

    /// Something that is worth nothing when it is cut, as JSON.
    #[must_use]
    pub fn whole(name: impl Into<String>, content: impl Into<Vec<u8>>) -> Self {
        Self {
            divisible: false,
            ..Self::text(name, content)
        }
    }
}

/// What the manifest tells beside the members.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct About {
    /// Kernel release.
    pub kernel: String,
    /// Go versions.
    pub go: Vec<String>,
    /// The command.
    pub command: Vec<String>,
    /// When it is written (RFC 3339).
    pub written: String,
    /// It was redacted.
    pub redacted: bool,
    /// Most bytes of all members together.
    pub size_cap_bytes: u64,
    /// How the collecting went.
    pub collectors: Vec<Collector>,
    /// The loss line.
    pub loss: Option<String>,
}

/// A bundle that was packed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed {
    /// The file's content.
    pub bytes: Vec<u8>,
    /// Its manifest.
    pub manifest: Manifest,
}

/// Packs `parts`, the most important first; the first of them stands first in the bundle, and
/// those behind the cap on its size are cut or left out. A part whose name a member may not
/// have is left out as well.
///
/// # Errors
/// What tar has no room for.
pub fn pack(about: About, parts: Vec<Part>) -> io::Result<Packed> {
    let mut left = usize::try_from(about.size_cap_bytes).unwrap_or(usize::MAX);
    let (mut kept, mut members, mut left_out) = (Vec::new(), Vec::new(), Vec::new());
    for part in parts {
        let size = part.content.len();
        if !is_member_name(&part.name) || part.name == MANIFEST {
            left_out.push(LeftOut {
                name: part.name,
                bytes: size as u64,
            });
            continue;
        }
        let (content, cut_from) = match size {
            size if size <= left => (part.content, None),
            size if part.divisible && left >= LEAST => {
                (without_middle(&part.content, left), Some(size as u64))
            }
            size => {
                left_out.push(LeftOut {
                    name: part.name,
                    bytes: size as u64,
                });
                continue;
            }
        };
        left -= content.len().min(left);
        members.push(Member::of(&part.name, &content, cut_from));
        kept.push((part.name, content));
    }
    let manifest = Manifest {
        schema_version: SCHEMA_VERSION,
        gohang_version: env!("CARGO_PKG_VERSION").to_owned(),
        kernel: about.kernel,
        go: about.go,
        command: about.command,
        written: about.written,
        redacted: about.redacted,
        size_cap_bytes: about.size_cap_bytes,
        collectors: about.collectors,
        loss: about.loss,
        members,
        left_out,
    };
    let mut text = Vec::new();
    json::write_document(&mut text, &manifest)?;
    kept.insert(kept.len().min(1), (MANIFEST.to_owned(), text));
    let mut bytes = Vec::new();
    for (name, content) in &kept {
        frame(&mut bytes, &member(name, content)?);
    }
    // The archive's end.
    frame(&mut bytes, &[0; 2 * BLOCK]);
    Ok(Packed { bytes, manifest })
}

/// A member in tar's form: a header, and the content in whole blocks.
fn member(name: &str, content: &[u8]) -> io::Result<Vec<u8>> {
    let mut header = tar::Header::new_ustar();
    header.set_path(name)?;
    header.set_size(content.len() as u64);
    header.set_mode(0o644);
    header.set_entry_type(tar::EntryType::Regular);
    header.set_cksum();
    let mut block = header.as_bytes().to_vec();
    block.extend_from_slice(content);
    block.resize(block.len().next_multiple_of(BLOCK), 0);
    Ok(block)
}

fn frame(out: &mut Vec<u8>, content: &[u8]) {
    compress(content, out, CompressionLevel::Fastest);
}

/// Beginning and end of a text, `room` bytes together, at line breaks where there are any.
fn without_middle(content: &[u8], room: usize) -> Vec<u8> {
    let half = room.saturating_sub(CUT.len()) / 2;
    let head = &content[..half];
    let head = match head.iter().rposition(|&byte| byte == b'\n') {
        Some(at) => &head[..at],
        None => head,
    };
    let tail = &content[content.len() - half..];
    let tail = match tail.iter().position(|&byte| byte == b'\n') {
        Some(at) => &tail[at + 1..],
        None => tail,
    };
    [head, CUT.as_bytes(), tail].concat()
}

/// Saves `bytes` as a new file `folder/STEM SUFFIX`: whole or not at all. Where there is one
/// already, a number is added to the stem.
///
/// # Errors
/// The folder cannot be written to, or has no room.
pub fn save(folder: &Path, stem: &str, suffix: &str, bytes: &[u8]) -> Result<PathBuf, BundleError> {
    let wanted = folder.join(format!("{stem}{suffix}"));
    let error = |source: io::Error| BundleError::Write {
        path: wanted.clone(),
        source,
    };
    let mut file = tempfile::Builder::new()
        .prefix(".gohang-")
        .suffix(".part")
        // As any file that a program writes; the umask takes away from it.
        .permissions(Permissions::from_mode(0o666))
        .tempfile_in(folder)
        .map_err(error)?;
    file.write_all(bytes).map_err(error)?;
    file.as_file().sync_all().map_err(error)?;
    let mut path = wanted.clone();
    let mut number = 1;
    loop {
        match file.persist_noclobber(&path) {
            Ok(_) => return Ok(path),
            Err(again) if again.error.kind() == io::ErrorKind::AlreadyExists && number < 1000 => {
                number += 1;
                path = folder.join(format!("{stem}-{number}{suffix}"));
                file = again.file;
            }
            Err(other) => return Err(error(other.error)),
        }
    }
}
