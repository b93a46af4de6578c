//! A target that gets SIGURG the way it was meant: for out-of-band data on a TCP connection.

use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, bail};

use super::work::Workers;
use super::{handler, ready, report, wait_for_go};
use crate::options::Options;
use crate::sys;

/// Linux: `F_SETOWN_EX`, `F_OWNER_TID` and `struct f_owner_ex` of <fcntl.h>.
const F_SETOWN_EX: libc::c_int = 15;
const F_OWNER_TID: libc::c_int = 0;

#[repr(C)]
struct OwnerEx {
    kind: libc::c_int,
    pid: libc::pid_t,
}

/// `urgent`: sends itself an urgent byte over loopback every `us` microseconds once a byte of
/// input has come; the socket's owner is the process or (`dir=thread`) the worker.
pub fn urgent(o: &Options) -> Result<()> {
    handler::install(false)?;
    let every_ns = o.get("us", 1_000u64)? * 1_000;
    let to_thread = o.get("dir", "process".to_owned())? == "thread";
    let listener = TcpListener::bind("127.0.0.1:0").context("no loopback socket")?;
    let out = TcpStream::connect(listener.local_addr()?)?;
    // Each byte at once, in the sender's own context: held back for an acknowledgement, it would
    // go out in a timer's context, from which perf loses samples on some kernels (the kernel's
    // count of hits shows it, so the run would not count).
    out.set_nodelay(true)?;
    let (inward, _) = listener.accept()?;
    let fd = inward.as_raw_fd();
    let workers = Workers::start(1, false, move |_, stop| {
        while !stop.load(Ordering::Relaxed) {
            receive(fd);
        }
    })?;
    own(fd, to_thread.then(|| workers.tids[0]))?;
    ready();
    let stop = AtomicBool::new(false);
    if wait_for_go() {
        let sent = std::thread::scope(|scope| {
            let sending = scope.spawn(|| send(&out, every_ns, &stop));
            wait_for_go();
            stop.store(true, Ordering::Relaxed);
            sending.join()
        });
        match sent {
            Ok(sent) => println!("sent {}", sent.context("cannot send urgent data")?),
            Err(_) => bail!("the sending thread panicked"),
        }
    }
    ready();
    wait_for_go();
    workers.finish();
    report();
    Ok(())
}

/// Makes the kernel send SIGURG for `fd` to one thread or to this process.
fn own(fd: i32, thread: Option<i32>) -> Result<()> {
    // SAFETY: the descriptor is open; F_SETOWN takes a number, F_SETOWN_EX a valid pointer.
    let rc = unsafe {
        match thread {
            Some(tid) => {
                let owner = OwnerEx {
                    kind: F_OWNER_TID,
                    pid: tid,
                };
                libc::fcntl(fd, F_SETOWN_EX, &raw const owner)
            }
            None => libc::fcntl(fd, libc::F_SETOWN, libc::getpid()),
        }
    };
    if rc != 0 {
        return Err(std::io::Error::last_os_error()).context("cannot own the socket");
    }
    Ok(())
}

fn receive(fd: i32) {
    let mut poll = libc::pollfd {
        fd,
        events: libc::POLLPRI | libc::POLLIN,
        revents: 0,
    };
    let mut buf = [0u8; 64];
    // SAFETY: one pollfd, and buffers of the lengths stated.
    unsafe {
        if libc::poll(&raw mut poll, 1, 20) == 1 {
            libc::recv(
                fd,
                buf.as_mut_ptr().cast(),
                1,
                libc::MSG_OOB | libc::MSG_DONTWAIT,
            );
            libc::recv(fd, buf.as_mut_ptr().cast(), buf.len(), libc::MSG_DONTWAIT);
        }
    }
}

fn send(out: &TcpStream, every_ns: u64, stop: &AtomicBool) -> std::io::Result<u64> {
    sys::name_thread(b"sender");
    let mut sent = 0;
    while !stop.load(Ordering::Relaxed) {
        // SAFETY: one byte of a constant is read.
        let n = unsafe { libc::send(out.as_raw_fd(), b"!".as_ptr().cast(), 1, libc::MSG_OOB) };
        if n != 1 {
            return Err(std::io::Error::last_os_error());
        }
        sent += 1;
        sys::sleep_ns(every_ns);
    }
    Ok(sent)
}
