//! Preloaded into gohang, asks the kernel's verifier what each program costs it.
//!
//! It takes the place of libc's `syscall`, through which the loader calls bpf(2), and has
//! programs loaded with the verifier's statistics where the caller asked for no log of its
//! own. What the verifier says is appended to the file that [`FILE`] names: a line
//! `program NAME`, then the verifier's lines, each after a tab. Without that variable, and
//! for every other call, it only passes on.

mod attributes;
mod load;
mod name;
mod next;
mod record;

use std::ffi::{c_int, c_long, c_uint};

/// The environment variable with the path of the file.
pub const FILE: &str = "GOHANG_VERIFIER_LOG";

/// The command `BPF_PROG_LOAD` (include/uapi/linux/bpf.h).
const PROG_LOAD: c_int = 5;

/// libc's `syscall`: variadic there, of as many arguments as a system call can have, which
/// the calling convention of `x86_64` passes in the same places.
///
/// # Safety
/// As for the system call itself.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syscall(
    number: c_long,
    a: c_long,
    b: c_long,
    c: c_long,
    d: c_long,
    e: c_long,
    f: c_long,
) -> c_long {
    if number == libc::SYS_bpf && a as c_int == PROG_LOAD {
        // SAFETY: the caller answers for the arguments of a BPF_PROG_LOAD.
        if let Some(fd) = unsafe { load::load(b as *const u8, c as c_uint as usize) } {
            return fd;
        }
    }
    // SAFETY: the caller's own call, unchanged.
    unsafe { next::syscall([number, a, b, c, d, e, f]) }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The test program's own calls go through it too.
    #[test]
    fn other_calls_are_passed_on_with_their_errors() {
        // SAFETY: neither call has an argument that points to anything.
        let (pid, closed) = unsafe {
            (
                syscall(libc::SYS_getpid, 0, 0, 0, 0, 0, 0),
                syscall(libc::SYS_close, -1, 0, 0, 0, 0, 0),
            )
        };
        let error = std::io::Error::last_os_error();
        assert_eq!(pid, c_long::from(std::process::id()));
        assert_eq!(closed, -1);
        assert_eq!(error.raw_os_error(), Some(libc::EBADF));
    }
}
