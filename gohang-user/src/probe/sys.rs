//! The few commands of bpf(2) that aya 0.14 cannot be asked for.

use std::ffi::{CString, c_long};
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};

use aya_obj::Function;
use aya_obj::generated::{bpf_attach_type, bpf_cmd, bpf_prog_info, bpf_prog_type};

/// `BPF_OBJ_NAME_LEN` (include/uapi/linux/bpf.h).
const NAME_LENGTH: usize = 16;

/// `union bpf_attr` (include/uapi/linux/bpf.h) of `BPF_PROG_LOAD`, as far as it is used.
#[derive(Default)]
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_LENGTH],
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
}

/// That of `BPF_BTF_LOAD`.
#[derive(Default)]
#[repr(C)]
struct TypesAttributes {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
}

/// That of `BPF_LINK_CREATE` for such links.
#[derive(Default)]
#[repr(C)]
struct LinkAttributes {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    pid: u32,
    pad: u32,
}

/// That of `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Default)]
#[repr(C)]
struct InfoAttributes {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// bpf(2).
///
/// # Safety
/// The attributes are those of the command, and what they point to outlives the call.
unsafe fn bpf<T>(command: bpf_cmd, attributes: &mut T) -> io::Result<c_long> {
    let at = std::ptr::from_mut(attributes);
    // SAFETY: a system call on memory of that size; the caller answers for the rest.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as c_long, at, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// The descriptor that bpf(2) has made.
fn owned(descriptor: c_long) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A descriptor as attributes hold it.
fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// Where a value lies, as attributes hold it.
fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<()>() as u64
}

/// Gives the kernel the types of programs.
pub(super) fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = TypesAttributes {
        btf: address(types),
        btf_size: u32::try_from(types.len()).map_err(io::Error::other)?,
        ..TypesAttributes::default()
    };
    // SAFETY: the attributes of the command; the types outlive the call.
    owned(unsafe { bpf(bpf_cmd::BPF_BTF_LOAD, &mut attributes) }?)
}

/// Loads a program for probes in user programs.
pub(super) fn load_probe(
    name: &str,
    function: &Function,
    license: &CString,
    types: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let functions = function.func_info.func_info_bytes();
    let length = |length| u32::try_from(length).map_err(io::Error::other);
    let mut attributes = LoadAttributes {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32,
        insn_cnt: length(function.instructions.len())?,
        insns: address(&*function.instructions),
        license: license.as_ptr() as u64,
        expected_attach_type: attach_type,
        prog_btf_fd: number(types),
        func_info_rec_size: length(function.func_info_rec_size)?,
        func_info: address(&*functions),
        func_info_cnt: length(function.func_info.len())?,
        ..LoadAttributes::default()
    };
    // The last byte stays 0.
    for (to, from) in attributes.prog_name[..NAME_LENGTH - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from;
    }
    // SAFETY: the attributes of the command; what they point to outlives the call.
    owned(unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }?)
}

/// Links a program to an offset of a user program.
pub(super) fn link(
    program: BorrowedFd<'_>,
    attach_type: u32,
    path: &CString,
    offset: u64,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = LinkAttributes {
        prog_fd: number(program),
        attach_type,
        path: path.as_ptr() as u64,
        offsets: address(&offset),
        cnt: 1,
        multi_flags: flags,
        ..LinkAttributes::default()
    };
    // SAFETY: the attributes of the command; path and offset outlive the call.
    owned(unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }?)
}

/// What the kernel says of a program.
pub(super) fn info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: a structure of numbers, of which zero is one.
    let mut found: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attributes = InfoAttributes {
        bpf_fd: number(program),
        info_len: u32::try_from(size_of_val(&found)).map_err(io::Error::other)?,
        info: std::ptr::from_mut(&mut found) as u64,
    };
    // SAFETY: the attributes of the command; what they point to is of that length.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(found)
}

/// Whether the kernel takes an empty fentry program for the function with this BTF id.
///
/// # Errors
/// What it says if not.
pub(super) fn try_fentry(function: u32) -> io::Result<()> {
    /// `r0 = 0; exit` (include/uapi/linux/bpf.h, `struct bpf_insn`).
    const EMPTY: [u64; 2] = [0xb7, 0x95];
    let license = c"GPL";
    let mut attributes = LoadAttributes {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_TRACING as u32,
        insn_cnt: EMPTY.len() as u32,
        insns: address(&EMPTY),
        license: license.as_ptr() as u64,
        expected_attach_type: bpf_attach_type::BPF_TRACE_FENTRY as u32,
        attach_btf_id: function,
        ..LoadAttributes::default()
    };
    // SAFETY: the attributes of the command; what they point to outlives the call.
    owned(unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }?).map(drop)
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;

    use super::*;

    /// include/uapi/linux/bpf.h: where the fields lie that are not zero.
    #[test]
    fn attributes_lie_as_the_kernel_has_them() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(LoadAttributes, prog_name), 48);
        assert_eq!(offset_of!(LoadAttributes, expected_attach_type), 68);
        assert_eq!(offset_of!(LoadAttributes, func_info_cnt), 88);
        assert_eq!(size_of::<LoadAttributes>(), 112);
        assert_eq!(offset_of!(TypesAttributes, btf_size), 16);
        assert_eq!(offset_of!(LinkAttributes, path), 16);
        assert_eq!(offset_of!(LinkAttributes, cnt), 48);
        assert_eq!(offset_of!(LinkAttributes, pid), 56);
        assert_eq!(offset_of!(InfoAttributes, info), 8);
    }

    #[test]
    fn a_call_that_the_kernel_refuses_is_an_error() {
        let closed = OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
        assert!(info(closed.as_fd()).is_err());
        assert!(link(closed.as_fd(), 48, &CString::default(), 0, 0).is_err());
        assert!(load_types(&[]).is_err());
        assert!(try_fentry(u32::MAX).is_err());
    }
}
