//! Values of the runtime's variables in a running process, where its symbols tell the place.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::discover::FileKey;
use super::elf::{Arch, Elf, Segment};
use super::image::{FileImage, ReadAt};
use super::libraries::executable_mappings;
use super::symtab::Symtab;
use crate::process::ProcRoot;

/// The variables; `gcController` begins with `gcPercent` (int32), and holds `memoryLimit`
/// (int64) at 8 (runtime/mgcpacer.go, 1.21 to 1.27).
const NAMES: [&str; 2] = ["runtime.gomaxprocs", "runtime.gcController"];
/// Versions whose `gcController` was looked at.
const GC_CONTROLLER: std::ops::RangeInclusive<u32> = 21..=27;
/// Files remembered before the memory is emptied.
const MAX_CACHED: usize = 4096;

/// Values as they are now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LiveValues {
    /// GOMAXPROCS.
    pub gomaxprocs: u32,
    /// GOGC; -1 is off. `None` where the version's layout is not known.
    pub gc_percent: Option<i32>,
    /// GOMEMLIMIT in bytes; `i64::MAX` is off.
    pub memory_limit: Option<i64>,
}

/// Why the values are not known.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoLive {
    /// No symbol table that has them.
    #[error("its program has no symbol for runtime.gomaxprocs (it was stripped with -ldflags=-s)")]
    NoSymbols,
    /// The kernel refused.
    #[error("{} may not be read: it needs CAP_SYS_PTRACE and CAP_DAC_READ_SEARCH", .0.display())]
    Denied(PathBuf),
    /// Reading failed.
    #[error("cannot read {}: {reason}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        reason: String,
    },
    /// The value makes no sense: it is another program's memory, or it was not set yet.
    #[error("runtime.gomaxprocs reads as {0}, which no runtime has")]
    Impossible(i32),
}

impl NoLive {
    fn of(path: &Path, error: &io::Error) -> Self {
        match error.raw_os_error() {
            Some(libc::EACCES | libc::EPERM) => Self::Denied(path.into()),
            _ => Self::Read {
                path: path.into(),
                reason: error.to_string(),
            },
        }
    }
}

/// Where a program keeps the variables, before the load bias.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Places {
    gomaxprocs: u64,
    gc_controller: Option<u64>,
    /// Executable segments, to tell the load bias; empty for a fixed address.
    code: Vec<Segment>,
}

impl Places {
    fn find<R: ReadAt>(elf: &Elf<R>) -> Option<Self> {
        // Values are read as this machine has them.
        let native = match elf.arch() {
            Arch::Amd64 => cfg!(target_arch = "x86_64"),
            Arch::Arm64 => cfg!(target_arch = "aarch64"),
            _ => false,
        };
        if !native {
            return None;
        }
        let found = Symtab::find(elf)?.find_variables(elf, &NAMES).ok()?;
        let code = elf
            .segments()
            .iter()
            .filter(|segment| segment.executable && elf.is_position_independent());
        Some(Self {
            gomaxprocs: found[0]?.start,
            gc_controller: found[1].map(|symbol| symbol.start),
            code: code.copied().collect(),
        })
    }

    /// How far the process has it from the file's addresses.
    fn bias(&self, maps: &[u8], inode: u64) -> Option<u64> {
        executable_mappings(maps)
            .filter(|mapping| mapping.inode == inode)
            .find_map(|mapping| {
                let own = |segment: &&Segment| {
                    let end = segment.offset.saturating_add(segment.file_size);
                    // The first page of a segment may begin before it.
                    mapping.offset < end && segment.offset < mapping.offset.saturating_add(1 << 16)
                };
                let segment = self.code.iter().find(own)?;
                let at = segment
                    .vaddr
                    .wrapping_sub(segment.offset)
                    .wrapping_add(mapping.offset);
                Some(mapping.range.start.wrapping_sub(at))
            })
    }
}

/// Reads values, and remembers where each program has them.
#[derive(Debug)]
pub struct LiveReader {
    proc: ProcRoot,
    known: HashMap<FileKey, Option<Arc<Places>>>,
}

impl LiveReader {
    /// For the processes below `proc`.
    #[must_use]
    pub fn new(proc: ProcRoot) -> Self {
        Self {
            proc,
            known: HashMap::new(),
        }
    }

    /// The values in process `pid` of Go's `minor` version. `library` is the path of the Go
    /// library in it, if it is one, as the process sees it.
    ///
    /// # Errors
    /// [`NoLive`], the reason why they are not known.
    pub fn read(
        &mut self,
        pid: u32,
        minor: Option<u32>,
        library: Option<&Path>,
    ) -> Result<LiveValues, NoLive> {
        let dir = self.proc.pid_dir(pid);
        let path = match library {
            None => dir.join("exe"),
            Some(path) => dir
                .join("root")
                .join(path.strip_prefix("/").unwrap_or(path)),
        };
        let (places, inode) = self.places(&path)?;
        let places = places.ok_or(NoLive::NoSymbols)?;
        let bias = if places.code.is_empty() {
            0
        } else {
            let maps = dir.join("maps");
            let text = std::fs::read(&maps).map_err(|error| NoLive::of(&maps, &error))?;
            places.bias(&text, inode).ok_or_else(|| NoLive::Read {
                path: maps,
                reason: "its program is not mapped".into(),
            })?
        };
        let path = dir.join("mem");
        let memory = File::open(&path).map_err(|error| NoLive::of(&path, &error))?;
        let at = |place: u64, buf: &mut [u8]| {
            memory
                .read_exact_at(buf, bias.wrapping_add(place))
                .map_err(|error| NoLive::of(&path, &error))
        };
        let mut word = [0; 4];
        at(places.gomaxprocs, &mut word)?;
        let gomaxprocs = i32::from_ne_bytes(word);
        let gomaxprocs = u32::try_from(gomaxprocs)
            .ok()
            .filter(|procs| (1..=1 << 16).contains(procs))
            .ok_or(NoLive::Impossible(gomaxprocs))?;
        let mut values = LiveValues {
            gomaxprocs,
            gc_percent: None,
            memory_limit: None,
        };
        let known = minor.is_some_and(|minor| GC_CONTROLLER.contains(&minor));
        if let Some(place) = places.gc_controller.filter(|_| known) {
            let mut raw = [0; 16];
            at(place, &mut raw)?;
            let (percent, limit) = raw.split_at(8);
            values.gc_percent = percent
                .first_chunk()
                .map(|bytes| i32::from_ne_bytes(*bytes));
            values.memory_limit = limit.first_chunk().map(|bytes| i64::from_ne_bytes(*bytes));
        }
        Ok(values)
    }

    fn places(&mut self, path: &Path) -> Result<(Option<Arc<Places>>, u64), NoLive> {
        let failed = |error: io::Error| NoLive::of(path, &error);
        let meta = std::fs::metadata(path).map_err(failed)?;
        let key = FileKey::of(&meta);
        if let Some(known) = self.known.get(&key) {
            return Ok((known.clone(), meta.ino()));
        }
        let image = File::open(path).and_then(FileImage::new).map_err(failed)?;
        let elf = Elf::parse(image).ok();
        let found = elf.and_then(|elf| Places::find(&elf)).map(Arc::new);
        if self.known.len() >= MAX_CACHED {
            self.known.clear();
        }
        self.known.insert(key, found.clone());
        Ok((found, meta.ino()))
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::program;
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn the_bias_is_the_distance_to_the_mapping() {
        let segment = Segment {
            offset: 0x1000,
            vaddr: 0x40_1000,
            file_size: 0x5000,
            writable: false,
            executable: true,
        };
        let places = Places {
            gomaxprocs: 0,
            gc_controller: None,
            code: vec![segment],
        };
        let maps = b"7f0000001000-7f0000006000 r-xp 00001000 fe:00 7 /x\n";
        assert_eq!(places.bias(maps, 7), Some(0x7f00_0000_1000 - 0x40_1000));
        assert_eq!(places.bias(maps, 8), None);
        assert_eq!(places.bias(b"junk", 7), None);
    }

    #[test]
    fn without_symbols_or_a_process_it_says_so() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("prog"), program("go1.27.3", "")).unwrap();
        std::fs::create_dir(dir.path().join("42")).unwrap();
        symlink(dir.path().join("prog"), dir.path().join("42/exe")).unwrap();
        let mut reader = LiveReader::new(ProcRoot::new(dir.path()));
        for _ in 0..2 {
            let why = reader.read(42, Some(27), None).unwrap_err();
            assert_eq!(why, NoLive::NoSymbols);
        }
        assert_eq!(reader.known.len(), 1);
        let why = reader.read(43, Some(27), None).unwrap_err();
        assert!(matches!(why, NoLive::Read { .. }), "{why}");
    }
}
