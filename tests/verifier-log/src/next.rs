//! libc's own `syscall`.

use std::ffi::{c_int, c_long, c_void};
use std::io;
use std::ptr;
use std::sync::atomic::{AtomicPtr, Ordering};

type Syscall =
    unsafe extern "C" fn(c_long, c_long, c_long, c_long, c_long, c_long, c_long) -> c_long;

/// Calls the `syscall` that comes after this library's.
///
/// # Safety
/// As for the system call itself.
pub unsafe fn syscall([number, a, b, c, d, e, f]: [c_long; 7]) -> c_long {
    let Some(next) = find() else {
        return fail(libc::ENOSYS);
    };
    // SAFETY: `next` is libc's function, and the caller answers for the call.
    unsafe { next(number, a, b, c, d, e, f) }
}

/// Calls bpf(2) with this command and attributes.
///
/// # Errors
/// What the kernel says.
///
/// # Safety
/// The pointers in the attributes are valid for the command.
pub unsafe fn bpf(command: c_int, attributes: &mut [u8]) -> io::Result<c_long> {
    let at = attributes.as_mut_ptr() as c_long;
    let size = c_long::try_from(attributes.len()).map_err(io::Error::other)?;
    let arguments = [libc::SYS_bpf, command.into(), at, size, 0, 0, 0];
    // SAFETY: the block has the size stated, and the caller answers for what it points to.
    let result = unsafe { syscall(arguments) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

/// The next function of that name after this library's; none only in a program without a
/// libc that has it.
fn find() -> Option<Syscall> {
    // Nothing that waits: waiting for a lock is a call of `syscall` itself.
    static NEXT: AtomicPtr<c_void> = AtomicPtr::new(ptr::null_mut());
    let mut address = NEXT.load(Ordering::Acquire);
    if address.is_null() {
        // SAFETY: the name ends with a NUL.
        address = unsafe { libc::dlsym(libc::RTLD_NEXT, c"syscall".as_ptr()) };
        NEXT.store(address, Ordering::Release);
    }
    if address.is_null() {
        return None;
    }
    // SAFETY: libc's `syscall` takes its arguments, as many as there are, as seven words.
    Some(unsafe { std::mem::transmute::<*mut c_void, Syscall>(address) })
}

/// Returns as a system call that failed does.
fn fail(error: c_int) -> c_long {
    // SAFETY: it is this thread's own.
    unsafe { *libc::__errno_location() = error };
    -1
}
