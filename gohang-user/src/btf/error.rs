//! What can be wrong with a kernel's type information, in words for a person.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why type information could not be read, or an answer not be given.
#[derive(Debug, Error)]
pub enum BtfError {
    /// The file is not there: the kernel was built without BTF.
    #[error(
        "this kernel has no BTF at {}: CONFIG_DEBUG_INFO_BTF is needed \
         (distribution kernels since about 2020 have it)",
        path.display()
    )]
    NoBtf {
        /// Where it was looked for.
        path: PathBuf,
    },
    /// The file is there and could not be read.
    #[error("cannot read the kernel's BTF at {}: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the kernel said.
        source: io::Error,
    },
    /// The file was read and is not usable BTF.
    #[error("the BTF at {} is not usable: {source}", path.display())]
    InFile {
        /// The file.
        path: PathBuf,
        /// What is wrong with its contents.
        source: Box<BtfError>,
    },
    /// Larger than any BTF there is.
    #[error("more than {max_bytes} bytes of BTF: refused")]
    TooLarge {
        /// The bound, in bytes.
        max_bytes: usize,
    },
    /// Does not start with the magic number.
    #[error("not BTF: it starts with {magic:#06x}, not 0xeb9f")]
    NotBtf {
        /// The first two bytes, read as little endian.
        magic: u16,
    },
    /// From a big-endian machine.
    #[error("big-endian BTF: only little-endian kernels are supported")]
    BigEndian,
    /// A format version this reader does not know.
    #[error("BTF version {version}: only version 1 is known")]
    Version {
        /// The version found.
        version: u8,
    },
    /// Header flags this reader does not know, which may change the meaning of the rest.
    #[error("BTF header flags {flags:#04x}: none are known")]
    Flags {
        /// The flags found.
        flags: u8,
    },
    /// A kind of type whose length is not known, so that nothing behind it can be read.
    #[error(
        "BTF type {id} is of kind {kind}, which this version does not know and the file does \
         not describe: a newer gohang is needed for this kernel"
    )]
    UnknownKind {
        /// The kind's number.
        kind: u8,
        /// The type that has it.
        id: u32,
    },
    /// Breaks the format's rules.
    #[error("malformed BTF: {what}")]
    Malformed {
        /// Which rule, and where.
        what: String,
    },
    /// A chain of types that leads nowhere.
    #[error("malformed BTF: the types that type {id} refers to form a loop")]
    Loop {
        /// Where following it began.
        id: u32,
    },
    /// Nested far deeper than any kernel's type.
    #[error("struct {strukt} is nested too deeply to search")]
    TooComplex {
        /// The type searched.
        strukt: String,
    },
    /// No type of that name.
    #[error("this kernel's BTF has no struct or union `{strukt}`")]
    NoStruct {
        /// The name looked for.
        strukt: String,
    },
    /// The type exists and lacks the member.
    #[error("this kernel's BTF has no field `{field}`")]
    NoField {
        /// The type and the path up to and including what is missing: `task_struct.throttled`.
        field: String,
    },
    /// The type exists and has none of the names a field has had.
    #[error("this kernel's BTF has none of the fields {}", list(strukt, fields))]
    NoneOfFields {
        /// The type.
        strukt: String,
        /// The names tried.
        fields: Vec<String>,
    },
    /// The path goes on behind a pointer, which is not one load.
    #[error("`{field}` is a pointer: `{rest}` behind it is another load, ask for it on its own")]
    PointerInPath {
        /// The path up to the pointer.
        field: String,
        /// What was to be found behind it.
        rest: String,
    },
    /// The path goes on behind a member that has no members.
    #[error("`{field}` is not a struct or union: it has no `{rest}`")]
    NotAStruct {
        /// The path up to the member.
        field: String,
        /// What was to be found in it.
        rest: String,
    },
    /// The type has no size (a function, void, or only declared).
    #[error("`{what}` has no size in this kernel's BTF")]
    NoSize {
        /// The field or type.
        what: String,
    },
    /// Several types of that name disagree, so any answer could be the wrong one.
    #[error("this kernel's BTF has several types for `{what}` that differ")]
    Ambiguous {
        /// The field or type.
        what: String,
    },
}

impl BtfError {
    pub(super) fn malformed(what: impl Into<String>) -> Self {
        Self::Malformed { what: what.into() }
    }
}

fn list(strukt: &str, fields: &[String]) -> String {
    let names: Vec<String> = fields
        .iter()
        .map(|field| format!("`{strukt}.{field}`"))
        .collect();
    names.join(", ")
}
