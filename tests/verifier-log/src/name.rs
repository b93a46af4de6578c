//! A program's whole name. The kernel keeps 15 characters, in which `sched_process_exec`
//! and `sched_process_exit` are the same; the types that come with a program have all.

use std::ffi::c_int;
use std::io;
use std::ptr;

use gohang::btf::Btf;

use crate::next;

/// The command `BPF_OBJ_GET_INFO_BY_FD` (include/uapi/linux/bpf.h).
const GET_INFO: c_int = 15;

/// The name of the function that a `struct bpf_func_info` describes, in types that are
/// already with the kernel.
///
/// # Errors
/// The kernel does not hand the types out, or they have no such function.
///
/// # Safety
/// `function` is the address of a `struct bpf_func_info`.
pub unsafe fn of(types: u32, function: u64) -> io::Result<String> {
    // insn_off, then type_id.
    // SAFETY: the caller's promise; the structure begins with these words.
    let [_, id] = unsafe { ptr::read_unaligned(function as *const [u32; 2]) };
    let types = Btf::parse(&types_of(types)?).map_err(io::Error::other)?;
    let name = types.func_name(id).map(str::to_owned);
    name.ok_or_else(|| io::Error::other(format!("a program's types have no function {id}")))
}

/// The types behind a descriptor.
fn types_of(fd: u32) -> io::Result<Vec<u8>> {
    let size = fill(fd, &mut [])?;
    let mut types = vec![0; size as usize];
    fill(fd, &mut types)?;
    // The kernel wrote behind the compiler's back.
    Ok(std::hint::black_box(types))
}

/// Has the kernel write as many of the types as fit, and returns how many there are.
fn fill(fd: u32, types: &mut [u8]) -> io::Result<u32> {
    let length = u32::try_from(types.len()).map_err(io::Error::other)?;
    // struct bpf_btf_info begins: btf, btf_size, id.
    let mut info = [types.as_mut_ptr() as u64, u64::from(length)];
    // Of union bpf_attr: bpf_fd, info_len, info.
    let mut attributes = [0u8; 16];
    attributes[..4].copy_from_slice(&fd.to_ne_bytes());
    attributes[4..8].copy_from_slice(&16u32.to_ne_bytes());
    attributes[8..].copy_from_slice(&(info.as_mut_ptr() as u64).to_ne_bytes());
    // SAFETY: the structure and the buffer are as large as is stated, and live until it is done.
    unsafe { next::bpf(GET_INFO, &mut attributes) }?;
    Ok(std::hint::black_box(info)[1] as u32)
}
