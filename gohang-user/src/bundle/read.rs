//! Reading a bundle, whatever became of it. Nothing is ever unpacked into files.

use std::collections::BTreeMap;
use std::fmt;
use std::fs::File;
use std::io::{BufReader, Read};
use std::path::{Path, PathBuf};

use ruzstd::decoding::StreamingDecoder;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::BundleError;
use super::manifest::{MANIFEST, Manifest, SCHEMA_VERSION, checksum};
use super::name::is_member_name;

/// Most bytes that are unpacked, over all members.
const MAX_UNPACKED: u64 = 256 << 20;
/// Most members that are looked at.
const MAX_MEMBERS: usize = 10_000;
/// Largest window that a frame may ask for; those of gohang have far smaller ones.
const MAX_WINDOW: u64 = 8 << 20;
/// What every zstd frame begins with (RFC 8878, 3.1.1).
const MAGIC: [u8; 4] = 0xFD2F_B528_u32.to_le_bytes();

/// What was read.
#[derive(Debug, Clone)]
pub struct Bundle {
    /// The file.
    pub path: PathBuf,
    /// Its members by name, as far as they are whole.
    pub members: BTreeMap<String, Vec<u8>>,
    /// What it should hold; `None` if that is not there.
    pub manifest: Option<Manifest>,
    /// What is wrong with it; nothing, if it is whole.
    pub problems: Vec<Problem>,
}

/// Something that is wrong with a bundle.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Problem {
    /// It ends before its end.
    CutOff(String),
    /// It has a member that no bundle has.
    Refused(String),
    /// There is more than is looked at.
    TooMuch,
    /// It has no manifest, or one that cannot be read.
    NoManifest(String),
    /// A newer gohang wrote it.
    Newer(u32),
    /// A member is not what the manifest says.
    Member(String, FileState),
}

/// What a member is, against the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FileState {
    /// What the manifest says.
    Whole,
    /// Not there.
    Missing,
    /// There, and something else.
    Changed,
    /// There, without the manifest's word.
    Unlisted,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::CutOff(why) => write!(f, "it ends too early ({why})"),
            Self::Refused(name) => {
                write!(f, "it has a member that no bundle has: {name}, passed over")
            }
            Self::TooMuch => write!(f, "it unpacks to more than a bundle may have"),
            Self::NoManifest(why) => write!(f, "its manifest is {why}"),
            Self::Newer(version) => write!(
                f,
                "a newer gohang wrote it (form {version}, this one knows {SCHEMA_VERSION})"
            ),
            Self::Member(name, state) => match state {
                FileState::Missing => write!(f, "{name} is missing"),
                FileState::Changed => write!(f, "{name} is not what was written"),
                _ => write!(f, "{name} is not in the manifest"),
            },
        }
    }
}

impl Bundle {
    /// Whether nothing is missing or changed.
    #[must_use]
    pub fn is_whole(&self) -> bool {
        self.problems.is_empty()
    }

    /// A member.
    ///
    /// # Errors
    /// There is none of that name.
    pub fn member(&self, name: &str) -> Result<&[u8], BundleError> {
        let found = self.members.get(name).map(Vec::as_slice);
        found.ok_or_else(|| BundleError::NoMember {
            path: self.path.clone(),
            name: name.to_owned(),
        })
    }

    /// Reads `from`, which came from `path`.
    ///
    /// # Errors
    /// When not even a beginning of a bundle is there.
    pub fn from_reader(path: &Path, from: impl Read) -> Result<Self, BundleError> {
        let no_bundle = |why: &str| BundleError::NoBundle {
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let (unpacked, cut) = unpack(from).map_err(|error| match error {
            Unusable::Io(source) => BundleError::Read {
                path: path.to_owned(),
                source,
            },
            Unusable::Foreign => no_bundle("it is not in zstd's form"),
        })?;
        let mut bundle = Self {
            path: path.to_owned(),
            members: BTreeMap::new(),
            manifest: None,
            problems: Vec::new(),
        };
        bundle.take_members(&unpacked);
        // A cut is told once, with the more telling words.
        if let Some(problem) = cut {
            let is_cut = |problem: &Problem| matches!(problem, Problem::CutOff(_));
            bundle.problems.retain(|problem| !is_cut(problem));
            bundle.problems.insert(0, problem);
        }
        if bundle.members.is_empty() {
            let why = "none of its members can be read";
            return Err(no_bundle(why));
        }
        bundle.check();
        Ok(bundle)
    }

    fn take_members(&mut self, unpacked: &[u8]) {
        let mut archive = tar::Archive::new(unpacked);
        let entries = match archive.entries() {
            Ok(entries) => entries,
            Err(error) => return self.problems.push(Problem::CutOff(error.to_string())),
        };
        for (index, entry) in entries.enumerate() {
            let mut entry = match entry {
                Ok(entry) => entry,
                Err(error) => return self.problems.push(Problem::CutOff(error.to_string())),
            };
            if index >= MAX_MEMBERS {
                return self.problems.push(Problem::TooMuch);
            }
            let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
            let is_file = entry.header().entry_type() == tar::EntryType::Regular;
            if !is_file || !is_member_name(&name) || self.members.contains_key(&name) {
                self.problems.push(Problem::Refused(name));
                continue;
            }
            let size = entry.size();
            let mut content = Vec::new();
            let read = entry.read_to_end(&mut content);
            if read.is_err() || content.len() as u64 != size {
                let why = format!("within {name}");
                return self.problems.push(Problem::CutOff(why));
            }
            self.members.insert(name, content);
        }
    }

    /// Holds the members against the manifest.
    fn check(&mut self) {
        let Some(text) = self.members.get(MANIFEST) else {
            let why = "missing".to_owned();
            return self.problems.push(Problem::NoManifest(why));
        };
        let manifest: Manifest = match serde_json::from_slice(text) {
            Ok(manifest) => manifest,
            Err(error) => {
                let why = format!("not readable ({error})");
                return self.problems.push(Problem::NoManifest(why));
            }
        };
        if manifest.schema_version > SCHEMA_VERSION {
            self.problems.push(Problem::Newer(manifest.schema_version));
        }
        let mut states: BTreeMap<&str, FileState> = self
            .members
            .keys()
            .filter(|name| *name != MANIFEST)
            .map(|name| (name.as_str(), FileState::Unlisted))
            .collect();
        for member in &manifest.members {
            let state = match self.members.get(&member.name) {
                None => FileState::Missing,
                Some(content) if checksum(content) == member.sha256 => FileState::Whole,
                Some(_) => FileState::Changed,
            };
            states.insert(&member.name, state);
        }
        let wrong = states
            .into_iter()
            .filter(|(_, state)| *state != FileState::Whole);
        let wrong = wrong.map(|(name, state)| Problem::Member(name.to_owned(), state));
        self.problems.extend(wrong.collect::<Vec<_>>());
        self.manifest = Some(manifest);
    }
}

/// Reads a bundle.
///
/// # Errors
/// The file cannot be read, or is something else.
pub fn read(path: &Path) -> Result<Bundle, BundleError> {
    let error = |source| BundleError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(error)?;
    // A pipe of which somebody else has the other end may never end, and a folder is none.
    if !file.metadata().map_err(error)?.is_file() {
        return Err(BundleError::NoBundle {
            path: path.to_owned(),
            why: "it is not a regular file".to_owned(),
        });
    }
    Bundle::from_reader(path, BufReader::new(file))
}

/// Why nothing can be unpacked.
enum Unusable {
    Io(std::io::Error),
    Foreign,
}

/// All frames unpacked, one behind the other, as far as that is possible; and what ended it,
/// if that was not the end.
fn unpack(mut from: impl Read) -> Result<(Vec<u8>, Option<Problem>), Unusable> {
    let mut out = Vec::new();
    let mut frames = 0u64;
    loop {
        let mut magic = Vec::with_capacity(MAGIC.len());
        (&mut from)
            .take(MAGIC.len() as u64)
            .read_to_end(&mut magic)
            .map_err(Unusable::Io)?;
        match magic.as_slice() {
            [] if frames > 0 => return Ok((out, None)),
            begin if begin == MAGIC => {}
            _ if frames == 0 => return Err(Unusable::Foreign),
            begin if MAGIC.starts_with(begin) => {
                return Ok((out, Some(Problem::CutOff("between two members".into()))));
            }
            _ => {
                let why = "what follows is not in zstd's form".into();
                return Ok((out, Some(Problem::CutOff(why))));
            }
        }
        let whole = MAGIC.as_slice().chain(&mut from);
        let mut decoder = match StreamingDecoder::new_with_max_window_size(whole, MAX_WINDOW) {
            Ok(decoder) => decoder,
            Err(error) => return Ok((out, Some(Problem::CutOff(error.to_string())))),
        };
        let room = MAX_UNPACKED.saturating_sub(out.len() as u64);
        let result = (&mut decoder).take(room + 1).read_to_end(&mut out);
        if let Err(error) = result {
            return Ok((out, Some(Problem::CutOff(error.to_string()))));
        }
        if out.len() as u64 > MAX_UNPACKED {
            return Ok((out, Some(Problem::TooMuch)));
        }
        frames += 1;
    }
}
