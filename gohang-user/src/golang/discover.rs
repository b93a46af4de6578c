//! Which processes are Go programs.

use std::collections::HashMap;
use std::fs::{self, File, Metadata};
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use super::buildinfo::BuildInfo;
use super::elf::{Arch, Elf, ElfError};
use super::image::{FileImage, ReadAt};
use super::libraries::{self, Mapping};
use super::offsets::{GoOffsets, NoOffsets, offsets};
use crate::process::{ProcError, ProcRoot, escape};

/// Files remembered before the memory is emptied; a machine runs a few hundred.
const MAX_CACHED: usize = 4096;

/// Why it is not known whether a process is a Go program.
#[derive(Debug, thiserror::Error)]
pub enum InspectError {
    /// The process ended, or the kernel refused to show it.
    #[error(transparent)]
    Proc(#[from] ProcError),
    /// The program's file is not what an ELF file should be.
    #[error("cannot tell whether process {pid} is a Go program: {}: {reason}", path.display())]
    File {
        /// The process.
        pid: u32,
        /// The file that was read.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}

impl InspectError {
    /// Whether the process has simply ended.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        matches!(self, Self::Proc(error) if error.is_gone())
    }
}

/// What is known of a Go program, or Go library, from its file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoProgram {
    /// Go version, main module and build settings.
    pub build: BuildInfo,
    /// Architecture it was built for.
    pub arch: Arch,
    /// Whether it is loaded at an address chosen at run time (PIE or library).
    pub position_independent: bool,
    /// Whether its symbol table was left out (`-ldflags=-s`).
    pub stripped: bool,
    /// Where its runtime keeps the goroutine id, or why that is not known.
    pub offsets: Result<GoOffsets, NoOffsets>,
}

/// Go found in a process.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FoundGo {
    /// The program or library.
    pub program: Arc<GoProgram>,
    /// The library's path as the process sees it; `None` for the program itself.
    pub library: Option<PathBuf>,
}

/// Tells Go programs from others, and remembers each file that it has read.
///
/// Thousands of processes of one program cost one reading of its file.
#[derive(Debug)]
pub struct Inspector {
    proc: ProcRoot,
    known: Mutex<HashMap<FileKey, Known>>,
    files_read: AtomicU64,
}

/// What tells one state of a file from every other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FileKey {
    dev: u64,
    inode: u64,
    size: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl FileKey {
    /// Of a file.
    #[must_use]
    pub fn of(meta: &Metadata) -> Self {
        Self {
            dev: meta.dev(),
            inode: meta.ino(),
            size: meta.len(),
            modified: (meta.mtime(), meta.mtime_nsec()),
            changed: (meta.ctime(), meta.ctime_nsec()),
        }
    }
}

/// What a file turned out to be: Go, not Go, or unreadable for a reason.
type Known = Result<Option<Arc<GoProgram>>, String>;

impl Inspector {
    /// For the processes below `proc`.
    #[must_use]
    pub fn new(proc: ProcRoot) -> Self {
        Self {
            proc,
            known: Mutex::default(),
            files_read: AtomicU64::new(0),
        }
    }

    /// How many files were read so far, not counting those remembered.
    pub fn files_read(&self) -> u64 {
        self.files_read.load(Ordering::Relaxed)
    }

    /// The Go program that `pid` runs; `None` when it runs something else, or has
    /// no program (kernel threads, processes that wait to be collected).
    ///
    /// It reads the running file itself, so that deleted programs and those of other
    /// mount namespaces are found.
    ///
    /// # Errors
    /// [`InspectError`]; test [`InspectError::is_gone`] first.
    pub fn inspect_exe(&self, pid: u32) -> Result<Option<Arc<GoProgram>>, InspectError> {
        let exe = self.proc.pid_dir(pid).join("exe");
        match self.inspect_file(&exe) {
            Ok(known) => self.result(pid, exe, known),
            Err(source) if source.kind() == io::ErrorKind::NotFound && self.proc.exists(pid) => {
                self.inspect_threads_exe(pid)
            }
            Err(source) => Err(self.proc.sort_error(pid, &exe, source).into()),
        }
    }

    /// The Go libraries (`-buildmode=c-shared`) that `pid` has mapped, in the order of
    /// their addresses.
    ///
    /// Files that cannot be opened or are damaged are passed over: a library is in
    /// question only when it can be read.
    ///
    /// # Errors
    /// When the process has ended or its mappings may not be read.
    pub fn inspect_libraries(&self, pid: u32) -> Result<Vec<FoundGo>, InspectError> {
        let maps = self.proc.read_pid_file(pid, "maps")?;
        let mut found = Vec::new();
        for mapping in libraries::executable_files(&maps) {
            let program = self.inspect_mapping(pid, &mapping);
            found.extend(program.map(|program| FoundGo {
                program,
                library: Some(mapping.path),
            }));
        }
        Ok(found)
    }

    /// The Go in `pid`: its program, or else the first Go library it has mapped.
    ///
    /// # Errors
    /// As [`Self::inspect_exe`] and [`Self::inspect_libraries`].
    pub fn inspect(&self, pid: u32) -> Result<Option<FoundGo>, InspectError> {
        if let Some(program) = self.inspect_exe(pid)? {
            return Ok(Some(FoundGo {
                program,
                library: None,
            }));
        }
        Ok(self.inspect_libraries(pid)?.into_iter().next())
    }

    /// The first thread of a process may have ended while the others run on.
    fn inspect_threads_exe(&self, pid: u32) -> Result<Option<Arc<GoProgram>>, InspectError> {
        for tid in self.proc.threads(pid)? {
            let exe = self.proc.pid_dir(pid).join(format!("task/{tid}/exe"));
            match self.inspect_file(&exe) {
                Ok(known) => return self.result(pid, exe, known),
                Err(source) if source.kind() == io::ErrorKind::NotFound => {}
                Err(source) => return Err(self.proc.sort_error(tid, &exe, source).into()),
            }
        }
        Ok(None)
    }

    fn result(
        &self,
        pid: u32,
        exe: PathBuf,
        known: Known,
    ) -> Result<Option<Arc<GoProgram>>, InspectError> {
        known.map_err(|reason| {
            // The path it was started from says more than /proc/PID/exe.
            let path = fs::read_link(&exe).map_or(exe, |target| {
                PathBuf::from(escape(target.as_os_str().as_encoded_bytes()))
            });
            InspectError::File { pid, path, reason }
        })
    }

    /// Opened as the kernel mapped it, or, without the privilege for that, by its path
    /// in the process's own mount namespace if that still leads to the same inode.
    fn inspect_mapping(&self, pid: u32, mapping: &Mapping) -> Option<Arc<GoProgram>> {
        let dir = self.proc.pid_dir(pid);
        let exact = dir.join("map_files").join(&mapping.name);
        let known = match self.inspect_file(&exact) {
            Ok(known) => known,
            Err(_) => {
                let inside = mapping.path.strip_prefix("/").ok()?;
                let by_path = dir.join("root").join(inside);
                let same = fs::metadata(&by_path).ok()?.ino() == mapping.inode;
                if !same {
                    return None;
                }
                self.inspect_file(&by_path).ok()?
            }
        };
        known.ok().flatten()
    }

    fn inspect_file(&self, path: &Path) -> io::Result<Known> {
        // Only regular files are opened: opening a device can do things.
        let meta = fs::metadata(path)?;
        if !meta.is_file() {
            return Ok(Ok(None));
        }
        if let Some(known) = self.lock().get(&FileKey::of(&meta)) {
            return Ok(known.clone());
        }
        let file = File::options()
            .read(true)
            .custom_flags(libc::O_NONBLOCK)
            .open(path)?;
        // The link may lead elsewhere by now (exec); the open file is what counts.
        let meta = file.metadata()?;
        self.files_read.fetch_add(1, Ordering::Relaxed);
        let known = match FileImage::new(file)
            .map_err(ElfError::Io)
            .and_then(inspect_image)
        {
            Ok(program) => Ok(program.map(Arc::new)),
            Err(ElfError::Io(error)) => return Err(error),
            Err(error) => Err(error.to_string()),
        };
        let mut cache = self.lock();
        if cache.len() >= MAX_CACHED {
            cache.clear();
        }
        cache.insert(FileKey::of(&meta), known.clone());
        Ok(known)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, HashMap<FileKey, Known>> {
        // A panic elsewhere cannot leave a map half changed.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The Go program or library in `image`; `None` when it is something else.
///
/// # Errors
/// When the file is a damaged ELF file or cannot be read.
pub fn inspect_image(image: impl ReadAt) -> Result<Option<GoProgram>, ElfError> {
    let elf = match Elf::parse(image) {
        Ok(elf) => elf,
        // binfmt_misc runs files of any kind.
        Err(ElfError::NotElf) => return Ok(None),
        Err(error) => return Err(error),
    };
    let Some(build) = BuildInfo::read(&elf)? else {
        return Ok(None);
    };
    Ok(Some(GoProgram {
        arch: elf.arch(),
        position_independent: elf.is_position_independent(),
        stripped: elf.section(".symtab").is_none(),
        offsets: offsets(&build.version, elf.arch()),
        build,
    }))
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Builder, program};
    use super::*;
    use std::os::unix::fs::symlink;

    /// A `/proc` with process 42 whose program is `exe`.
    struct Fixture {
        dir: tempfile::TempDir,
        inspector: Inspector,
    }

    impl Fixture {
        fn new(exe: &[u8]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let fixture = Self {
                inspector: Inspector::new(ProcRoot::new(dir.path())),
                dir,
            };
            fixture.file("prog", exe);
            fixture.process(42);
            fixture
        }

        fn path(&self, name: &str) -> PathBuf {
            self.dir.path().join(name)
        }

        fn file(&self, name: &str, content: &[u8]) -> u64 {
            let path = self.path(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(&path, content).unwrap();
            fs::metadata(path).unwrap().ino()
        }

        fn process(&self, pid: u32) {
            fs::create_dir_all(self.path(&format!("{pid}/map_files"))).unwrap();
            fs::create_dir_all(self.path(&format!("{pid}/task/{pid}"))).unwrap();
            symlink(self.path("prog"), self.path(&format!("{pid}/exe"))).unwrap();
        }
    }

    fn c_program() -> Vec<u8> {
        Builder::new(true, false)
            .data_section(".data", &[0; 64])
            .build()
    }

    #[test]
    fn one_reading_serves_all_processes_of_a_program() {
        let fixture = Fixture::new(&program("go1.24.11", "build\tCGO_ENABLED=0\n"));
        for pid in 100..400 {
            fixture.process(pid);
            let go = fixture.inspector.inspect_exe(pid).unwrap().unwrap();
            assert_eq!(go.build.version.to_string(), "go1.24.11");
            assert_eq!(go.offsets.unwrap().g_goid, 160);
            assert!(go.stripped && !go.position_independent);
            assert_eq!(go.build.info.cgo(), Some(false));
        }
        assert_eq!(fixture.inspector.files_read(), 1);
        // A new program under the old name is another file.
        fixture.file("new", &program("go1.27.3", ""));
        fs::rename(fixture.path("new"), fixture.path("prog")).unwrap();
        let go = fixture.inspector.inspect_exe(100).unwrap().unwrap();
        assert_eq!(go.build.version.minor(), Some(27));
        assert_eq!(fixture.inspector.files_read(), 2);
    }

    #[test]
    fn the_memory_is_bounded() {
        let fixture = Fixture::new(b"");
        for round in 0..=MAX_CACHED {
            fixture.file("prog", &vec![0; round]);
            assert!(fixture.inspector.inspect_exe(42).unwrap().is_none());
        }
        assert!(fixture.inspector.lock().len() <= MAX_CACHED);
    }

    #[test]
    fn what_is_not_go() {
        for exe in [c_program(), b"#!/bin/sh".to_vec(), Vec::new()] {
            let fixture = Fixture::new(&exe);
            fixture.file("42/maps", b"");
            assert!(fixture.inspector.inspect(42).unwrap().is_none());
        }
        // A kernel thread: the directory is there, the program is not.
        let fixture = Fixture::new(b"");
        fs::remove_file(fixture.path("42/exe")).unwrap();
        assert!(fixture.inspector.inspect_exe(42).unwrap().is_none());
        assert!(fixture.inspector.inspect_exe(43).unwrap_err().is_gone());
    }

    #[test]
    fn a_process_whose_first_thread_has_ended() {
        let fixture = Fixture::new(&program("go1.27.3", ""));
        fs::create_dir_all(fixture.path("42/task/43")).unwrap();
        fs::rename(fixture.path("42/exe"), fixture.path("42/task/43/exe")).unwrap();
        assert!(fixture.inspector.inspect_exe(42).unwrap().is_some());
    }

    #[test]
    fn a_damaged_program_is_named_with_harmless_text() {
        let fixture = Fixture::new(&program("rust1.95", ""));
        fs::rename(fixture.path("prog"), fixture.path("pr\x1bog")).unwrap();
        fs::remove_file(fixture.path("42/exe")).unwrap();
        symlink(fixture.path("pr\x1bog"), fixture.path("42/exe")).unwrap();
        for _ in 0..2 {
            let text = fixture.inspector.inspect_exe(42).unwrap_err().to_string();
            assert!(
                text.contains("process 42") && text.contains(r"pr\x1bog"),
                "{text}"
            );
            assert!(text.contains("has no Go version"), "{text}");
        }
        assert_eq!(fixture.inspector.files_read(), 1);
    }

    #[test]
    fn libraries_by_mapping_and_by_path() {
        let fixture = Fixture::new(&c_program());
        let c = fixture.file("libs/libc.so", &c_program());
        let go = fixture.file("rootfs/lib/libgo.so", &program("go1.26.6", ""));
        let other = fixture.file("rootfs/lib/replaced.so", &program("go1.25.5", ""));
        symlink(fixture.path("rootfs"), fixture.path("42/root")).unwrap();
        symlink(
            fixture.path("libs/libc.so"),
            fixture.path("42/map_files/7f0000000000-7f0000001000"),
        )
        .unwrap();
        let maps = format!(
            "7f0000000000-7f0000001000 r-xp 00000000 fe:00 {c} /lib/libc.so\n\
             7f0000002000-7f0000003000 r-xp 00000000 fe:00 {go} /lib/libgo.so\n\
             7f0000004000-7f0000005000 r-xp 00000000 fe:00 {} /lib/replaced.so\n\
             7f0000006000-7f0000007000 r-xp 00000000 fe:00 99 /lib/absent.so\n\
             7ffc00000000-7ffc00001000 r-xp 00000000 00:00 0 [vdso]\n",
            other + 1_000_000,
        );
        fixture.file("42/maps", maps.as_bytes());
        let found = fixture.inspector.inspect_libraries(42).unwrap();
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0].library.as_deref(),
            Some(Path::new("/lib/libgo.so"))
        );
        assert_eq!(fixture.inspector.inspect(42).unwrap().unwrap(), found[0]);
        // As the kernel mapped it, though its path is gone.
        symlink(
            fixture.path("rootfs/lib/replaced.so"),
            fixture.path("42/map_files/7f0000004000-7f0000005000"),
        )
        .unwrap();
        assert_eq!(fixture.inspector.inspect_libraries(42).unwrap().len(), 2);
    }

    #[test]
    fn this_process_is_not_go() {
        let inspector = Inspector::new(ProcRoot::default());
        assert!(inspector.inspect(std::process::id()).unwrap().is_none());
    }
}
