//! Where a field lies: dotted paths through nested and anonymous members.

use super::error::BtfError;
use super::raw::{Member, Type, kind};
use super::{Btf, agreed};

/// Of the 64-bit kernels that are supported.
const POINTER_BYTES: u64 = 8;
/// Typedefs and qualifiers in a row; kernels have fewer than ten.
const MAX_CHAIN: usize = 64;
/// Anonymous structs and unions in each other.
const MAX_NESTING: usize = 32;
/// Members looked at for one name: `task_struct` has about 300.
const MAX_VISITS: usize = 1 << 18;

/// Where a field lies in its outermost struct.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// Bytes from the struct's start to the (first) byte that holds the field.
    pub byte_offset: u32,
    /// Of a bitfield: the place of its lowest bit in that byte. Else 0.
    pub bit_offset_in_byte: u8,
    /// Of a bitfield: the number of its bits. Else none.
    pub bit_size: Option<u8>,
    /// Bytes to read to get all of it. Of a bitfield: those that its bits touch, not
    /// the declared type's.
    pub size: u32,
    /// Whether it is a pointer to a pointer.
    pub to_pointer: bool,
}

/// A member found, counted from the struct searched.
#[derive(Clone, Copy)]
struct Found {
    bit_offset: u64,
    member: Member,
}

impl Btf {
    /// Where the field at a dotted path lies in `strukt` (a struct, a union, or a typedef
    /// of one): `field("task_group", "css.cgroup")`. Members of anonymous structs and
    /// unions are found as in C.
    ///
    /// # Errors
    /// The struct or field does not exist (both are named, `task_struct.throttled`), the
    /// path goes on behind a pointer, or several structs of that name disagree.
    pub fn field(&self, strukt: &str, path: &str) -> Result<Field, BtfError> {
        let answers = self
            .roots(strukt)?
            .into_iter()
            .map(|root| self.locate(root, strukt, path));
        agreed(answers, &format!("{strukt}.{path}"))
    }

    /// The first of several paths that exists, for a field that was renamed:
    /// `first_field("task_struct", &["__state", "state"])`.
    ///
    /// # Errors
    /// As for [`Btf::field`]; all names are given if none exists.
    pub fn first_field(&self, strukt: &str, paths: &[&str]) -> Result<Field, BtfError> {
        for path in paths {
            match self.field(strukt, path) {
                Err(BtfError::NoField { .. }) => {}
                result => return result,
            }
        }
        self.roots(strukt)?;
        Err(BtfError::NoneOfFields {
            strukt: strukt.to_owned(),
            fields: paths.iter().map(|&path| path.to_owned()).collect(),
        })
    }

    fn locate(&self, root: Type<'_>, strukt: &str, path: &str) -> Result<Field, BtfError> {
        let mut within = root;
        let mut bit_offset = 0;
        let mut so_far = strukt.to_owned();
        let mut rest = path;
        loop {
            let (name, behind) = match rest.split_once('.') {
                Some((name, behind)) => (name, Some(behind)),
                None => (rest, None),
            };
            so_far = format!("{so_far}.{name}");
            let mut visits = 0;
            let found = self
                .find_member(within, name, 0, &mut visits)?
                .ok_or_else(|| BtfError::NoField {
                    field: so_far.clone(),
                })?;
            bit_offset += found.bit_offset;
            let Some(behind) = behind else {
                let field = self.measure(found.member, bit_offset, &so_far)?;
                let end = u64::from(field.byte_offset) + u64::from(field.size);
                if end > u64::from(root.size_or_type) {
                    return Err(BtfError::malformed(format!(
                        "`{so_far}` reaches past its struct"
                    )));
                }
                return Ok(field);
            };
            let next = self.resolve(found.member.type_id)?;
            let (field, rest_of_path) = (so_far.clone(), behind.to_owned());
            within = match next {
                Some(ty) if matches!(ty.kind, kind::STRUCT | kind::UNION) => ty,
                Some(ty) if ty.kind == kind::PTR => {
                    return Err(BtfError::PointerInPath {
                        field,
                        rest: rest_of_path,
                    });
                }
                _ => {
                    return Err(BtfError::NotAStruct {
                        field,
                        rest: rest_of_path,
                    });
                }
            };
            rest = behind;
        }
    }

    /// A member by name, also inside members that have no name themselves.
    fn find_member(
        &self,
        strukt: Type<'_>,
        name: &str,
        depth: usize,
        visits: &mut usize,
    ) -> Result<Option<Found>, BtfError> {
        if name.is_empty() {
            return Ok(None);
        }
        for member in strukt.members() {
            *visits += 1;
            if depth > MAX_NESTING || *visits > MAX_VISITS {
                let strukt = String::from_utf8_lossy(self.raw.name_prefix(strukt.name_off, 128));
                return Err(BtfError::TooComplex {
                    strukt: strukt.into_owned(),
                });
            }
            let bit_offset = u64::from(member.bit_offset);
            if self.raw.name_is(member.name_off, name) {
                return Ok(Some(Found { bit_offset, member }));
            }
            if !self.raw.name_is(member.name_off, "") {
                continue;
            }
            let Some(inner) = self.resolve(member.type_id)? else {
                continue;
            };
            if let Some(found) = self.find_member(inner, name, depth + 1, visits)? {
                let bit_offset = bit_offset + found.bit_offset;
                return Ok(Some(Found {
                    bit_offset,
                    ..found
                }));
            }
        }
        Ok(None)
    }

    /// Bytes and bits of a member that starts `bit_offset` bits into its struct.
    fn measure(&self, member: Member, mut bit_offset: u64, what: &str) -> Result<Field, BtfError> {
        let malformed = |problem: &str| BtfError::malformed(format!("`{what}` {problem}"));
        let size = self
            .size_of(member.type_id)?
            .ok_or_else(|| BtfError::NoSize {
                what: what.to_owned(),
            })?;
        let mut bits = Some(member.bitfield_size).filter(|&bits| bits != 0);
        // Before the packed encoding, a bitfield's type was an integer of few bits.
        let int = self.resolve(member.type_id)?.and_then(|ty| ty.int_bits());
        if let (None, Some((offset, int_bits))) = (bits, int)
            && (offset != 0 || u32::from(int_bits) != size.saturating_mul(8))
        {
            bit_offset += u64::from(offset);
            bits = Some(int_bits);
        }
        let mut to_pointer = false;
        if let Some(pointer) = self
            .resolve(member.type_id)?
            .filter(|ty| ty.kind == kind::PTR)
        {
            let target = self.resolve(pointer.size_or_type)?;
            to_pointer = target.is_some_and(|ty| ty.kind == kind::PTR);
        }
        let bit_offset_in_byte = (bit_offset % 8) as u8;
        let byte_offset =
            u32::try_from(bit_offset / 8).map_err(|_| malformed("lies past 4 GiB"))?;
        match bits {
            None if bit_offset_in_byte != 0 => Err(malformed("does not start at a byte")),
            None => Ok(Field {
                byte_offset,
                bit_offset_in_byte,
                bit_size: None,
                size,
                to_pointer,
            }),
            Some(bits) if bits == 0 || bits > 64 || u32::from(bits).div_ceil(8) > size => {
                Err(malformed(&format!("is a bitfield of {bits} bits")))
            }
            Some(bits) => Ok(Field {
                byte_offset,
                bit_offset_in_byte,
                bit_size: Some(bits),
                size: (u32::from(bit_offset_in_byte) + u32::from(bits)).div_ceil(8),
                to_pointer: false,
            }),
        }
    }

    /// Follows typedefs and qualifiers. None for void.
    pub(super) fn resolve(&self, id: u32) -> Result<Option<Type<'_>>, BtfError> {
        let mut at = id;
        for _ in 0..MAX_CHAIN {
            if at == 0 {
                return Ok(None);
            }
            let ty = self.raw.get(at).ok_or_else(|| {
                BtfError::malformed(format!("type {at} is referred to and does not exist"))
            })?;
            match ty.kind {
                kind::TYPEDEF | kind::VOLATILE | kind::CONST | kind::RESTRICT | kind::TYPE_TAG => {
                    at = ty.size_or_type
                }
                _ => return Ok(Some(ty)),
            }
        }
        Err(BtfError::Loop { id })
    }

    /// Size of a type in bytes; none for what has no size.
    pub(super) fn size_of(&self, id: u32) -> Result<Option<u32>, BtfError> {
        let mut at = id;
        let mut factor: u64 = 1;
        // Arrays of arrays are a chain as well.
        for _ in 0..MAX_CHAIN {
            let Some(ty) = self.resolve(at)? else {
                return Ok(None);
            };
            let size = match ty.kind {
                kind::INT
                | kind::FLOAT
                | kind::STRUCT
                | kind::UNION
                | kind::ENUM
                | kind::ENUM64 => u64::from(ty.size_or_type),
                kind::PTR => POINTER_BYTES,
                kind::ARRAY => {
                    let Some((element, count)) = ty.array() else {
                        return Ok(None);
                    };
                    factor = factor.saturating_mul(u64::from(count));
                    at = element;
                    continue;
                }
                _ => return Ok(None),
            };
            let size = u32::try_from(factor.saturating_mul(size));
            return size
                .map(Some)
                .map_err(|_| BtfError::malformed(format!("type {id} is larger than 4 GiB")));
        }
        Err(BtfError::Loop { id })
    }
}
