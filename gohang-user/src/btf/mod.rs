//! Reads the running kernel's type information (BTF).
//!
//! Rust's eBPF target has no relocations against kernel types (CO-RE), so the offsets
//! of the fields that the kernel programs read are looked up here, on the kernel they
//! will run on, and handed to them as constants. A field that is not there is an error
//! that names it, never a guess.
//!
//! Input is bounded and nothing in it can make this module panic, loop or allocate more
//! than a few times the input's own size. Only little-endian 64-bit kernels.

mod error;
mod field;
mod index;
mod raw;
#[cfg(test)]
mod synthetic;
#[cfg(test)]
mod tests;

use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use std::sync::OnceLock;

pub use error::BtfError;
pub use field::Field;

use index::NameIndex;
use raw::{MAX_BYTES, Raw, Type, kind};

/// The running kernel's own types.
pub const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// A kernel's types.
///
/// Each group of names asked for (structs, typedefs, functions, enums) is indexed once.
/// Loading the 5.5 MB of a 6.18 kernel, 32 fields, 5 tracepoints, 3 functions and 2
/// enumerators took 13 to 18 ms in a release build on a busy machine.
#[derive(Debug)]
pub struct Btf {
    raw: Raw,
    structs: OnceLock<NameIndex>,
    typedefs: OnceLock<NameIndex>,
    funcs: OnceLock<NameIndex>,
    enums: OnceLock<NameIndex>,
}

impl Btf {
    /// Checks and takes over raw BTF, as `/sys/kernel/btf/vmlinux` has it.
    ///
    /// # Errors
    /// Not BTF, big endian, of a version or with a kind of type that is not known,
    /// malformed, or larger than 64 MiB.
    pub fn parse(bytes: &[u8]) -> Result<Self, BtfError> {
        if bytes.len() > MAX_BYTES {
            return Err(BtfError::TooLarge {
                max_bytes: MAX_BYTES,
            });
        }
        Self::from_vec(bytes.to_vec())
    }

    /// Reads and parses a file, usually [`VMLINUX`].
    ///
    /// # Errors
    /// The file is missing or unreadable, or as for [`Btf::parse`]; the path is named.
    pub fn from_file(path: impl AsRef<Path>) -> Result<Self, BtfError> {
        let path = path.as_ref();
        let bytes = read_bounded(path).map_err(|source| match source.kind() {
            io::ErrorKind::NotFound => BtfError::NoBtf {
                path: path.to_owned(),
            },
            _ => BtfError::Read {
                path: path.to_owned(),
                source,
            },
        })?;
        Self::from_vec(bytes).map_err(|source| BtfError::InFile {
            path: path.to_owned(),
            source: source.into(),
        })
    }

    fn from_vec(bytes: Vec<u8>) -> Result<Self, BtfError> {
        Ok(Self {
            raw: Raw::parse(bytes)?,
            structs: OnceLock::new(),
            typedefs: OnceLock::new(),
            funcs: OnceLock::new(),
            enums: OnceLock::new(),
        })
    }

    /// Whether there is a typedef of that name (`btf_trace_sched_switch`: the kernel has
    /// this tracepoint).
    #[must_use]
    pub fn has_typedef(&self, name: &str) -> bool {
        self.typedefs().find(&self.raw, name).next().is_some()
    }

    /// The id of the function of that name, for asking the kernel to trace it; none if
    /// there is no such function, or several. It says nothing about whether the function
    /// can be traced.
    #[must_use]
    pub fn func_id(&self, name: &str) -> Option<u32> {
        let funcs = self
            .funcs
            .get_or_init(|| NameIndex::build(&self.raw, &[kind::FUNC]));
        let mut found = funcs.find(&self.raw, name);
        let id = found.next()?.id;
        found.next().is_none().then_some(id)
    }

    /// The name of the function with this id; none if there is no function with it. The
    /// kernel keeps 15 characters of a program's own name: its types have all of it.
    #[must_use]
    pub fn func_name(&self, id: u32) -> Option<&str> {
        let func = self.raw.get(id).filter(|ty| ty.kind == kind::FUNC)?;
        std::str::from_utf8(self.raw.name_prefix(func.name_off, MAX_BYTES)).ok()
    }

    /// Size in bytes of the struct, union, or typedef of that name.
    ///
    /// # Errors
    /// There is none, it has no size, or there are several that differ.
    pub fn struct_size(&self, name: &str) -> Result<u32, BtfError> {
        let sizes = self.roots(name)?.into_iter().map(|ty| {
            self.size_of(ty.id)?.ok_or_else(|| BtfError::NoSize {
                what: name.to_owned(),
            })
        });
        agreed(sizes, name)
    }

    /// Number of arguments of a tracepoint, from the typedef of its callback's type
    /// (`btf_trace_sched_switch`), without the callback's own first parameter. None if
    /// there is no such typedef or it is not a pointer to a function.
    #[must_use]
    pub fn typedef_func_params(&self, name: &str) -> Option<usize> {
        let mut counts = self.typedefs().find(&self.raw, name).map(|ty| {
            let pointer = self
                .resolve(ty.id)
                .ok()?
                .filter(|ty| ty.kind == kind::PTR)?;
            let proto = self.resolve(pointer.size_or_type).ok()??;
            let params = proto.params();
            // The first is `void *__data`.
            self.resolve(*params.first()?)
                .ok()?
                .filter(|ty| ty.kind == kind::PTR)?;
            Some(params.len() - 1)
        });
        let count = counts.next()??;
        counts.all(|other| other == Some(count)).then_some(count)
    }

    /// Value of the enumerator `name` of the enum `enumeration`, or of any enum. None if
    /// there is none, if several disagree, or if it is above `i64::MAX`.
    ///
    /// BTF from before Linux 6.0 does not say whether an enum is signed: its negative
    /// values come out as large positive ones.
    #[must_use]
    pub fn enum_value(&self, enumeration: Option<&str>, name: &str) -> Option<i64> {
        let enums = self
            .enums
            .get_or_init(|| NameIndex::build(&self.raw, &[kind::ENUM, kind::ENUM64]));
        let candidates: Vec<Type<'_>> = match enumeration {
            Some(wanted) => enums.find(&self.raw, wanted).collect(),
            None => enums.all(&self.raw).collect(),
        };
        let mut values = candidates
            .iter()
            .flat_map(Type::enumerators)
            .filter(|&(name_off, _)| self.raw.name_is(name_off, name))
            .map(|(_, value)| value);
        let value = values.next()??;
        values.all(|other| other == Some(value)).then_some(value)
    }

    fn structs(&self) -> &NameIndex {
        self.structs
            .get_or_init(|| NameIndex::build(&self.raw, &[kind::STRUCT, kind::UNION]))
    }

    fn typedefs(&self) -> &NameIndex {
        self.typedefs
            .get_or_init(|| NameIndex::build(&self.raw, &[kind::TYPEDEF]))
    }

    /// The structs and unions that `name` stands for, directly or as a typedef: usually
    /// one, more if the kernel has private types of the same name.
    fn roots(&self, name: &str) -> Result<Vec<Type<'_>>, BtfError> {
        let mut roots: Vec<Type<'_>> = self.structs().find(&self.raw, name).collect();
        if roots.is_empty() {
            for typedef in self.typedefs().find(&self.raw, name) {
                let target = self.resolve(typedef.id)?;
                roots.extend(target.filter(|ty| matches!(ty.kind, kind::STRUCT | kind::UNION)));
            }
        }
        match roots.is_empty() {
            true => Err(BtfError::NoStruct {
                strukt: name.to_owned(),
            }),
            false => Ok(roots),
        }
    }
}

/// The one answer of all; the first error if there is no answer.
fn agreed<T: PartialEq>(
    answers: impl IntoIterator<Item = Result<T, BtfError>>,
    what: &str,
) -> Result<T, BtfError> {
    let mut found: Option<T> = None;
    let mut error: Option<BtfError> = None;
    for answer in answers {
        match (answer, &found) {
            (Ok(answer), None) => found = Some(answer),
            (Ok(answer), Some(first)) if answer == *first => {}
            (Ok(_), Some(_)) => {
                return Err(BtfError::Ambiguous {
                    what: what.to_owned(),
                });
            }
            (Err(new), _) => error = error.or(Some(new)),
        }
    }
    match (found, error) {
        (Some(found), _) => Ok(found),
        (None, Some(error)) => Err(error),
        (None, None) => Err(BtfError::NoStruct {
            strukt: what.to_owned(),
        }),
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let file = File::open(path)?;
    let expected = file.metadata()?.len().min(MAX_BYTES as u64);
    let mut bytes = Vec::with_capacity(expected as usize + 1);
    // One byte more than allowed, so that parsing refuses what is too long.
    file.take(MAX_BYTES as u64 + 1).read_to_end(&mut bytes)?;
    Ok(bytes)
}
