//! The targets of the cause test: each makes one cause of delay for the injector, see there.

use std::sync::Mutex;
use std::sync::atomic::{AtomicPtr, Ordering};

use anyhow::{Result, bail};

use super::work::Workers;
use super::{handler, ready, wait_for_go};
use crate::options::Options;
use crate::page::Page;
use crate::sys;

/// How long a condition is held after the signal has been sent, ns, at pace 1.
const HOLD_NS: u64 = 2_000_000;

/// How often a sleeping target looks at the page, ns, at pace 1.
const LOOK_NS: u64 = 100_000;

/// The page, for the handler.
static PAGE: AtomicPtr<Page> = AtomicPtr::new(std::ptr::null_mut());

/// Async-signal-safe: the clock and atomic stores.
extern "C" fn on_sigurg(_sig: libc::c_int) {
    let now = sys::mono_ns();
    // SAFETY: set before the handler is installed, to a page that is never unmapped.
    let page = unsafe { &*PAGE.load(Ordering::Acquire) };
    page.handled_ns.store(now, Ordering::Relaxed);
    page.handled.fetch_add(1, Ordering::Release);
}

/// `cause`: the worker, which there is from the first byte of input on, so that it takes no
/// time from others before, does what `how` says, once a round that is asked for in the page
/// `page`, until the page says stop:
///
/// - `masked`: blocks the signal until it has been sent and a while longer; spinning and
///   asleep in turn;
/// - `blocked`: is a vfork parent for so long;
/// - `running`: spins until its handler has run;
/// - `spin`: spins from the first round on.
pub fn cause(o: &Options) -> Result<()> {
    let page = Page::open(&o.need::<String>("page")?)?;
    PAGE.store(std::ptr::from_ref(page).cast_mut(), Ordering::Release);
    handler::install_other(on_sigurg)?;
    let how: String = o.need("how")?;
    let round: Box<dyn FnMut(u64) + Send> = match how.as_str() {
        "masked" => Box::new(|n| masked(page, n)),
        "blocked" => {
            let mut stack = vec![0u8; 64 << 10];
            Box::new(move |n| blocked(page, n, &mut stack))
        }
        "running" => {
            Box::new(|n| spin_until(page, n, || page.handled.load(Ordering::Acquire) >= n))
        }
        "spin" => Box::new(|n| spin_until(page, n, || false)),
        _ => bail!("how={how:?}: masked, blocked, running or spin"),
    };
    let round = Mutex::new(round);
    ready();
    if !wait_for_go() {
        return Ok(());
    }
    let workers = Workers::start(1, false, move |_, _| {
        let mut round = round.lock().expect("there is one worker");
        let mut done = 0;
        while !page.is_stopped() {
            let asked = page.ask.load(Ordering::Acquire);
            if asked == done {
                sys::sleep_ns(page.paced(LOOK_NS));
            } else {
                done = asked;
                round(asked);
            }
        }
    })?;
    ready();
    wait_for_go();
    page.stop.store(1, Ordering::Release);
    workers.finish();
    Ok(())
}

fn is_sent(page: &Page, n: u64) -> bool {
    page.sent.load(Ordering::Acquire) >= n || page.is_stopped()
}

fn masked(page: &Page, n: u64) {
    let wait = |done: &dyn Fn() -> bool| {
        while !done() {
            if n.is_multiple_of(2) {
                std::hint::spin_loop();
            } else {
                sys::sleep_ns(page.paced(LOOK_NS));
            }
        }
    };
    sys::block_sigurg(true);
    page.ready.store(n, Ordering::Release);
    wait(&|| is_sent(page, n));
    let until = sys::mono_ns() + page.paced(HOLD_NS);
    wait(&|| sys::mono_ns() >= until);
    page.ended_ns.store(sys::mono_ns(), Ordering::Release);
    sys::block_sigurg(false);
}

fn spin_until(page: &Page, n: u64, done: impl Fn() -> bool) {
    page.beat();
    page.ready.store(n, Ordering::Release);
    while !done() && !page.is_stopped() {
        page.beat();
    }
}

/// What the vfork child is told.
struct Child<'a> {
    page: &'a Page,
    round: u64,
}

fn blocked(page: &Page, round: u64, stack: &mut [u8]) {
    let child = Child { page, round };
    let given = std::ptr::from_ref(&child).cast_mut().cast();
    // SAFETY: what the child is given outlives it, as this thread waits for its end.
    unsafe { sys::vfork_and_wait(stack, vfork_child, given) };
}

extern "C" fn vfork_child(arg: *mut libc::c_void) -> libc::c_int {
    // SAFETY: the parent passes a `Child` and waits.
    let Child { page, round } = unsafe { &*arg.cast::<Child>() };
    let round = *round;
    // Tied to the parent's CPU and of its priority, it runs once the parent waits.
    page.ready.store(round, Ordering::Release);
    while !is_sent(page, round) {
        sys::sleep_ns(page.paced(LOOK_NS));
    }
    sys::sleep_ns(page.paced(HOLD_NS));
    page.ended_ns.store(sys::mono_ns(), Ordering::Release);
    // SAFETY: ends the child without running what its parent has registered.
    unsafe { libc::_exit(0) }
}
