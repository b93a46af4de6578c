//! Loads a program in the caller's place.

use std::ffi::{CStr, c_long};
use std::slice;

use crate::attributes::{Attributes, MOST};
use crate::{PROG_LOAD, name, next, record};

/// Size of the log, bytes. The statistics take some 300; a kernel that has more to say than
/// fits refuses the program, which is then loaded without a log.
const LOG: u32 = 64 << 10;

/// Loads the program with the verifier's statistics and records them; none if the caller
/// wants a log of its own, if nobody wants the record, or if the kernel refuses: then the
/// caller's own call is to tell why.
///
/// # Safety
/// `attributes` points to the `size` bytes of a `BPF_PROG_LOAD`, whose pointers are valid.
pub unsafe fn load(attributes: *const u8, size: usize) -> Option<c_long> {
    let file = std::env::var_os(crate::FILE)?;
    // SAFETY: the caller's promise.
    let mut attributes = unsafe { copy(attributes, size) }?;
    if attributes.has_log() {
        return None;
    }
    // Programs without types are not gohang's own: a library tries what the kernel can.
    let (types, function) = attributes.functions()?;
    let mut log = vec![0u8; LOG as usize];
    attributes.ask_for_statistics(log.as_mut_ptr() as u64, LOG);
    // SAFETY: the caller's promise; the log is as large as is stated.
    let fd = unsafe { next::bpf(PROG_LOAD, attributes.bytes()) }.ok()?;
    let said = CStr::from_bytes_until_nul(std::hint::black_box(&log)).unwrap_or_default();
    // SAFETY: the kernel has just read it there.
    let name = unsafe { name::of(types, function) };
    if let Err(error) = name.and_then(|name| record::append(&file, &name, said)) {
        eprintln!("gohang-verifier-log: {error}");
    }
    Some(fd)
}

/// A copy of the attributes; none if they are of no size that the kernel takes.
///
/// # Safety
/// `attributes` points to `size` bytes.
unsafe fn copy(attributes: *const u8, size: usize) -> Option<Attributes> {
    if attributes.is_null() || size > MOST {
        return None;
    }
    // SAFETY: the caller's promise.
    Attributes::new(unsafe { slice::from_raw_parts(attributes, size) })
}
