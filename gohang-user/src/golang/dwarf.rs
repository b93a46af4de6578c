//! Offsets of structure members from a Go program's debug information.
//!
//! The linker puts every type into a unit of package `runtime`, those of the scheduler
//! in front. The information is read as a stream, usually compressed, until they have
//! been seen; units of other packages are passed over.

use std::collections::HashMap;
use std::io::{self, Read};

use flate2::read::ZlibDecoder;
use gimli::{Abbreviations, AttributeValue, DebugAbbrev, DebugInfo, EndianSlice, LittleEndian};

use super::elf::{Arch, Elf, ElfError};
use super::image::ReadAt;

/// `SHF_COMPRESSED`, and `ELFCOMPRESS_ZLIB` in the header that it stands for.
const SHF_COMPRESSED: u64 = 0x800;
const ELFCOMPRESS_ZLIB: u32 = 1;
/// Bytes of that header (`Elf64_Chdr`).
const COMPRESSION_HEADER: u64 = 24;
/// Bytes in front of a compressed `.zdebug_*` section, which Go wrote until 1.18:
/// `ZLIB` and the size.
const ZDEBUG_HEADER: u64 = 12;
/// Most debug information that is gone through, uncompressed. A package comes after
/// those it imports, so that few precede the runtime; units of C may.
const MAX_INFO: u64 = 64 << 20;
/// How much of a unit is read: the types wanted lie in the first 64 KiB of theirs, and
/// the functions of package `runtime` have about 500 KiB.
const MAX_UNIT: u64 = 2 << 20;
/// Units of package `runtime` that are read; there are about ten, one for every file
/// of assembly.
const MAX_UNITS: u32 = 64;
/// How much of the abbreviations is read; Go's have 500 bytes, those of C units more.
const MAX_ABBREVIATIONS: u64 = 1 << 20;
/// Attributes that are read in all; the runtime's have some hundred thousand. Those
/// without a value take no room in a unit, whose size bounds the others.
const MAX_ATTRIBUTES: usize = 4 << 20;
/// How much of a unit is read to tell whose it is: the name comes first.
const UNIT_START: u64 = 64;
/// The package, as the name of its units.
const PACKAGE: &[u8] = b"runtime";
/// Lengths from here on mark other forms of units (DWARF 5, 7.4).
const LONG_UNIT: u32 = 0xffff_fff0;

/// Offsets in bytes of the members of structures, by structure and member.
pub type Members = HashMap<&'static str, HashMap<String, u64>>;

type Slice<'a> = EndianSlice<'a, LittleEndian>;

/// The members of `structures` (as `runtime.g`) in the debug information of `elf`;
/// `None` when it has none that can be read, or does not describe all of them.
///
/// # Errors
/// When reading the file fails; damaged information counts as none.
pub fn members<R: ReadAt>(
    elf: &Elf<R>,
    structures: &[&'static str],
) -> Result<Option<Members>, ElfError> {
    if !matches!(elf.arch(), Arch::Amd64 | Arch::Arm64) {
        return Ok(None);
    }
    let (Some(info), Some(abbreviations)) = (section(elf, "info")?, section(elf, "abbrev")?) else {
        return Ok(None);
    };
    match Search::new(abbreviations, structures).and_then(|search| search.run(info)) {
        Ok(found) => Ok(found),
        Err(error) if is_damage(&error) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// What the decompressor and the end of a section say, in contrast to the file system.
fn is_damage(error: &io::Error) -> bool {
    use io::ErrorKind::{InvalidData, InvalidInput, UnexpectedEof};
    matches!(error.kind(), InvalidData | InvalidInput | UnexpectedEof)
}

/// The uncompressed contents of a section of debug information; `None` when it is not
/// there, or compressed in another way than Go's linker does.
fn section<'a, R: ReadAt>(
    elf: &'a Elf<R>,
    name: &str,
) -> Result<Option<Box<dyn Read + 'a>>, ElfError> {
    let old = elf.section(&format!(".zdebug_{name}"));
    let Some(section) = elf.section(&format!(".debug_{name}")).or(old) else {
        return Ok(None);
    };
    let Some((offset, size)) = section.file_range() else {
        return Ok(None);
    };
    let header = if section.flags & SHF_COMPRESSED != 0 {
        COMPRESSION_HEADER
    } else if old.is_some_and(|old| old == section) {
        ZDEBUG_HEADER
    } else {
        return Ok(Some(Box::new(Range::new(elf, offset, size))));
    };
    if size < header {
        return Ok(None);
    }
    let raw = elf.bytes(offset, header, "its debug information is cut off")?;
    let zlib = if header == ZDEBUG_HEADER {
        raw.starts_with(b"ZLIB")
    } else {
        raw[..4] == ELFCOMPRESS_ZLIB.to_le_bytes()
    };
    let compressed = Range::new(elf, offset.saturating_add(header), size - header);
    Ok(zlib.then(|| Box::new(ZlibDecoder::new(compressed)) as Box<dyn Read>))
}

/// A range of the file, read from its start.
struct Range<'a, R> {
    elf: &'a Elf<R>,
    at: u64,
    end: u64,
}

impl<'a, R: ReadAt> Range<'a, R> {
    fn new(elf: &'a Elf<R>, offset: u64, size: u64) -> Self {
        Self {
            elf,
            at: offset,
            end: offset.saturating_add(size).min(elf.image().len()),
        }
    }
}

impl<R: ReadAt> Read for Range<'_, R> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let left = self.end.saturating_sub(self.at);
        // No longer than the buffer.
        let len = left.min(buf.len() as u64) as usize;
        self.elf.image().read_exact_at(self.at, &mut buf[..len])?;
        self.at += len as u64;
        Ok(len)
    }
}

/// A pass over the units.
struct Search<'s> {
    table: Vec<u8>,
    structures: &'s [&'static str],
    attributes: usize,
    found: Members,
}

impl<'s> Search<'s> {
    fn new(abbreviations: impl Read, structures: &'s [&'static str]) -> io::Result<Self> {
        let mut table = Vec::new();
        abbreviations
            .take(MAX_ABBREVIATIONS)
            .read_to_end(&mut table)?;
        Ok(Self {
            table,
            structures,
            attributes: MAX_ATTRIBUTES,
            found: Members::new(),
        })
    }

    fn run(mut self, mut info: impl Read) -> io::Result<Option<Members>> {
        let (mut budget, mut units) = (MAX_INFO, MAX_UNITS);
        loop {
            let mut length = [0; 4];
            // At the end of the section this is damage, too: not all has been found.
            info.read_exact(&mut length)?;
            let length = u32::from_le_bytes(length);
            let whole = u64::from(length);
            // The length itself counts, too, or empty units would cost nothing.
            let Some(left) = budget.checked_sub(whole + 4) else {
                return Ok(None);
            };
            if length >= LONG_UNIT {
                return Ok(None);
            }
            budget = left;
            let mut unit = vec![0; 4];
            append(&mut info, &mut unit, UNIT_START.min(whole))?;
            if may_be_runtime(&unit) {
                let rest = MAX_UNIT.min(whole) - (unit.len() as u64 - 4);
                append(&mut info, &mut unit, rest)?;
                // It ends where it was cut off.
                let length = unit.len() as u32 - 4;
                unit[..4].copy_from_slice(&length.to_le_bytes());
                // What is damaged in one unit does not keep from the next.
                let _ = self.collect(&unit);
                if self.found.len() == self.structures.len() {
                    return Ok(Some(self.found));
                }
                units -= 1;
                if units == 0 {
                    return Ok(None);
                }
            }
            let skipped = whole - (unit.len() as u64 - 4);
            if io::copy(&mut (&mut info).take(skipped), &mut io::sink())? < skipped {
                return Ok(None);
            }
        }
    }

    /// Takes the structures that `unit` describes wholly.
    fn collect(&mut self, unit: &[u8]) -> gimli::Result<()> {
        let Some(header) = DebugInfo::new(unit, LittleEndian).units().next()? else {
            return Ok(());
        };
        let abbreviations: Abbreviations =
            header.abbreviations(&DebugAbbrev::new(&self.table, LittleEndian))?;
        let mut entries = header.entries_raw(&abbreviations, None)?;
        let mut current: Option<Structure> = None;
        while !entries.is_empty() {
            let depth = entries.next_depth();
            if current.as_ref().is_some_and(|own| depth <= own.depth)
                && let Some(Structure { name, members, .. }) = current.take()
            {
                self.found.entry(name).or_insert(members);
                if self.found.len() == self.structures.len() {
                    break;
                }
            }
            let Some(abbreviation) = entries.read_abbreviation()? else {
                continue;
            };
            let attributes = abbreviation.attributes();
            self.attributes = self.attributes.saturating_sub(attributes.len());
            if self.attributes == 0 {
                break;
            }
            let member = abbreviation.tag() == gimli::DW_TAG_member
                && current.as_ref().is_some_and(|own| depth == own.depth + 1);
            if !member && abbreviation.tag() != gimli::DW_TAG_structure_type {
                entries.skip_attributes(attributes)?;
                continue;
            }
            let (mut name, mut offset) = (None, None);
            for attribute in attributes {
                let attribute = entries.read_attribute(*attribute)?;
                match (attribute.name(), attribute.value()) {
                    (gimli::DW_AT_name, AttributeValue::String(text)) => name = Some(text),
                    (gimli::DW_AT_data_member_location, _) => offset = attribute.udata_value(),
                    _ => {}
                }
            }
            let name: Option<Slice<'_>> = name;
            match (&mut current, name) {
                (Some(own), Some(name)) if member => {
                    if let Some(offset) = offset {
                        own.members
                            .insert(name.to_string_lossy().into_owned(), offset);
                    }
                }
                (None, Some(name)) => {
                    let wanted = self
                        .structures
                        .iter()
                        .find(|own| own.as_bytes() == name.slice());
                    current = wanted.map(|name| Structure {
                        name,
                        depth,
                        members: HashMap::new(),
                    });
                }
                _ => {}
            }
        }
        Ok(())
    }
}

/// A structure whose members are being read.
struct Structure {
    name: &'static str,
    depth: isize,
    members: HashMap<String, u64>,
}

/// Adds `len` bytes of `from` to `to`.
fn append(from: &mut impl Read, to: &mut Vec<u8>, len: u64) -> io::Result<()> {
    if from.take(len).read_to_end(to)? as u64 == len {
        Ok(())
    } else {
        Err(io::ErrorKind::UnexpectedEof.into())
    }
}

/// Whether the name at the start of a unit can be that of the package.
fn may_be_runtime(unit: &[u8]) -> bool {
    unit.windows(PACKAGE.len() + 1)
        .any(|part| part.starts_with(PACKAGE) && part.ends_with(&[0]))
}
