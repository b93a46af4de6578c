//! Commands that use something up.

use anyhow::Result;

use super::say;
use crate::options::Options;
use crate::sys;

/// Spins for `ms=` of wall time on one CPU and prints the CPU time that it got, nanoseconds.
///
/// # Errors
/// On bad options.
pub fn spin(o: &Options) -> Result<()> {
    let from = sys::mono_ns();
    let until = from + o.need::<u64>("ms")? * 1_000_000;
    while sys::mono_ns() < until {
        std::hint::spin_loop();
    }
    say(&format!(
        "used {} of {}",
        sys::thread_cpu_ns(),
        sys::mono_ns() - from
    ))
}

/// Prints a line for every `cpu_ms=` of CPU time that it gets, without end.
///
/// # Errors
/// On bad options.
pub fn steps(o: &Options) -> Result<()> {
    let step = o.need::<u64>("cpu_ms")? * 1_000_000;
    for number in 1.. {
        while sys::thread_cpu_ns() < number * step {
            std::hint::spin_loop();
        }
        say(&format!("step {number}"))?;
    }
    Ok(())
}

/// Takes and touches `mib=` of memory, and holds it for `ms=`.
///
/// # Errors
/// On bad options.
pub fn eat(o: &Options) -> Result<()> {
    let bytes = o.need::<usize>("mib")? << 20;
    let mut memory = vec![0u8; bytes];
    for at in (0..bytes).step_by(4096) {
        memory[at] = 1;
    }
    say("ready")?;
    sys::sleep_ns(o.get("ms", 0u64)? * 1_000_000);
    say(&format!(
        "had {}",
        memory.iter().map(|&b| u64::from(b)).sum::<u64>()
    ))
}

/// Leaves `n=` daemons behind: sessions of their own, with no open streams and no parent. Exits
/// with 3 once they are there, after it has printed their ids.
///
/// # Errors
/// When it cannot fork or print.
pub fn daemon(o: &Options) -> Result<()> {
    for _ in 0..o.get("n", 1u32)? {
        let mut pipe = [0; 2];
        // SAFETY: this process has one thread. The daemon keeps to system calls.
        unsafe {
            libc::pipe(pipe.as_mut_ptr());
            let middle = libc::fork();
            if middle == 0 {
                libc::setsid();
                if libc::fork() != 0 {
                    libc::_exit(0);
                }
                let pid = libc::getpid();
                libc::write(pipe[1], (&raw const pid).cast(), 4);
                for fd in 0..8 {
                    libc::close(fd);
                }
                loop {
                    libc::sleep(1000);
                }
            }
            libc::waitpid(middle, std::ptr::null_mut(), 0);
            let mut pid = 0i32;
            libc::read(pipe[0], (&raw mut pid).cast(), 4);
            say(&format!("daemon {pid}"))?;
        }
    }
    std::process::exit(3)
}

/// Forks without end, and says once when the kernel refuses. `depth=` 0 is the first.
///
/// # Errors
/// When it cannot print.
pub fn bomb(_: &Options) -> Result<()> {
    let mut told = false;
    loop {
        // SAFETY: the children do the same as this process, which has one thread.
        let pid = unsafe { libc::fork() };
        if pid < 0 && !told {
            told = true;
            say("refused")?;
        }
        // Its children end up waiting here.
        sys::sleep_ns(1_000_000);
    }
}
