//! The few commands of bpf(2) that measuring needs, without a library: what is
//! measured must not measure itself.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use anyhow::{Context as _, Result};

/// Commands, types and attach types (include/uapi/linux/bpf.h).
mod uapi {
    pub const PROG_LOAD: libc::c_int = 5;
    pub const PROG_GET_FD_BY_ID: libc::c_int = 13;
    pub const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
    pub const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
    pub const LINK_CREATE: libc::c_int = 28;
    pub const ENABLE_STATS: libc::c_int = 32;
    pub const PROG_TYPE_KPROBE: u64 = 2;
    pub const PROG_TYPE_TRACING: u64 = 26;
    pub const TRACE_RAW_TP: u64 = 23;
    pub const TRACE_UPROBE_MULTI: u64 = 48;
    /// `r0 = 0; exit`.
    pub const EMPTY: [u64; 2] = [0xb7, 0x95];
}

/// Words of `struct bpf_prog_info` up to `attach_btf_id` (5.19 and later).
const INFO_WORDS: usize = 29;

/// What the kernel says of a program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Info {
    /// Bytes of machine code.
    pub machine_bytes: u64,
    /// Instructions after the verifier's rewriting.
    pub instructions: u64,
    /// Instructions that the verifier looked at.
    pub verified: u64,
    /// BTF id of the hook's type.
    pub hook: u32,
    /// Its name, with zeros behind it.
    pub name: [u8; 16],
    /// Time in it while statistics were on, ns.
    pub run_ns: u64,
    /// Runs while statistics were on.
    pub runs: u64,
}

#[cfg(test)]
impl Info {
    /// One of that name with so many runs, for tests.
    pub fn of_test(name: &[u8], runs: u64, run_ns: u64) -> Self {
        let mut info = Self {
            machine_bytes: 0,
            instructions: 0,
            verified: 0,
            hook: 0,
            name: [0; 16],
            run_ns,
            runs,
        };
        info.name[..name.len()].copy_from_slice(name);
        info
    }
}

fn bpf(command: libc::c_int, attributes: &mut [u64]) -> io::Result<libc::c_int> {
    // SAFETY: the block has the size stated, and what its pointers point to lives
    // in the callers during the call.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attributes.as_mut_ptr(),
            size_of_val(attributes),
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

fn descriptor(command: libc::c_int, attributes: &mut [u64]) -> io::Result<OwnedFd> {
    let fd = bpf(command, attributes)?;
    // SAFETY: the kernel has just returned it, and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

fn number(fd: &OwnedFd) -> u64 {
    // A descriptor is never negative.
    fd.as_raw_fd().unsigned_abs().into()
}

/// Loads a program that returns at once, for the tracepoint whose
/// `btf_trace_` type has the id `hook`.
///
/// # Errors
/// The kernel refuses.
pub fn load_empty(hook: u32) -> Result<OwnedFd> {
    load_empty_as(uapi::PROG_TYPE_TRACING, uapi::TRACE_RAW_TP, hook)
}

/// Loads a program that returns at once, for a probe in a user program.
///
/// # Errors
/// The kernel refuses: one before 6.6 has no links for these.
pub fn load_empty_probe() -> Result<OwnedFd> {
    load_empty_as(uapi::PROG_TYPE_KPROBE, uapi::TRACE_UPROBE_MULTI, 0)
}

fn load_empty_as(kind: u64, attach_type: u64, hook: u32) -> Result<OwnedFd> {
    let license = c"Dual MIT/GPL";
    // union bpf_attr: prog_type, insn_cnt; insns; license; ... expected_attach_type
    // at byte 68, attach_btf_id at byte 108.
    let mut attributes = [0u64; 16];
    attributes[0] = kind | (uapi::EMPTY.len() as u64) << 32;
    attributes[1] = uapi::EMPTY.as_ptr() as u64;
    attributes[2] = license.as_ptr() as u64;
    attributes[8] = attach_type << 32;
    attributes[13] = u64::from(hook) << 32;
    descriptor(uapi::PROG_LOAD, &mut attributes).context("could not load an empty program")
}

/// Probes an offset of a file, for as long as the result lives.
///
/// # Errors
/// The kernel refuses.
pub fn attach_probe(program: &OwnedFd, file: &CStr, offset: u64) -> Result<OwnedFd> {
    // union bpf_attr, link_create: prog_fd, target_fd; attach_type, flags; path; offsets;
    // ref_ctr_offsets; cookies; cnt, flags; pid.
    let offsets = [offset];
    let mut attributes = [
        number(program),
        uapi::TRACE_UPROBE_MULTI,
        file.as_ptr() as u64,
        offsets.as_ptr() as u64,
        0,
        0,
        offsets.len() as u64,
        0,
    ];
    descriptor(uapi::LINK_CREATE, &mut attributes).context("could not probe a user program")
}

/// Attaches a program to its tracepoint, for as long as the result lives.
///
/// # Errors
/// The kernel refuses.
pub fn attach(program: &OwnedFd) -> Result<OwnedFd> {
    descriptor(uapi::RAW_TRACEPOINT_OPEN, &mut [0, number(program)])
        .context("could not attach a program to its tracepoint")
}

/// Opens a program by its id.
///
/// # Errors
/// It is gone, or the kernel refuses.
pub fn open(id: u32) -> Result<OwnedFd> {
    descriptor(uapi::PROG_GET_FD_BY_ID, &mut [u64::from(id), 0])
        .with_context(|| format!("could not open the kernel program {id}"))
}

/// What the kernel says of a program.
///
/// # Errors
/// The kernel refuses.
pub fn info(program: &OwnedFd) -> Result<Info> {
    let mut words = [0u64; INFO_WORDS];
    let length = size_of_val(&words) as u64;
    let address = words.as_mut_ptr() as u64;
    bpf(
        uapi::OBJ_GET_INFO_BY_FD,
        &mut [number(program) | length << 32, address],
    )
    .context("could not ask what a kernel program is")?;
    // The kernel wrote behind the compiler's back.
    let words = std::hint::black_box(words);
    let low = |word: u64| word & u64::from(u32::MAX);
    Ok(Info {
        machine_bytes: low(words[2]),
        instructions: (words[2] >> 32) / 8,
        verified: low(words[27]),
        hook: low(words[28]) as u32,
        name: name([words[8], words[9]]),
        run_ns: words[24],
        runs: words[25],
    })
}

/// `prog_info.name`.
fn name(words: [u64; 2]) -> [u8; 16] {
    let mut name = [0; 16];
    for (bytes, word) in name.chunks_exact_mut(8).zip(words) {
        bytes.copy_from_slice(&word.to_ne_bytes());
    }
    name
}

/// Turns the kernel's run-time statistics on, for as long as the result lives.
///
/// # Errors
/// The kernel refuses.
pub fn enable_statistics() -> Result<OwnedFd> {
    // BPF_STATS_RUN_TIME is 0.
    descriptor(uapi::ENABLE_STATS, &mut [0])
        .context("could not turn the BPF run-time statistics on")
}
