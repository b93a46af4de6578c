//! Which functions of Go programs signals interrupted.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use serde::{Deserialize, Serialize};

use super::buildinfo::BuildInfo;
use super::discover::FileKey;
use super::elf::{Elf, ElfError};
use super::image::FileImage;
use super::libraries::{Mapping, executable_mappings};
use super::safepoint::{InlinedCalls, SafePoint, SafePoints};
use super::symbols::Symbols;
use crate::process::{ProcRoot, escape};

/// Files that are kept open; a machine runs fewer different Go programs at a time.
const MAX_FILES: usize = 64;
/// Instructions that are remembered, of all programs together.
const MAX_PLACES: usize = 16_384;
/// Longest name that is kept, in bytes: only generic functions have longer ones.
const MAX_NAME: usize = 256;
/// How long one round may spend on what is not remembered: the kernel's ring fills up
/// meanwhile. Opening a program takes about 1.3 ms, a function 3 us.
const ROUND: Duration = Duration::from_millis(10);
/// How often the mappings of one process are read again: it may load libraries.
const REREAD_EVERY: Duration = Duration::from_secs(1);

/// Where in its program a thread was interrupted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// The function, none if it has no name. Text of the program: escape it before it
    /// goes to a terminal.
    pub function: Option<String>,
    /// Whether a signal can preempt there, none if the program does not tell.
    pub safe_point: Option<SafePoint>,
}

/// Names the places of Go processes, from their programs' files. Everything is read when
/// it is first needed, and remembered.
#[derive(Debug)]
pub(crate) struct Places {
    proc: ProcRoot,
    /// By process id, root PID namespace; only of Go processes.
    processes: HashMap<u32, Maps>,
    files: HashMap<FileKey, Opened>,
    /// By the number of the opened file and the address in it.
    known: HashMap<(u64, u64), Option<Arc<Place>>>,
    /// Numbers given to opened files so far.
    opened: u64,
    /// Left of [`ROUND`].
    left: Duration,
}

/// Mappings of a process.
#[derive(Debug, Default)]
struct Maps {
    /// When they were read; never, to begin with.
    read: Option<Instant>,
    mappings: Vec<Mapped>,
}

/// A mapping and its file.
#[derive(Debug)]
struct Mapped {
    mapping: Mapping,
    file: MappedFile,
}

#[derive(Debug, Clone, Copy)]
enum MappedFile {
    NotAsked,
    Known(FileKey),
    /// It cannot be opened; has been said.
    Refused,
}

/// An opened file.
#[derive(Debug)]
struct Opened {
    number: u64,
    /// Number of the last file opened when it was last asked: the least goes first.
    used: u64,
    program: Program,
}

#[derive(Debug)]
enum Program {
    Go(Box<Symbols<FileImage>>, InlinedCalls),
    NotGo,
    /// Has been said.
    Unreadable,
}

impl Places {
    /// For the processes below `proc`.
    pub fn new(proc: ProcRoot) -> Self {
        Self {
            proc,
            processes: HashMap::new(),
            files: HashMap::new(),
            known: HashMap::new(),
            opened: 0,
            left: ROUND,
        }
    }

    /// A process runs a Go program, or a new one.
    pub fn follow(&mut self, pid: u32) {
        self.processes.insert(pid, Maps::default());
    }

    /// A process has ended, or runs something else.
    pub fn forget(&mut self, pid: u32) {
        self.processes.remove(&pid);
    }

    /// From here on, time may be spent again.
    pub fn begin_round(&mut self) {
        self.left = ROUND;
    }

    /// What lies at instruction `pc` of process `pid`. `None` for what is not a followed
    /// process, for processes that ended before it was asked, for programs without a
    /// readable table of functions, and when the time of this round is used up.
    pub fn at(&mut self, pid: u32, pc: u64) -> Option<Arc<Place>> {
        if let Some(known) = self.remembered(pid, pc) {
            return known;
        }
        if self.left.is_zero() {
            return None;
        }
        let begin = Instant::now();
        let place = self.look(pid, pc);
        self.left = self.left.saturating_sub(begin.elapsed());
        place
    }

    /// How many files were opened so far.
    #[cfg(test)]
    pub(super) fn files_opened(&self) -> u64 {
        self.opened
    }

    /// How many are open.
    #[cfg(test)]
    pub(super) fn files_kept(&self) -> usize {
        self.files.len()
    }

    /// Uses up the time of this round.
    #[cfg(test)]
    pub(super) fn exhaust_round(&mut self) {
        self.left = Duration::ZERO;
    }

    fn remembered(&mut self, pid: u32, pc: u64) -> Option<Option<Arc<Place>>> {
        let Some(maps) = self.processes.get(&pid) else {
            return Some(None);
        };
        let mapped = maps.around(pc)?;
        let key = match mapped.file {
            MappedFile::NotAsked => return None,
            MappedFile::Known(key) => key,
            MappedFile::Refused => return Some(None),
        };
        let opened = self.files.get_mut(&key)?;
        opened.used = self.opened;
        let offset = mapped.mapping.file_offset(pc)?;
        self.known.get(&(opened.number, offset)).cloned()
    }

    fn look(&mut self, pid: u32, pc: u64) -> Option<Arc<Place>> {
        let maps = self.processes.get_mut(&pid)?;
        if maps.around(pc).is_none() && maps.read.is_none_or(|read| read.elapsed() >= REREAD_EVERY)
        {
            maps.read = Some(Instant::now());
            let read = self.proc.read_pid_file(pid, "maps").ok()?;
            maps.mappings = executable_mappings(&read)
                .map(|mapping| Mapped {
                    mapping,
                    file: MappedFile::NotAsked,
                })
                .collect();
        }
        if maps.mappings.is_empty() {
            return None;
        }
        let mut mappings = maps.mappings.iter_mut();
        let Some(mapped) = mappings.find(|mapped| mapped.mapping.range.contains(&pc)) else {
            // The vDSO, or code made at run time.
            return Some(Arc::new(Place {
                function: None,
                safe_point: Some(SafePoint::NotGo),
            }));
        };
        let offset = mapped.mapping.file_offset(pc)?;
        let known = match mapped.file {
            MappedFile::Known(key) => Some(key).filter(|key| self.files.contains_key(key)),
            MappedFile::NotAsked => None,
            MappedFile::Refused => return None,
        };
        let key = match known {
            Some(key) => key,
            None => match open(&self.proc, pid, &mapped.mapping) {
                Ok((file, key)) => {
                    mapped.file = MappedFile::Known(key);
                    let path = mapped.mapping.path.clone();
                    self.keep(key, file, &path);
                    key
                }
                Err(error) => {
                    if self.proc.exists(pid) {
                        let path = escape(mapped.mapping.path.as_os_str().as_encoded_bytes());
                        log::info!("process {pid}: {path} cannot be opened: {error}");
                    }
                    mapped.file = MappedFile::Refused;
                    return None;
                }
            },
        };
        let opened = self.files.get_mut(&key)?;
        let place = opened.program.place(offset).map(Arc::new);
        if self.known.len() >= MAX_PLACES {
            self.known.clear();
        }
        self.known.insert((opened.number, offset), place.clone());
        place
    }

    /// Keeps a file open, unless it is already.
    fn keep(&mut self, key: FileKey, file: File, path: &Path) {
        if self.files.contains_key(&key) {
            return;
        }
        if self.files.len() >= MAX_FILES {
            let least = self.files.iter().min_by_key(|(_, file)| file.used);
            if let Some(least) = least.map(|(key, _)| *key) {
                self.files.remove(&least);
            }
        }
        self.opened += 1;
        let opened = Opened {
            number: self.opened,
            used: self.opened,
            program: Program::open(file, path),
        };
        self.files.insert(key, opened);
    }
}

impl Maps {
    fn around(&self, pc: u64) -> Option<&Mapped> {
        let mut mappings = self.mappings.iter();
        mappings.find(|mapped| mapped.mapping.range.contains(&pc))
    }
}

/// The file of a mapping: as the kernel mapped it, or, without
/// the privilege for that, the program or the path if that is still the same inode.
fn open(proc: &ProcRoot, pid: u32, mapping: &Mapping) -> io::Result<(File, FileKey)> {
    let dir = proc.pid_dir(pid);
    let inside = mapping.path.strip_prefix("/").unwrap_or(&mapping.path);
    for (place, exact) in [
        // Its inode may be another than the mapping's, where file systems are stacked.
        (dir.join("map_files").join(&mapping.name), true),
        (dir.join("exe"), false),
        (dir.join("root").join(inside), false),
    ] {
        // Only regular files are opened: opening a device can do things.
        let same = |meta: &Metadata| meta.is_file() && (exact || meta.ino() == mapping.inode);
        if fs::metadata(&place).is_ok_and(|meta| same(&meta))
            && let Ok(file) = File::open(&place)
            && let Ok(meta) = file.metadata()
            && same(&meta)
        {
            return Ok((file, FileKey::of(&meta)));
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

impl Program {
    fn open(file: File, path: &Path) -> Self {
        Self::read(file).unwrap_or_else(|reason| {
            let path = escape(path.as_os_str().as_encoded_bytes());
            log::warn!("{path}: interrupted functions have no names: {reason}");
            Self::Unreadable
        })
    }

    fn read(file: File) -> Result<Self, super::NoSymbols> {
        let elf = match Elf::parse(FileImage::new(file).map_err(ElfError::Io)?) {
            Err(ElfError::NotElf) => return Ok(Self::NotGo),
            parsed => parsed?,
        };
        let Some(build) = BuildInfo::read(&elf)? else {
            return Ok(Self::NotGo);
        };
        let symbols = Symbols::open(elf)?;
        let inlined = InlinedCalls::find(&symbols, &build.version)?;
        Ok(Self::Go(Box::new(symbols), inlined))
    }

    /// What lies at this offset of the file.
    fn place(&mut self, offset: u64) -> Option<Place> {
        let (symbols, inlined) = match self {
            Self::Go(symbols, inlined) => (symbols, *inlined),
            Self::NotGo => {
                return Some(Place {
                    function: None,
                    safe_point: Some(SafePoint::NotGo),
                });
            }
            Self::Unreadable => return None,
        };
        let vaddr = symbols.address_of(offset)?;
        let named = symbols.lookup(vaddr).and_then(|function| {
            let safe_point = SafePoints::with(symbols, inlined).at(vaddr)?;
            Ok((function.map(|function| shorten(function.name)), safe_point))
        });
        match named {
            Ok((None, None)) => None,
            Ok((function, safe_point)) => Some(Place {
                function,
                safe_point,
            }),
            Err(reason) => {
                log::warn!("a Go program: interrupted functions have no names: {reason}");
                *self = Self::Unreadable;
                None
            }
        }
    }
}

/// The name as far as [`MAX_NAME`].
fn shorten(mut name: String) -> String {
    if name.len() > MAX_NAME {
        name.truncate(name.floor_char_boundary(MAX_NAME - 3));
        name.push_str("...");
    }
    name
}
