//! The build information that every Go linker since 1.13 leaves in a program.

use super::elf::{Elf, ElfError, Segment};
use super::image::ReadAt;
use super::modinfo::ModInfo;
use super::relocations;
use super::version::GoVersion;

/// Name of the section.
const SECTION: &str = ".go.buildinfo";
/// First bytes of the block, and what it is aligned to in memory.
const MAGIC: [u8; 14] = *b"\xff Go buildinf:";
const ALIGN: u64 = 16;
/// Length of the block's header, before the strings.
const HEADER: u64 = 32;
/// Flag at byte 15: the strings follow the header (1.18 and later) instead of being
/// pointed to.
const FLAG_INLINE: u8 = 2;

/// Longest version string.
const MAX_VERSION: u64 = 1024;
/// Longest module information; a program with a thousand dependencies has about 100 KiB.
const MAX_MODINFO: u64 = 4 << 20;
/// How much data is searched for the block where no section leads to it.
const MAX_SEARCH: u64 = 16 << 20;
/// Read at a time while searching; a multiple of [`ALIGN`].
const CHUNK: u64 = 24 * 4096;

/// What a Go program says about its own making.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BuildInfo {
    /// The Go version.
    pub version: GoVersion,
    /// Main module and build settings.
    pub info: ModInfo,
}

impl BuildInfo {
    /// The build information of `elf`; `None` when it is not a Go program.
    ///
    /// The block is found by its section, or, as the section table may be stripped,
    /// by a search of the writable data.
    ///
    /// # Errors
    /// When the block is there but cut off or contradicts itself, or reading fails.
    pub fn read<R: ReadAt>(elf: &Elf<R>) -> Result<Option<Self>, ElfError> {
        if let Some(section) = elf.section(SECTION)
            && let Some((offset, size)) = section.file_range()
        {
            let end = offset.saturating_add(size).min(elf.image().len());
            if let Some(block) = Block::at(elf, offset, end)? {
                return block.parse().map(Some);
            }
        }
        let data = elf
            .segments()
            .iter()
            .filter(|s| s.writable && !s.executable);
        let mut budget = MAX_SEARCH;
        for segment in data {
            if let Some(found) = search(elf, *segment, &mut budget)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

/// Looks for a block in the file's part of `segment`, at most `budget` bytes of it.
fn search<R: ReadAt>(
    elf: &Elf<R>,
    segment: Segment,
    budget: &mut u64,
) -> Result<Option<BuildInfo>, ElfError> {
    let end = segment
        .offset
        .saturating_add(segment.file_size)
        .min(elf.image().len());
    let skip = segment.vaddr.wrapping_neg() % ALIGN;
    let mut at = segment.offset.saturating_add(skip);
    while at < end && *budget > 0 {
        let len = CHUNK.min(end - at).min(*budget);
        let chunk = elf.bytes(at, len, "its data segment is cut off")?;
        // The magic lies within one aligned unit, so none spans two chunks.
        for (index, unit) in chunk.chunks(ALIGN as usize).enumerate() {
            if !unit.starts_with(&MAGIC) {
                continue;
            }
            // Data may hold the magic by chance: go on where it leads nowhere.
            match Block::at(elf, at + index as u64 * ALIGN, end)
                .and_then(|block| block.map(|block| block.parse()).transpose())
            {
                Ok(Some(found)) => return Ok(Some(found)),
                Ok(None) | Err(ElfError::Damaged(_) | ElfError::NotElf) => {}
                Err(error) => return Err(error),
            }
        }
        *budget -= len;
        at += len;
    }
    Ok(None)
}

/// A block whose header has been read.
struct Block<'a, R> {
    elf: &'a Elf<R>,
    header: Vec<u8>,
    offset: u64,
    /// The end of the section or segment it lies in, as a place in the file.
    end: u64,
}

impl<'a, R: ReadAt> Block<'a, R> {
    /// The block at `offset` of the file, `None` when there is none.
    fn at(elf: &'a Elf<R>, offset: u64, end: u64) -> Result<Option<Self>, ElfError> {
        if end.saturating_sub(offset) < HEADER {
            return Ok(None);
        }
        let header = elf.bytes(offset, HEADER, "its build information is cut off")?;
        Ok(header.starts_with(&MAGIC).then_some(Self {
            elf,
            header,
            offset,
            end,
        }))
    }

    fn parse(&self) -> Result<BuildInfo, ElfError> {
        let (version, modinfo) = if self.header[15] & FLAG_INLINE != 0 {
            self.inline_strings()?
        } else {
            self.pointed_strings()?
        };
        let version = String::from_utf8_lossy(&version);
        let version = GoVersion::parse(&version)
            .map_err(|_| ElfError::Damaged("its build information has no Go version"))?;
        // 16 random-looking bytes on both sides mark the text in memory.
        let text = match modinfo.len() {
            len @ 33.. if modinfo[len - 17] == b'\n' => &modinfo[16..len - 16],
            _ => &[],
        };
        let info = ModInfo::parse(&String::from_utf8_lossy(text));
        Ok(BuildInfo { version, info })
    }

    /// 1.18 and later: both strings follow the header, each after its length.
    fn inline_strings(&self) -> Result<(Vec<u8>, Vec<u8>), ElfError> {
        let (version, at) = self.inline_string(self.offset + HEADER, MAX_VERSION)?;
        let (modinfo, _) = self.inline_string(at, MAX_MODINFO)?;
        Ok((version, modinfo))
    }

    /// The string whose length stands at `at`, and where it ends.
    fn inline_string(&self, at: u64, max: u64) -> Result<(Vec<u8>, u64), ElfError> {
        let damaged = "a string of its build information is cut off";
        let raw = self
            .elf
            .bytes(at, 10.min(self.end.saturating_sub(at)), damaged)?;
        let (len, used) = uvarint(&raw).ok_or(ElfError::Damaged(damaged))?;
        let start = at + used;
        if len > max || len > self.end.saturating_sub(start) {
            return Err(ElfError::Damaged(
                "a string of its build information is too long",
            ));
        }
        Ok((self.elf.bytes(start, len, damaged)?, start + len))
    }

    /// Before 1.18: the header points to two Go strings, which point to their bytes.
    fn pointed_strings(&self) -> Result<(Vec<u8>, Vec<u8>), ElfError> {
        let size = self.elf.pointer_size();
        if u64::from(self.header[14]) != size {
            return Err(ElfError::Damaged(
                "its build information has another pointer size",
            ));
        }
        let slot = self.offset + 16;
        let strings = self.pointers([self.vaddr(slot)?, self.vaddr(slot + size)?])?;
        let [version, modinfo] = self.pointers(strings)?;
        Ok((
            self.pointed_string(strings[0], version, MAX_VERSION)?,
            self.pointed_string(strings[1], modinfo, MAX_MODINFO)?,
        ))
    }

    /// The bytes at address `data` whose number stands behind the pointer at `string`.
    fn pointed_string(&self, string: u64, data: u64, max: u64) -> Result<Vec<u8>, ElfError> {
        let damaged = "a string of its build information is not in the file";
        let len = self.read_word(string.saturating_add(self.elf.pointer_size()))?;
        if len > max {
            return Err(ElfError::Damaged(
                "a string of its build information is too long",
            ));
        }
        if len == 0 {
            return Ok(Vec::new());
        }
        let offset = self
            .elf
            .file_offset(data, len)
            .ok_or(ElfError::Damaged(damaged))?;
        self.elf.bytes(offset, len, damaged)
    }

    /// The pointers stored at two addresses. In a position-independent program they
    /// are relocations, and the file may hold zeros in their place.
    fn pointers(&self, slots: [u64; 2]) -> Result<[u64; 2], ElfError> {
        let mut values = [self.read_word(slots[0])?, self.read_word(slots[1])?];
        if self.elf.is_position_independent() {
            relocations::apply(self.elf, slots, &mut values)?;
        }
        Ok(values)
    }

    fn read_word(&self, vaddr: u64) -> Result<u64, ElfError> {
        let damaged = "a pointer of its build information leads out of the file";
        let size = self.elf.pointer_size();
        let offset = self
            .elf
            .file_offset(vaddr, size)
            .ok_or(ElfError::Damaged(damaged))?;
        Ok(self.elf.word(&self.elf.bytes(offset, size, damaged)?, 0))
    }

    /// The address of a place in the file.
    fn vaddr(&self, offset: u64) -> Result<u64, ElfError> {
        self.elf
            .segments()
            .iter()
            .find_map(|segment| {
                let inside = offset.checked_sub(segment.offset)?;
                (inside < segment.file_size).then(|| segment.vaddr.wrapping_add(inside))
            })
            .ok_or(ElfError::Damaged("its build information is not loaded"))
    }
}

/// An unsigned LEB128 number at the start of `raw`, and how many bytes it took.
fn uvarint(raw: &[u8]) -> Option<(u64, u64)> {
    let mut value = 0_u64;
    for (index, byte) in raw.iter().enumerate().take(10) {
        let part = u64::from(byte & 0x7f);
        let shifted = part.checked_shl(7 * index as u32)?;
        if shifted >> (7 * index) != part {
            return None;
        }
        value |= shifted;
        if byte & 0x80 == 0 {
            return Some((value, index as u64 + 1));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::synthetic::{Builder, inline_block, pointed_program, program};
    use super::*;
    use proptest::prelude::*;

    const MODINFO: &str = "path\texample.org/x\nbuild\t-buildmode=exe\n";

    fn read(file: &[u8]) -> Result<Option<BuildInfo>, ElfError> {
        BuildInfo::read(&Elf::parse(file)?)
    }

    #[test]
    fn strings_that_follow_the_header() {
        let info = read(&program("go1.27.3", MODINFO)).unwrap().unwrap();
        assert_eq!(info.version.raw(), "go1.27.3");
        assert_eq!(info.info.path.as_deref(), Some("example.org/x"));
        // Longer than one byte of length.
        let long = format!("{MODINFO}build\t-tags={}\n", "t".repeat(100_000));
        let info = read(&program("devel go1.28-abc", &long)).unwrap().unwrap();
        assert_eq!(info.info.setting("-tags").map(str::len), Some(100_000));
        let info = read(&program("go1.18", "")).unwrap().unwrap();
        assert_eq!(info.info, ModInfo::default());
    }

    #[test]
    fn strings_that_are_pointed_to() {
        for (wide, big) in [(true, false), (true, true), (false, false), (false, true)] {
            for relocated in [false, true] {
                let file = pointed_program(wide, big, relocated, "go1.17.13", MODINFO);
                let info = read(&file).unwrap().unwrap();
                assert_eq!(info.version.raw(), "go1.17.13", "{wide} {big} {relocated}");
                assert_eq!(info.info.build_mode(), Some("exe"));
            }
        }
    }

    #[test]
    fn without_sections_the_data_is_searched() {
        // A block that only looks like one comes first.
        let decoy = [&MAGIC[..], &[8, 2], &[0; 16], &[3], b"xyz"].concat();
        for padding in [0, 16, CHUNK as usize - 32, CHUNK as usize, 1 << 20] {
            let file = Builder::new(true, false)
                .data_section(".data", &[&decoy[..], &vec![7; padding]].concat())
                .data_section(SECTION, &inline_block("go1.25.5", MODINFO))
                .without_sections()
                .build();
            let info = read(&file).unwrap().unwrap();
            assert_eq!(info.version.raw(), "go1.25.5", "{padding}");
        }
        // Unaligned, it is not the linker's.
        let file = Builder::new(true, false)
            .data_section(
                ".data",
                &[&[0; 8], &inline_block("go1.25.5", "")[..]].concat(),
            )
            .without_sections()
            .build();
        assert!(read(&file).unwrap().is_none());
    }

    #[test]
    fn other_programs_are_not_go() {
        let file = Builder::new(true, false)
            .data_section(".data", &[0; 500])
            .build();
        assert!(read(&file).unwrap().is_none());
    }

    #[test]
    fn a_damaged_block_is_an_error_and_asks_for_no_memory() {
        let mut block = inline_block("go1.27.3", MODINFO);
        block.truncate(40);
        let file = Builder::new(true, false)
            .data_section(SECTION, &block)
            .build();
        assert!(matches!(read(&file), Err(ElfError::Damaged(_))));
        // Lengths of 2^63 and beyond 64 bits.
        for length in [[0x80; 9].as_slice(), &[0xff; 10]] {
            let mut block = inline_block("", "");
            block.truncate(HEADER as usize);
            block.extend_from_slice(length);
            block.extend_from_slice(&[1; 20]);
            let file = Builder::new(true, false)
                .data_section(SECTION, &block)
                .build();
            assert!(matches!(read(&file), Err(ElfError::Damaged(_))));
        }
        let file = Builder::new(true, false)
            .data_section(SECTION, &inline_block("rust1.95", MODINFO))
            .build();
        assert!(matches!(read(&file), Err(ElfError::Damaged(_))));
    }

    #[test]
    fn numbers_of_variable_length() {
        assert_eq!(uvarint(&[0]), Some((0, 1)));
        assert_eq!(uvarint(&[0x7f, 9]), Some((127, 1)));
        assert_eq!(uvarint(&[0x80, 1]), Some((128, 2)));
        let mut max = [0xff; 10];
        max[9] = 1;
        assert_eq!(uvarint(&max), Some((u64::MAX, 10)));
        max[9] = 2;
        assert_eq!(uvarint(&max), None);
        assert_eq!(uvarint(&[0x80]), None);
        assert_eq!(uvarint(&[]), None);
    }

    proptest! {
        #[test]
        fn damaged_programs_never_panic(
            kind in 0..3,
            cut: prop::sample::Index,
            edits in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..8),
        ) {
            let mut file = match kind {
                0 => program("go1.27.3", MODINFO),
                1 => pointed_program(true, false, true, "go1.17.13", MODINFO),
                _ => pointed_program(false, true, false, "go1.17.13", MODINFO),
            };
            // Most of the file is padding: aim at the headers and the data.
            let interesting: Vec<usize> = (0..file.len()).filter(|&i| file[i] != 0).collect();
            for (at, byte) in edits {
                file[interesting[at.index(interesting.len())]] = byte;
            }
            let _ = read(&file);
            file.truncate(cut.index(file.len()));
            let _ = read(&file);
        }

        #[test]
        fn any_bytes_behind_an_elf_header(tail in prop::collection::vec(any::<u8>(), 0..300)) {
            for head in [&b"\x7fELF\x02\x01"[..], b"\x7fELF\x01\x02"] {
                let _ = read(&[head, &tail[..]].concat());
            }
        }
    }
}
