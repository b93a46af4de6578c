//! Targets whose workers spin, sleep or mask the signal.

use std::io::{Read as _, Write as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicU64, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

use super::handler;
use crate::options::Options;
use crate::sys;

/// Worker threads that run until stopped.
pub struct Workers {
    stop: Arc<AtomicBool>,
    handles: Vec<JoinHandle<()>>,
    /// Their thread ids in this process's PID namespace.
    pub tids: Vec<i32>,
}

impl Workers {
    /// Starts `count` threads named w0, w1... with SIGURG unblocked, running `body` until the
    /// flag is set, and waits until each runs.
    pub fn start(
        count: usize,
        alternate_stack: bool,
        body: impl Fn(usize, &AtomicBool) + Send + Sync + 'static,
    ) -> Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let body = Arc::new(body);
        let slots: Arc<Vec<AtomicI32>> = Arc::new((0..count).map(|_| AtomicI32::new(0)).collect());
        let mut handles = Vec::new();
        for i in 0..count {
            let (stop, body, slots) = (Arc::clone(&stop), Arc::clone(&body), Arc::clone(&slots));
            let work = move || {
                sys::name_thread(format!("w{i}").as_bytes());
                if alternate_stack {
                    handler::alternate_stack().expect("the kernel gives an alternate stack");
                }
                sys::block_sigurg(false);
                slots[i].store(sys::gettid(), Ordering::Release);
                body(i, &stop);
            };
            let builder = std::thread::Builder::new().stack_size(128 << 10);
            handles.push(
                builder
                    .spawn(work)
                    .context("cannot start a worker thread")?,
            );
        }
        let settled = |s: &AtomicI32| {
            while s.load(Ordering::Acquire) == 0 {
                std::thread::yield_now();
            }
            s.load(Ordering::Acquire)
        };
        let tids = slots.iter().map(settled).collect();
        Ok(Self {
            stop,
            handles,
            tids,
        })
    }

    /// Tells the workers to end and waits for them.
    pub fn finish(self) {
        self.stop.store(true, Ordering::Release);
        for handle in self.handles {
            let _ = handle.join();
        }
    }
}

/// The common course: handler, workers, perhaps a sender among them, end of input, report.
///
/// With `wait=1` the workers start at the first byte of input and end at the second, after
/// which the process goes on idle.
fn course(o: &Options, body: impl Fn(usize, &AtomicBool) + Send + Sync + 'static) -> Result<()> {
    let alternate = o.get("altstack", 0)? != 0;
    handler::spin_for(o.get("handler_us", 0u64)? * 1_000);
    handler::install(alternate)?;
    let wait = o.get("wait", 0)? != 0;
    if wait {
        super::ready();
        super::wait_for_go();
    }
    let workers = Workers::start(o.get("threads", 1)?, alternate, body)?;
    super::ready();
    let stop = AtomicBool::new(false);
    let own = OwnSender::from_options(o, &workers.tids)?;
    std::thread::scope(|scope| match &own {
        Some(own) if own.count > 0 => own.run(&stop),
        own => {
            let sending = own.as_ref().map(|own| scope.spawn(|| own.run(&stop)));
            super::wait_for_go();
            stop.store(true, Ordering::Relaxed);
            match sending.map(std::thread::ScopedJoinHandle::join) {
                Some(Ok(sent)) => sent,
                Some(Err(_)) => bail_io("the target's own sender panicked"),
                None => Ok(()),
            }
        }
    })
    .context("the target's own sender failed")?;
    workers.finish();
    if wait {
        super::ready();
        super::wait_for_go();
    }
    super::report();
    Ok(())
}

fn bail_io(why: &'static str) -> std::io::Result<()> {
    Err(std::io::Error::other(why))
}

/// `spin`: workers that never leave the CPU by themselves, the first `sleepers` excepted; they
/// end after `work_ms`, if given.
pub fn spin(o: &Options) -> Result<()> {
    let sleepers: usize = o.get("sleepers", 0)?;
    let work_ms: u64 = o.get("work_ms", 0)?;
    course(o, move |i, stop| {
        let until = if work_ms == 0 {
            u64::MAX
        } else {
            sys::mono_ns() + work_ms * 1_000_000
        };
        while !stop.load(Ordering::Relaxed) && sys::mono_ns() < until {
            if i < sleepers {
                nap(20_000_000);
            } else {
                std::hint::spin_loop();
            }
        }
    })
}

/// `sleep`: workers that sleep and are woken by each signal.
pub fn sleep(o: &Options) -> Result<()> {
    course(o, |_, stop| {
        while !stop.load(Ordering::Relaxed) {
            nap(100_000_000);
        }
    })
}

/// `beat`: workers that signal themselves (not with `send=0`) every `every_us` by their timers,
/// the first after a part of that, each after another one.
pub fn beat(o: &Options) -> Result<()> {
    let pid = i32::try_from(std::process::id())?;
    let every_ns = o.need::<u64>("every_us")? * 1_000;
    let threads: u64 = o.get("threads", 1)?;
    let sends = o.get("send", 1)? != 0;
    course(o, move |i, stop| {
        // Else a timer is up to 50 us late, and some fall together.
        sys::no_timer_slack();
        let tid = sys::gettid();
        let mut next = sys::mono_ns() + every_ns * (i as u64 + 1) / threads;
        while !stop.load(Ordering::Relaxed) {
            sys::sleep_until_ns(next);
            if sends {
                sys::tgkill(pid, tid, sys::SIGURG).expect("a thread can signal itself");
            }
            next = (next + every_ns).max(sys::mono_ns());
        }
    })
}

/// `raise`: workers that signal themselves, again as soon as their handler has run.
pub fn raise(o: &Options) -> Result<()> {
    let pid = i32::try_from(std::process::id())?;
    course(o, move |_, stop| {
        let tid = sys::gettid();
        while !stop.load(Ordering::Relaxed) {
            sys::tgkill(pid, tid, sys::SIGURG).expect("a thread can signal itself");
        }
    })
}

/// `rouse`: a worker that says when it goes to sleep, and one that never sleeps and wakes it up
/// to 2 us later, each time at another moment.
pub fn rouse(o: &Options) -> Result<()> {
    const LATEST_NS: u64 = 2_000;
    let (sleeps, wakes) = std::io::pipe()?;
    let going = AtomicU64::new(0);
    course(o, move |i, stop| {
        let (mut sleeps, mut wakes) = (&sleeps, &wakes);
        let mut seen = 0;
        while !stop.load(Ordering::Relaxed) {
            if i == 0 {
                going.fetch_add(1, Ordering::Release);
                sleeps.read_exact(&mut [0]).expect("its pipe stays open");
                continue;
            }
            if going.load(Ordering::Acquire) == seen {
                std::hint::spin_loop();
                continue;
            }
            seen += 1;
            let at = sys::mono_ns() + seen * 37 % LATEST_NS;
            while sys::mono_ns() < at {
                std::hint::spin_loop();
            }
            wakes.write_all(b"x").expect("a byte fits into a pipe");
        }
        // The other may wait for it.
        drop(wakes.write_all(b"x"));
    })
}

/// One sleep that a signal cuts short.
fn nap(ns: i64) {
    let ts = libc::timespec {
        tv_sec: 0,
        tv_nsec: ns,
    };
    // SAFETY: `ts` is valid and no remainder is asked for.
    unsafe { libc::nanosleep(&raw const ts, std::ptr::null_mut()) };
}

/// `mask`: workers that block SIGURG for `hold_ms`, asleep or spinning (`how`), and open it
/// for `open_us`, again and again.
pub fn mask(o: &Options) -> Result<()> {
    let hold_ns = o.get("hold_ms", 50u64)? * 1_000_000;
    let open_ns = o.get("open_us", 2_000u64)? * 1_000;
    let how: String = o.get("how", "sleep".to_owned())?;
    let spinning = match how.as_str() {
        "sleep" => false,
        "spin" => true,
        _ => bail!("how={how:?}: sleep or spin"),
    };
    course(o, move |_, stop| {
        while !stop.load(Ordering::Relaxed) {
            sys::block_sigurg(true);
            let until = sys::mono_ns() + hold_ns;
            if spinning {
                while sys::mono_ns() < until {
                    std::hint::spin_loop();
                }
            } else {
                sys::sleep_until_ns(until);
            }
            sys::block_sigurg(false);
            sys::sleep_ns(open_ns);
        }
    })
}

/// `late`: waits for a byte of input, then sleeps for 7 ms at a time until the input closes, and
/// says how many naps that were and how long in all it was neither asleep nor on a CPU.
pub fn late() -> Result<()> {
    const NAP_NS: u32 = 7_000_000;
    // Without slack of the timer, which would count as a wait.
    sys::no_timer_slack();
    super::ready();
    super::wait_for_go();
    // No thread beside it: that one's waits would count too.
    let (begin, ran) = (sys::mono_ns(), sys::thread_cpu_ns());
    println!("begins");
    let mut naps = 0u64;
    while !sys::input_closed() {
        nap(NAP_NS.into());
        naps += 1;
    }
    let wall = sys::mono_ns() - begin;
    let ran = sys::thread_cpu_ns() - ran;
    println!("naps {naps}");
    println!("ran {ran}");
    println!("waited {}", wall - ran - naps * u64::from(NAP_NS));
    Ok(())
}

/// `onoff`: workers that spin for `on_us` and sleep for `off_us` in turn.
pub fn on_off(o: &Options) -> Result<()> {
    let on_ns = o.get("on_us", 3_000u64)? * 1_000;
    let off_ns = o.get("off_us", 7_000u64)? * 1_000;
    course(o, move |_, stop| {
        while !stop.load(Ordering::Relaxed) {
            let until = sys::mono_ns() + on_ns;
            while sys::mono_ns() < until {
                std::hint::spin_loop();
            }
            sys::sleep_ns(off_ns);
        }
    })
}

/// Signals the workers from inside the process, as the Go runtime's monitor does: one signal
/// every `self_us` microseconds, or (`self_next=handled`) as soon as the handler has taken the one
/// before, to each in turn or (`self_dir=process`) to the process.
#[derive(Clone)]
struct OwnSender {
    every_ns: u64,
    /// The next as soon as the one before has been handled.
    at_once: bool,
    to_process: bool,
    /// So many, then the target ends by itself; 0: until stopped.
    count: u64,
    tids: Vec<i32>,
}

impl OwnSender {
    fn from_options(o: &Options, tids: &[i32]) -> Result<Option<Self>> {
        let sender = Self {
            every_ns: o.get("self_us", 0u64)? * 1_000,
            at_once: match o.get("self_next", String::new())?.as_str() {
                "" => false,
                "handled" => true,
                other => bail!("self_next={other:?}: handled"),
            },
            to_process: o.get("self_dir", "thread".to_owned())? == "process",
            count: o.get("self_count", 0)?,
            tids: tids.to_vec(),
        };
        Ok((sender.at_once || sender.every_ns > 0).then_some(sender))
    }

    fn run(&self, stop: &AtomicBool) -> std::io::Result<()> {
        let pid = i32::try_from(std::process::id()).map_err(std::io::Error::other)?;
        let mut next = sys::mono_ns();
        for (sent, tid) in (0u64..).zip(self.tids.iter().cycle()) {
            if stop.load(Ordering::Relaxed) || (self.count > 0 && sent >= self.count) {
                break;
            }
            let before = handler::count();
            if self.to_process {
                sys::kill(pid, sys::SIGURG)?;
            } else {
                sys::tgkill(pid, *tid, sys::SIGURG)?;
            }
            if self.at_once {
                while handler::count() == before && !stop.load(Ordering::Relaxed) {
                    std::hint::spin_loop();
                }
                continue;
            }
            next = (next + self.every_ns).max(sys::mono_ns());
            sys::sleep_until_ns(next);
        }
        Ok(())
    }
}
