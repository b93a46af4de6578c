//! Prints what a program was given at its start, for a comparison line by line.

use std::fs;
use std::os::unix::fs::FileTypeExt;

use anyhow::Result;

/// Prints arguments, folder, environment, limits, signal masks, priorities and descriptors.
///
/// # Errors
/// When `/proc` cannot be read.
pub fn print() -> Result<()> {
    for (n, arg) in std::env::args_os().enumerate().skip(1) {
        println!("argument {n} {arg:?}");
    }
    println!("folder {:?}", std::env::current_dir()?);
    let mut environment: Vec<_> = std::env::vars_os().collect();
    environment.sort();
    for (name, value) in environment {
        println!("environment {name:?}={value:?}");
    }
    let status = fs::read_to_string("/proc/self/status")?;
    let same = [
        "Umask",
        "Uid",
        "Gid",
        "Groups",
        "SigPnd",
        "ShdPnd",
        "SigBlk",
        "SigIgn",
        "SigCgt",
        "CapInh",
        "CapPrm",
        "CapEff",
        "CapBnd",
        "CapAmb",
        "NoNewPrivs",
        "Seccomp",
        "Cpus_allowed",
        "Mems_allowed",
    ];
    for line in status.lines() {
        if same.iter().any(|name| line.split(':').next() == Some(name)) {
            println!("status {line}");
        }
    }
    print!("{}", fs::read_to_string("/proc/self/limits")?);
    // SAFETY: numbers only.
    let (nice, pdeathsig) = unsafe {
        let mut signal: libc::c_int = 0;
        libc::prctl(libc::PR_GET_PDEATHSIG, &raw mut signal);
        (libc::getpriority(libc::PRIO_PROCESS, 0), signal)
    };
    println!("nice {nice}, signal at the parent's death {pdeathsig}");
    println!(
        "oom_score_adj {}",
        fs::read_to_string("/proc/self/oom_score_adj")?.trim()
    );
    for fd in descriptors()? {
        let meta = fs::metadata(format!("/proc/self/fd/{fd}"));
        let Ok(meta) = meta else { continue };
        let kind = meta.file_type();
        println!(
            "descriptor {fd} fifo {} socket {} character device {} file {}",
            kind.is_fifo(),
            kind.is_socket(),
            kind.is_char_device(),
            kind.is_file()
        );
    }
    Ok(())
}

fn descriptors() -> Result<Vec<i32>> {
    let mut found = Vec::new();
    for entry in fs::read_dir("/proc/self/fd")? {
        found.extend(
            entry?
                .file_name()
                .to_str()
                .and_then(|name| name.parse::<i32>().ok()),
        );
    }
    found.sort_unstable();
    Ok(found)
}

/// Prints which of the standard streams are terminals, and whether this process is in the
/// foreground there.
///
/// # Errors
/// When it cannot print.
pub fn print_terminal() -> Result<()> {
    for fd in 0..3 {
        // SAFETY: numbers only.
        let (is_terminal, foreground) =
            unsafe { (libc::isatty(fd), libc::tcgetpgrp(fd) == libc::getpgrp()) };
        println!("descriptor {fd} terminal {is_terminal} foreground {foreground}");
    }
    println!(
        "controlling terminal {}",
        fs::File::open("/dev/tty").is_ok()
    );
    Ok(())
}
