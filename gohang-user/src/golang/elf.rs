//! A small ELF reader with bounded effort.
//!
//! It reads the tables and nothing else; every count and size of the file is checked
//! against a limit and against the file's length before memory is asked for.

use std::io;

use super::image::ReadAt;

/// Most program headers that are read; real programs have about ten.
const MAX_SEGMENTS: u64 = 1024;
/// Most section headers that are read; real programs have about forty, and a few
/// hundred when every package has its own.
const MAX_SECTIONS: u64 = 16 * 1024;
/// Longest table of section names.
const MAX_NAMES: u64 = 1 << 20;

/// `PT_LOAD`.
const PT_LOAD: u32 = 1;
/// `PT_DYNAMIC`.
const PT_DYNAMIC: u32 = 2;
/// `SHT_NOBITS`: the section has no bytes in the file.
const SHT_NOBITS: u32 = 8;

/// Why a file cannot be read as an ELF program.
#[derive(Debug, thiserror::Error)]
pub enum ElfError {
    /// It does not begin as an ELF file does.
    #[error("it is not an ELF file")]
    NotElf,
    /// A header or table is cut off, contradicts itself or is absurdly large.
    #[error("its ELF structure is damaged: {0}")]
    Damaged(&'static str),
    /// The file system failed.
    #[error("reading it failed: {0}")]
    Io(#[from] io::Error),
}

/// Processor architecture of an ELF file.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Arch {
    /// 64-bit x86, Go's `amd64`.
    Amd64,
    /// 64-bit ARM, Go's `arm64`.
    Arm64,
    /// Anything else, by its `e_machine` number.
    Other(u16),
}

impl Arch {
    /// The architecture this build of gohang runs on.
    #[must_use]
    pub const fn host() -> Self {
        if cfg!(target_arch = "x86_64") {
            Self::Amd64
        } else if cfg!(target_arch = "aarch64") {
            Self::Arm64
        } else {
            Self::Other(0)
        }
    }
}

/// A loadable part of the file (`PT_LOAD`).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Segment {
    /// Where it begins in the file.
    pub offset: u64,
    /// Where it begins in memory, before the load bias.
    pub vaddr: u64,
    /// How many bytes of it the file holds.
    pub file_size: u64,
    /// Whether it may be written to.
    pub writable: bool,
    /// Whether it may be executed.
    pub executable: bool,
}

/// A section header.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Section {
    /// Its name, e.g. `.go.buildinfo`.
    pub name: String,
    /// Its `sh_type`.
    pub kind: u32,
    /// Its `sh_flags`.
    pub flags: u64,
    /// Its `sh_link`, the number of a section that it goes with.
    pub link: u32,
    /// Where it lies in memory, before the load bias; 0 when it is not loaded.
    pub vaddr: u64,
    /// Where it begins in the file.
    pub offset: u64,
    /// Its size in bytes.
    pub size: u64,
}

impl Section {
    /// The bytes it has in the file: start and length, `None` when it has none.
    #[must_use]
    pub fn file_range(&self) -> Option<(u64, u64)> {
        (self.kind != SHT_NOBITS).then_some((self.offset, self.size))
    }
}

/// Loadable segments, and the dynamic table's place and size in the file.
type SegmentTable = (Vec<Segment>, Option<(u64, u64)>);

/// An ELF file's headers, over the bytes they were read from.
#[derive(Debug)]
pub struct Elf<R> {
    image: R,
    wide: bool,
    big_endian: bool,
    arch: Arch,
    position_independent: bool,
    dynamic: Option<(u64, u64)>,
    segments: Vec<Segment>,
    sections: Vec<Section>,
}

impl<R: ReadAt> Elf<R> {
    /// Reads the headers of `image`.
    ///
    /// A file whose section table is missing or unusable is accepted without
    /// sections, because the kernel runs it all the same.
    ///
    /// # Errors
    /// [`ElfError::NotElf`], or what is wrong with the headers.
    pub fn parse(image: R) -> Result<Self, ElfError> {
        let mut ident = [0; 16];
        if image.len() < 16 {
            return Err(ElfError::NotElf);
        }
        image.read_exact_at(0, &mut ident)?;
        if ident[..4] != *b"\x7fELF" {
            return Err(ElfError::NotElf);
        }
        let wide = match ident[4] {
            1 => false,
            2 => true,
            _ => return Err(ElfError::Damaged("its class is neither 32 nor 64 bit")),
        };
        let big_endian = match ident[5] {
            1 => false,
            2 => true,
            _ => {
                return Err(ElfError::Damaged(
                    "its byte order is neither little nor big",
                ));
            }
        };
        let mut elf = Self {
            image,
            wide,
            big_endian,
            arch: Arch::Other(0),
            position_independent: false,
            dynamic: None,
            segments: Vec::new(),
            sections: Vec::new(),
        };
        let header = elf.bytes(0, if wide { 64 } else { 52 }, "its header is cut off")?;
        let at = |narrow_at: usize, wide_at: usize| if wide { wide_at } else { narrow_at };
        elf.position_independent = elf.u16(&header, 16) == 3;
        elf.arch = match (elf.u16(&header, 18), wide, big_endian) {
            (62, true, false) => Arch::Amd64,
            (183, true, false) => Arch::Arm64,
            (machine, ..) => Arch::Other(machine),
        };
        let phoff = elf.word(&header, at(28, 32));
        let phnum = u64::from(elf.u16(&header, at(44, 56)));
        if phnum > 0 && usize::from(elf.u16(&header, at(42, 54))) != at(32, 56) {
            return Err(ElfError::Damaged(
                "its program headers have an unknown size",
            ));
        }
        (elf.segments, elf.dynamic) = elf.read_segments(phoff, phnum)?;
        let shoff = elf.word(&header, at(32, 40));
        let sections = (
            u64::from(elf.u16(&header, at(48, 60))),
            u64::from(elf.u16(&header, at(50, 62))),
        );
        if shoff != 0 && usize::from(elf.u16(&header, at(46, 58))) == at(40, 64) {
            elf.sections = match elf.read_sections(shoff, sections) {
                Ok(sections) => sections,
                Err(ElfError::Damaged(_)) => Vec::new(),
                Err(error) => return Err(error),
            };
        }
        Ok(elf)
    }

    /// The bytes it was read from.
    pub fn image(&self) -> &R {
        &self.image
    }

    /// Its architecture.
    pub fn arch(&self) -> Arch {
        self.arch
    }

    /// Whether it can be loaded at any address (PIE, or a shared library).
    pub fn is_position_independent(&self) -> bool {
        self.position_independent
    }

    /// Its loadable segments, in the file's order.
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Its sections, in the file's order; none when the table was stripped.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The first section called `name`.
    pub fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// Where the `len` bytes at address `vaddr` lie in the file.
    pub fn file_offset(&self, vaddr: u64, len: u64) -> Option<u64> {
        self.segments.iter().find_map(|segment| {
            let inside = vaddr.checked_sub(segment.vaddr)?;
            let left = segment.file_size.checked_sub(inside)?;
            if len > left {
                None
            } else {
                segment.offset.checked_add(inside)
            }
        })
    }

    /// Reads `len` bytes at `offset` of the file.
    ///
    /// # Errors
    /// [`ElfError::Damaged`] with `what` when they are not wholly inside it.
    pub(crate) fn bytes(
        &self,
        offset: u64,
        len: u64,
        what: &'static str,
    ) -> Result<Vec<u8>, ElfError> {
        let end = offset.checked_add(len).ok_or(ElfError::Damaged(what))?;
        if end > self.image.len() {
            return Err(ElfError::Damaged(what));
        }
        let len = usize::try_from(len).map_err(|_| ElfError::Damaged(what))?;
        let mut bytes = vec![0; len];
        self.image.read_exact_at(offset, &mut bytes)?;
        Ok(bytes)
    }

    /// The dynamic linker's table: where it begins in the file, and its size.
    pub(crate) fn dynamic(&self) -> Option<(u64, u64)> {
        self.dynamic
    }

    /// Bytes of a pointer.
    pub(crate) fn pointer_size(&self) -> u64 {
        if self.wide { 8 } else { 4 }
    }

    /// The pointer-sized number at `at` of `raw`; 0 beyond its end.
    pub(crate) fn word(&self, raw: &[u8], at: usize) -> u64 {
        if self.wide {
            self.number::<8>(raw, at)
        } else {
            self.number::<4>(raw, at)
        }
    }

    fn u16(&self, raw: &[u8], at: usize) -> u16 {
        // Two bytes always fit.
        self.number::<2>(raw, at) as u16
    }

    fn u32(&self, raw: &[u8], at: usize) -> u32 {
        // Four bytes always fit.
        self.number::<4>(raw, at) as u32
    }

    fn number<const N: usize>(&self, raw: &[u8], at: usize) -> u64 {
        let part = raw.get(at..).and_then(|rest| rest.first_chunk::<N>());
        let fold = |sum: u64, byte: &u8| sum << 8 | u64::from(*byte);
        match part {
            None => 0,
            Some(part) if self.big_endian => part.iter().fold(0, fold),
            Some(part) => part.iter().rev().fold(0, fold),
        }
    }

    /// The loadable segments, and where the dynamic table lies in the file.
    fn read_segments(&self, offset: u64, count: u64) -> Result<SegmentTable, ElfError> {
        if count > MAX_SEGMENTS {
            return Err(ElfError::Damaged("it has too many program headers"));
        }
        let entry = if self.wide { 56 } else { 32 };
        let table = self.bytes(
            offset,
            count * entry as u64,
            "its program headers are cut off",
        )?;
        let at = |narrow: usize, wide: usize| if self.wide { wide } else { narrow };
        let mut segments = Vec::new();
        let mut dynamic = None;
        for raw in table.chunks_exact(entry) {
            let flags = self.u32(raw, at(24, 4));
            let segment = Segment {
                offset: self.word(raw, at(4, 8)),
                vaddr: self.word(raw, at(8, 16)),
                file_size: self.word(raw, at(16, 32)),
                writable: flags & 2 != 0,
                executable: flags & 1 != 0,
            };
            match self.u32(raw, 0) {
                PT_LOAD => segments.push(segment),
                PT_DYNAMIC => dynamic = Some((segment.offset, segment.file_size)),
                _ => {}
            }
        }
        Ok((segments, dynamic))
    }

    /// `counts` are the header's number of sections and index of the names' section.
    fn read_sections(&self, offset: u64, counts: (u64, u64)) -> Result<Vec<Section>, ElfError> {
        let entry = if self.wide { 64 } else { 40 };
        let (mut count, mut names_at) = counts;
        // Numbers that do not fit the header stand in the first section header.
        if count == 0 || names_at == 0xffff {
            let first = self.bytes(offset, entry as u64, "its section headers are cut off")?;
            if count == 0 {
                count = self.word(&first, if self.wide { 32 } else { 20 });
            }
            if names_at == 0xffff {
                names_at = u64::from(self.u32(&first, if self.wide { 40 } else { 24 }));
            }
        }
        if count > MAX_SECTIONS {
            return Err(ElfError::Damaged("it has too many sections"));
        }
        let table = self.bytes(
            offset,
            count * entry as u64,
            "its section headers are cut off",
        )?;
        let mut sections: Vec<(u32, Section)> = table
            .chunks_exact(entry)
            .map(|raw| {
                let at = |narrow: usize, wide: usize| if self.wide { wide } else { narrow };
                let section = Section {
                    name: String::new(),
                    kind: self.u32(raw, 4),
                    flags: self.word(raw, 8),
                    link: self.u32(raw, at(24, 40)),
                    vaddr: self.word(raw, at(12, 16)),
                    offset: self.word(raw, at(16, 24)),
                    size: self.word(raw, at(20, 32)),
                };
                (self.u32(raw, 0), section)
            })
            .collect();
        let names = usize::try_from(names_at)
            .ok()
            .and_then(|at| sections.get(at))
            .and_then(|(_, section)| section.file_range())
            .ok_or(ElfError::Damaged("its section names are missing"))?;
        if names.1 > MAX_NAMES {
            return Err(ElfError::Damaged("its section names are too long"));
        }
        let names = self.bytes(names.0, names.1, "its section names are cut off")?;
        for (name_at, section) in &mut sections {
            // An index that does not fit usize does not lie in the table either.
            let rest = usize::try_from(*name_at)
                .ok()
                .and_then(|at| names.get(at..));
            let name = rest.unwrap_or_default().split(|&byte| byte == 0).next();
            section.name = String::from_utf8_lossy(name.unwrap_or_default()).into_owned();
        }
        Ok(sections.into_iter().map(|(_, section)| section).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::Builder;
    use super::*;

    #[test]
    fn tables_of_all_four_kinds() {
        for (wide, big) in [(true, false), (true, true), (false, false), (false, true)] {
            let file = Builder::new(wide, big)
                .data_section(".thing", b"some data")
                .build();
            let elf = Elf::parse(&file[..]).unwrap();
            let section = elf.section(".thing").unwrap();
            let (offset, size) = section.file_range().unwrap();
            assert_eq!(elf.bytes(offset, size, "x").unwrap(), b"some data");
            assert_eq!(elf.file_offset(section.vaddr, size), Some(offset));
            assert_eq!(elf.file_offset(section.vaddr, 1 << 40), None);
            assert_eq!(elf.file_offset(3, 1), None);
            assert!(elf.segments().iter().any(|s| s.writable && !s.executable));
            assert!(elf.segments().iter().any(|s| s.executable && !s.writable));
            let want = if wide && !big {
                Arch::Amd64
            } else {
                Arch::Other(62)
            };
            assert_eq!(elf.arch(), want);
        }
    }

    #[test]
    fn architectures() {
        for (machine, wide, want) in [
            (62, true, Arch::Amd64),
            (183, true, Arch::Arm64),
            (3, false, Arch::Other(3)),
            // x32: amd64's machine number with 32-bit pointers.
            (62, false, Arch::Other(62)),
        ] {
            let file = Builder::new(wide, false).machine(machine).build();
            assert_eq!(Elf::parse(&file[..]).unwrap().arch(), want);
        }
    }

    #[test]
    fn what_is_not_elf_says_so() {
        for raw in [
            &b""[..],
            b"#!/bin/sh\nexit 0\n",
            b"\x7fELG\x02\x01\x01\0\0\0\0\0\0\0\0\0",
        ] {
            assert!(matches!(Elf::parse(raw), Err(ElfError::NotElf)));
        }
        let cut = b"\x7fELF\x02\x01\x01\0\0\0\0\0\0\0\0\0\0";
        assert!(matches!(Elf::parse(&cut[..]), Err(ElfError::Damaged(_))));
    }

    #[test]
    fn hostile_sizes_are_refused_or_ignored_without_memory() {
        let file = Builder::new(true, false)
            .data_section(".thing", b"x")
            .build();
        // e_shnum 0 and a section count in the first header that no file could hold.
        let mut many = file.clone();
        let shoff =
            usize::try_from(u64::from_le_bytes(*many[40..].first_chunk().unwrap())).unwrap();
        many[60..62].fill(0);
        many[shoff + 32..shoff + 40].fill(0xff);
        assert!(Elf::parse(&many[..]).unwrap().sections().is_empty());
        // Names of a size no file could hold.
        let mut names = file.clone();
        let index = usize::from(u16::from_le_bytes([names[62], names[63]]));
        names[shoff + 64 * index + 32..][..8].fill(0xff);
        assert!(Elf::parse(&names[..]).unwrap().sections().is_empty());
        // Program headers beyond the end.
        let mut segments = file;
        segments[32..40].fill(0xff);
        assert!(matches!(
            Elf::parse(&segments[..]),
            Err(ElfError::Damaged(_))
        ));
    }
}
