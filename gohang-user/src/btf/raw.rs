//! The bytes: header, type records and strings, with every access checked.
//!
//! The format is that of the kernel's `include/uapi/linux/btf.h`. Sizes and bit
//! fields below are from there.

use std::ops::Range;

use super::error::BtfError;

/// No kernel's BTF is near this: a distribution's vmlinux has 5 to 10 MB.
pub(super) const MAX_BYTES: usize = 64 << 20;

const MAGIC: u16 = 0xeb9f;
const VERSION: u8 = 1;
/// The header of all kernels so far.
const HEADER_LEN: u32 = 24;
/// The header that also has `layout_off` and `layout_len`.
const HEADER_LEN_LAYOUT: u32 = 32;
/// `struct btf_type`.
const TYPE_LEN: usize = 12;
/// `struct btf_layout`: info_sz u8, elem_sz u8, flags u16.
const LAYOUT_LEN: usize = 4;

/// `BTF_KIND_*`.
pub(super) mod kind {
    pub const INT: u8 = 1;
    pub const PTR: u8 = 2;
    pub const ARRAY: u8 = 3;
    pub const STRUCT: u8 = 4;
    pub const UNION: u8 = 5;
    pub const ENUM: u8 = 6;
    pub const FWD: u8 = 7;
    pub const TYPEDEF: u8 = 8;
    pub const VOLATILE: u8 = 9;
    pub const CONST: u8 = 10;
    pub const RESTRICT: u8 = 11;
    pub const FUNC: u8 = 12;
    pub const FUNC_PROTO: u8 = 13;
    pub const VAR: u8 = 14;
    pub const DATASEC: u8 = 15;
    pub const FLOAT: u8 = 16;
    pub const DECL_TAG: u8 = 17;
    pub const TYPE_TAG: u8 = 18;
    pub const ENUM64: u8 = 19;
}

/// Bytes behind `struct btf_type`: those fixed, and those for each of `vlen`.
/// None for a kind that is not known.
fn tail_len(kind: u8) -> Option<(usize, usize)> {
    Some(match kind {
        kind::INT | kind::VAR | kind::DECL_TAG => (4, 0),
        kind::ARRAY => (12, 0),
        kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => (0, 12),
        kind::ENUM | kind::FUNC_PROTO => (0, 8),
        kind::PTR
        | kind::FWD
        | kind::TYPEDEF
        | kind::VOLATILE
        | kind::CONST
        | kind::RESTRICT
        | kind::FUNC
        | kind::FLOAT
        | kind::TYPE_TAG => (0, 0),
        _ => return None,
    })
}

/// One type record.
#[derive(Clone, Copy, Debug)]
pub(super) struct Type<'a> {
    pub id: u32,
    pub name_off: u32,
    pub kind: u8,
    pub kind_flag: bool,
    /// Size in bytes or the id of another type, by kind.
    pub size_or_type: u32,
    /// What stands behind the record.
    tail: &'a [u8],
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub name_off: u32,
    pub type_id: u32,
    pub bit_offset: u32,
    /// Zero for a member that is not a bitfield, or is one in the old encoding.
    pub bitfield_size: u8,
}

impl<'a> Type<'a> {
    /// The words of the tail, `N` at a time.
    fn words<const N: usize>(&self) -> impl Iterator<Item = [u32; N]> + use<'a, N> {
        self.tail.chunks_exact(4 * N).map(|chunk| {
            let mut words = [0; N];
            for (word, bytes) in words.iter_mut().zip(chunk.chunks_exact(4)) {
                *word = u32_le(bytes);
            }
            words
        })
    }

    /// Members of a struct or union; of other kinds, none.
    pub(super) fn members(&self) -> impl Iterator<Item = Member> + use<'a> {
        let packed = self.kind_flag;
        let is_struct = matches!(self.kind, kind::STRUCT | kind::UNION);
        self.words::<3>()
            .filter(move |_| is_struct)
            .map(move |[name_off, type_id, offset]| {
                let (bit_offset, size) = if packed {
                    (offset & 0xff_ffff, offset >> 24)
                } else {
                    (offset, 0)
                };
                Member {
                    name_off,
                    type_id,
                    bit_offset,
                    bitfield_size: size as u8,
                }
            })
    }

    /// Name offset and value of each enumerator; of other kinds, none. A value above
    /// `i64::MAX` has none.
    pub(super) fn enumerators(&self) -> Vec<(u32, Option<i64>)> {
        let signed = self.kind_flag;
        match self.kind {
            kind::ENUM => self
                .words::<2>()
                .map(|[name, value]| {
                    let value = if signed {
                        i64::from(value as i32)
                    } else {
                        i64::from(value)
                    };
                    (name, Some(value))
                })
                .collect(),
            kind::ENUM64 => self
                .words::<3>()
                .map(|[name, low, high]| {
                    let value = u64::from(high) << 32 | u64::from(low);
                    (
                        name,
                        if signed {
                            Some(value as i64)
                        } else {
                            i64::try_from(value).ok()
                        },
                    )
                })
                .collect(),
            _ => Vec::new(),
        }
    }

    /// Type ids of a function prototype's parameters.
    pub(super) fn params(&self) -> Vec<u32> {
        match self.kind {
            kind::FUNC_PROTO => self.words::<2>().map(|[_, type_id]| type_id).collect(),
            _ => Vec::new(),
        }
    }

    /// Of an integer: offset and number of its bits inside its bytes.
    pub(super) fn int_bits(&self) -> Option<(u8, u8)> {
        let [data] = self
            .words::<1>()
            .next()
            .filter(|_| self.kind == kind::INT)?;
        Some(((data >> 16) as u8, data as u8))
    }

    /// Of an array: the element's type and the number of elements.
    pub(super) fn array(&self) -> Option<(u32, u32)> {
        let [element, _index, count] = self
            .words::<3>()
            .next()
            .filter(|_| self.kind == kind::ARRAY)?;
        Some((element, count))
    }
}

/// Checked type records and strings.
#[derive(Debug)]
pub(super) struct Raw {
    data: Vec<u8>,
    strings: Range<usize>,
    /// Where each type starts in `data`, and its full length; type 1 comes first.
    records: Vec<(u32, u32)>,
}

impl Raw {
    /// Checks the header and walks all records once.
    pub(super) fn parse(data: Vec<u8>) -> Result<Self, BtfError> {
        if data.len() > MAX_BYTES {
            return Err(BtfError::TooLarge {
                max_bytes: MAX_BYTES,
            });
        }
        let header = Header::parse(&data)?;
        if data[header.strings.clone()].first() != Some(&0)
            || data[header.strings.clone()].last() != Some(&0)
        {
            return Err(BtfError::malformed(
                "the strings do not start and end with a NUL",
            ));
        }
        let layout = &data[header.layout.clone()];
        let types = &data[header.types.clone()];
        let mut records = Vec::with_capacity(types.len() / 24);
        let mut at = 0;
        while at < types.len() {
            // The loop ends: every turn moves on by 12 bytes or more. MAX_BYTES / 12 fits u32.
            let id = records.len() as u32 + 1;
            let cut = || BtfError::malformed(format!("type {id} reaches past the type section"));
            let record = types.get(at..at + TYPE_LEN).ok_or_else(cut)?;
            let info = u32_le(&record[4..8]);
            let (fixed, each) = tail_len(kind_of(info))
                .or_else(|| described(layout, kind_of(info)))
                .ok_or(BtfError::UnknownKind {
                    kind: kind_of(info),
                    id,
                })?;
            // Both factors are small: 24 bits times 8 bits.
            let len = TYPE_LEN + fixed + each * (info & 0xff_ffff) as usize;
            if len > types.len() - at {
                return Err(cut());
            }
            if u32_le(&record[0..4]) as usize >= header.strings.len() {
                return Err(BtfError::malformed(format!(
                    "type {id} has a name past the strings"
                )));
            }
            records.push(((header.types.start + at) as u32, len as u32));
            at += len;
        }
        records.shrink_to_fit();
        Ok(Self {
            strings: header.strings,
            records,
            data,
        })
    }

    /// The type with this id; `void` (0) and ids past the end have none.
    pub(super) fn get(&self, id: u32) -> Option<Type<'_>> {
        let &(start, len) = self.records.get(id.checked_sub(1)? as usize)?;
        let record = self.data.get(start as usize..)?.get(..len as usize)?;
        let (head, tail) = record.split_at_checked(TYPE_LEN)?;
        let info = u32_le(&head[4..8]);
        Some(Type {
            id,
            name_off: u32_le(&head[0..4]),
            kind: kind_of(info),
            kind_flag: info >> 31 == 1,
            size_or_type: u32_le(&head[8..12]),
            tail,
        })
    }

    /// All types in the order of their ids.
    pub(super) fn iter(&self) -> impl Iterator<Item = Type<'_>> {
        (1..=self.records.len() as u32).filter_map(|id| self.get(id))
    }

    /// Whether the string at `offset` is `name`.
    pub(super) fn name_is(&self, offset: u32, name: &str) -> bool {
        self.string_from(offset)
            .and_then(|rest| rest.strip_prefix(name.as_bytes()))
            .is_some_and(|rest| rest.first() == Some(&0))
    }

    /// At most `max` bytes of the string at `offset`; none for an offset past the strings.
    pub(super) fn name_prefix(&self, offset: u32, max: usize) -> &[u8] {
        let rest = self.string_from(offset).unwrap_or_default();
        let rest = &rest[..rest.len().min(max)];
        &rest[..rest
            .iter()
            .position(|&byte| byte == 0)
            .unwrap_or(rest.len())]
    }

    fn string_from(&self, offset: u32) -> Option<&[u8]> {
        self.data.get(self.strings.clone())?.get(offset as usize..)
    }
}

/// Where the sections lie in the file.
struct Header {
    types: Range<usize>,
    strings: Range<usize>,
    layout: Range<usize>,
}

impl Header {
    fn parse(data: &[u8]) -> Result<Self, BtfError> {
        let short = || BtfError::malformed("shorter than its header");
        let magic = data.get(..2).ok_or_else(short)?;
        let magic = u16::from_le_bytes([magic[0], magic[1]]);
        if magic == MAGIC.swap_bytes() {
            return Err(BtfError::BigEndian);
        }
        if magic != MAGIC {
            return Err(BtfError::NotBtf { magic });
        }
        let fixed = data.get(..HEADER_LEN as usize).ok_or_else(short)?;
        if fixed[2] != VERSION {
            return Err(BtfError::Version { version: fixed[2] });
        }
        if fixed[3] != 0 {
            return Err(BtfError::Flags { flags: fixed[3] });
        }
        let header_len = u32_le(&fixed[4..8]);
        if header_len < HEADER_LEN || header_len as usize > data.len() {
            return Err(BtfError::malformed(format!(
                "a header of {header_len} bytes"
            )));
        }
        let section = |what: &str, at: usize| {
            let (start, len) = (u32_le(&data[at..at + 4]), u32_le(&data[at + 4..at + 8]));
            let start = u64::from(header_len) + u64::from(start);
            let end = start + u64::from(len);
            if end > data.len() as u64 {
                return Err(BtfError::malformed(format!(
                    "the {what} reach past the end"
                )));
            }
            Ok(start as usize..end as usize)
        };
        let layout = if header_len >= HEADER_LEN_LAYOUT {
            section("layouts", 24)?
        } else {
            0..0
        };
        Ok(Self {
            types: section("types", 8)?,
            strings: section("strings", 16)?,
            layout,
        })
    }
}

/// The lengths that the file itself gives for a kind.
fn described(layout: &[u8], kind: u8) -> Option<(usize, usize)> {
    let entry = layout
        .chunks_exact(LAYOUT_LEN)
        .nth(usize::from(kind))
        .filter(|_| kind != 0)?;
    Some((usize::from(entry[0]), usize::from(entry[1])))
}

/// Older kernels use five bits for the kind and leave the other two zero.
fn kind_of(info: u32) -> u8 {
    (info >> 24 & 0x7f) as u8
}

fn u32_le(bytes: &[u8]) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[..4]);
    u32::from_le_bytes(word)
}
