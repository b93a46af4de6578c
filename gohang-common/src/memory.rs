//! Reading map values so that the verifier follows few paths.

/// A duration that is not known.
pub const UNKNOWN: u64 = u64::MAX;

/// Reads a field of a map value again.
///
/// The verifier knows nothing about what it reads from a map, where it would
/// follow a value that is still in a register along every path that led to it.
/// Volatile, so that the compiler does not keep it in a register.
#[inline(always)]
pub fn reload<T: Copy>(field: &T) -> T {
    // SAFETY: a reference to an initialised value.
    unsafe { core::ptr::read_volatile(field) }
}
