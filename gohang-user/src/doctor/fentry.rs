//! Whether this kernel lets a function's entry be traced: tried with the smallest
//! program there is, which is let go at once.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Commands of bpf(2) and its constants (include/uapi/linux/bpf.h).
const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_FENTRY: u32 = 24;

/// `r0 = 0; exit`, as struct bpf_insn lays them out on little-endian machines.
const PROGRAM: [u64; 2] = [0xb7, 0x95];

/// The part of `union bpf_attr` that BPF_PROG_LOAD reads, up to `attach_btf_id` (5.5).
#[derive(Default)]
#[repr(C)]
struct Load {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
    attach_prog_fd: u32,
    pad: u32,
}

/// The part of `union bpf_attr` that BPF_RAW_TRACEPOINT_OPEN reads.
#[derive(Default)]
#[repr(C)]
struct Open {
    name: u64,
    prog_fd: u32,
    pad: u32,
}

const _: () = {
    assert!(std::mem::offset_of!(Load, expected_attach_type) == 68);
    assert!(std::mem::offset_of!(Load, attach_btf_id) == 108);
    assert!(size_of::<Load>() == 120 && size_of::<Open>() == 16);
};

/// A command of bpf(2) that answers with a descriptor.
fn bpf<T>(command: libc::c_int, attributes: &T) -> io::Result<OwnedFd> {
    // SAFETY: the attributes are a live repr(C) value without implicit padding, and
    // everything that they point to lives as long as the caller's.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            std::ptr::from_ref(attributes),
            size_of::<T>(),
        )
    };
    match i32::try_from(result) {
        // SAFETY: the call has just returned this descriptor, and nobody else has it.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(io::Error::last_os_error()),
    }
}

/// What came of the try.
#[derive(Debug)]
pub(super) enum Tried {
    /// Loaded and attached.
    Works,
    /// The kernel did not take the program.
    LoadRefused(io::Error),
    /// The kernel took the program and did not attach it.
    AttachRefused(io::Error),
}

/// Traces the entry of the function with this id in the kernel's types, for a moment.
pub(super) fn attempt(function: u32) -> Tried {
    let license = c"GPL";
    let load = Load {
        prog_type: BPF_PROG_TYPE_TRACING,
        insn_cnt: PROGRAM.len() as u32,
        insns: PROGRAM.as_ptr() as u64,
        license: license.as_ptr() as u64,
        expected_attach_type: BPF_TRACE_FENTRY,
        attach_btf_id: function,
        ..Load::default()
    };
    let program = match bpf(BPF_PROG_LOAD, &load) {
        Ok(program) => program,
        Err(error) => return Tried::LoadRefused(error),
    };
    let open = Open {
        prog_fd: program.as_raw_fd() as u32,
        ..Open::default()
    };
    match bpf(BPF_RAW_TRACEPOINT_OPEN, &open) {
        Ok(_link) => Tried::Works,
        Err(error) => Tried::AttachRefused(error),
    }
}
