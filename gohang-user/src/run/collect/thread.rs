//! The threads of a process: what each does in the kernel.

use std::collections::BTreeSet;

use super::text;
use crate::process::{ProcError, ProcRoot, Stat};
use crate::run::evidence::{BlockedOn, OpenFile, Syscall, Thread};

/// Most threads of a process that are looked at.
const MAX_THREADS: usize = 128;
/// Most frames of a kernel stack.
const MAX_FRAMES: usize = 64;

/// System calls in which programs wait, with whether the first argument is a descriptor.
const WAITING: [(i64, &str, bool); 28] = [
    (libc::SYS_read, "read", true),
    (libc::SYS_readv, "readv", true),
    (libc::SYS_pread64, "pread64", true),
    (libc::SYS_write, "write", true),
    (libc::SYS_writev, "writev", true),
    (libc::SYS_sendto, "sendto", true),
    (libc::SYS_sendmsg, "sendmsg", true),
    (libc::SYS_recvfrom, "recvfrom", true),
    (libc::SYS_recvmsg, "recvmsg", true),
    (libc::SYS_connect, "connect", true),
    (libc::SYS_accept, "accept", true),
    (libc::SYS_accept4, "accept4", true),
    (libc::SYS_flock, "flock", true),
    (libc::SYS_fcntl, "fcntl", true),
    (libc::SYS_ioctl, "ioctl", true),
    (libc::SYS_fsync, "fsync", true),
    (libc::SYS_splice, "splice", true),
    (libc::SYS_epoll_pwait, "epoll_pwait", false),
    (libc::SYS_ppoll, "ppoll", false),
    (libc::SYS_pselect6, "pselect6", false),
    (libc::SYS_futex, "futex", false),
    (libc::SYS_wait4, "wait4", false),
    (libc::SYS_waitid, "waitid", false),
    (libc::SYS_nanosleep, "nanosleep", false),
    (libc::SYS_clock_nanosleep, "clock_nanosleep", false),
    (libc::SYS_rt_sigtimedwait, "rt_sigtimedwait", false),
    (libc::SYS_rt_sigsuspend, "rt_sigsuspend", false),
    (libc::SYS_restart_syscall, "restart_syscall", false),
];

/// Those that only some architectures have.
#[cfg(target_arch = "x86_64")]
const OLDER: [(i64, &str, bool); 4] = [
    (libc::SYS_poll, "poll", false),
    (libc::SYS_select, "select", false),
    (libc::SYS_epoll_wait, "epoll_wait", false),
    (libc::SYS_pause, "pause", false),
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: [(i64, &str, bool); 0] = [];

/// The threads of process `pid`, which has `files` open.
pub(super) fn all(
    proc: &ProcRoot,
    pid: u32,
    files: &[OpenFile],
    lacking: &mut BTreeSet<String>,
) -> Vec<Thread> {
    let tids = proc.threads(pid).unwrap_or_default();
    let threads = tids.into_iter().take(MAX_THREADS);
    threads
        .filter_map(|tid| one(proc, pid, tid, files, lacking))
        .collect()
}

fn one(
    proc: &ProcRoot,
    pid: u32,
    tid: u32,
    files: &[OpenFile],
    lacking: &mut BTreeSet<String>,
) -> Option<Thread> {
    let read = |name: &str| proc.read_pid_file(pid, &format!("task/{tid}/{name}"));
    let stat = Stat::parse(&read("stat").ok()?).ok()?;
    let mut optional = |what: &str, name: &str| match read(name) {
        Ok(raw) => text(&raw),
        Err(error) => {
            if matches!(error, ProcError::Denied { .. }) {
                lacking.insert(format!("{what}: /proc/PID/{name} may not be read"));
            }
            String::new()
        }
    };
    let wchan = optional("where threads wait in the kernel", "wchan");
    let call = parse(&optional("system calls", "syscall"));
    let stack = optional("kernel stacks", "stack");
    let blocked_on = call.as_ref().and_then(|call| blocked_on(call, files));
    Some(Thread {
        tid,
        comm: text(&stat.comm),
        state: stat.state.to_string(),
        wchan: if wchan == "0" { String::new() } else { wchan },
        syscall: call,
        blocked_on,
        stack: stack.lines().take(MAX_FRAMES).map(function).collect(),
        pending: proc
            .thread_status(pid, tid)
            .map_or(0, |status| status.sig_pending.0),
    })
}

/// `[<0>] futex_wait_queue+0x6a/0xa0` as `futex_wait_queue`.
fn function(line: &str) -> String {
    let name = line.split_once("] ").map_or(line, |(_, name)| name);
    name.split('+').next().unwrap_or(name).to_owned()
}

/// `0 0x0 0x7f... 0x... SP PC`; `running` and `-1 SP PC` are in none.
fn parse(text: &str) -> Option<Syscall> {
    let mut words = text.split_ascii_whitespace();
    let number = words.next()?.parse::<u64>().ok()?;
    let hex = |word: &str| u64::from_str_radix(word.strip_prefix("0x")?, 16).ok();
    let args: Vec<u64> = words.take(6).map_while(hex).collect();
    let name = known(number).map(|(name, _)| name.to_owned());
    (args.len() == 6).then_some(Syscall { number, name, args })
}

fn known(number: u64) -> Option<(&'static str, bool)> {
    let all = WAITING.iter().chain(&OLDER);
    let mut named = all.filter(|(known, ..)| u64::try_from(*known) == Ok(number));
    named.next().map(|&(_, name, on_fd)| (name, on_fd))
}

/// What a call waits on, if its first argument is a descriptor.
fn blocked_on(call: &Syscall, files: &[OpenFile]) -> Option<BlockedOn> {
    let (_, on_fd) = known(call.number)?;
    let fd = u32::try_from(*call.args.first()?).ok().filter(|_| on_fd)?;
    let target = files.iter().find(|file| file.fd == fd);
    Some(BlockedOn {
        fd,
        target: target.map_or_else(String::new, |file| file.target.clone()),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn calls_and_what_they_are_on() {
        let read = libc::SYS_read;
        let call = parse(&format!("{read} 0x3 0x7f 0x400 0x0 0x0 0x0 0x7ffe 0x7f1\n")).unwrap();
        assert_eq!(call.name.as_deref(), Some("read"));
        let files = [OpenFile {
            fd: 3,
            target: "pipe:[5]".into(),
            access: None,
        }];
        let on = blocked_on(&call, &files).unwrap();
        assert_eq!((on.fd, on.target.as_str()), (3, "pipe:[5]"));
        let futex = libc::SYS_futex;
        let call = parse(&format!("{futex} 0x3 0x0 0x0 0x0 0x0 0x0 0x1 0x2")).unwrap();
        assert_eq!(call.name.as_deref(), Some("futex"));
        assert_eq!(blocked_on(&call, &files), None);
        for none in ["running\n", "-1 0x7ffe 0x7f1\n", "", "0 0x1"] {
            assert_eq!(parse(none), None, "{none:?}");
        }
    }

    #[test]
    fn frames_of_the_kernel() {
        assert_eq!(function("[<0>] pipe_read+0x2f3/0x3f0"), "pipe_read");
        assert_eq!(function("[<0>] entry"), "entry");
        assert_eq!(function("odd"), "odd");
    }

    proptest! {
        #[test]
        fn reading_never_panics(text in "(-?[0-9]{0,25}( 0x[0-9a-f]{0,20}){0,9})|.{0,40}") {
            let _ = (parse(&text), function(&text));
        }
    }
}
