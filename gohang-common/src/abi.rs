//! The version of the contract between the kernel object and user space.

/// Raised with every change of a record, of a map's key or value, or of a
/// `.rodata` block. It stands in the object (`GOHANG_ABI`) and in the header of
/// every record; both sides refuse another one.
pub const ABI_VERSION: u16 = 3;

/// Linux's number of SIGURG on x86_64 and arm64 (include/uapi/asm-generic/signal.h).
pub const SIGURG: i32 = 23;
/// SIGURG's bit in a `sigset_t` word.
pub const SIGURG_BIT: u64 = 1 << (SIGURG - 1);
