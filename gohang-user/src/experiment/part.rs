//! An experiment's processes: the one that is signalled, and the sender outside.

use std::convert::Infallible;
use std::io;
use std::sync::atomic::{AtomicPtr, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use super::ExperimentError;
use super::os;
use super::out_of_band::Line;
use super::plan::Method;
use super::shared::{Mapping, Sends, step};

/// Time from send to send.
pub(crate) const SEND_EVERY_NS: u64 = 1_000_000;
/// How often one who waits looks again whatever happens.
const LOOK_AGAIN: Duration = Duration::from_secs(1);

/// What a process of an experiment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// Spins and is signalled; may signal itself as well.
    Target,
    /// Signals from outside the group.
    Sender,
    /// Works as it is told.
    Load,
}

impl Role {
    /// As the command line has it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Target => "target",
            Self::Sender => "sender",
            Self::Load => "load",
        }
    }
}

/// The life of a process of an experiment; it is ended from outside, but for a load, which
/// does `what` it is told.
///
/// # Errors
/// It was not started by an experiment, or cannot do its part.
pub fn run_part(role: Role, parent: u32, what: &str) -> Result<(), ExperimentError> {
    let failed = |action| move |source| ExperimentError::System { action, source };
    os::die_with_parent(parent).map_err(failed("tie the process to the gohang that started it"))?;
    // Neither part needs any.
    crate::privilege::keep_only(&[])?;
    let shared = || Mapping::of(&io::stdin()).map_err(failed("map the memory shared with gohang"));
    match role {
        Role::Target => target(shared()?).map_err(failed("be the signalled process")),
        Role::Sender => sender(&shared()?).map_err(failed("send signals from outside the group")),
        Role::Load => super::load::live(what).map_err(failed("work as it was told")),
    }
}

fn wait_for(shared: &Mapping, wanted: u32) {
    loop {
        let now = shared.step.load(Ordering::SeqCst);
        if now >= wanted {
            return;
        }
        os::wait_while(&shared.step, now, LOOK_AGAIN);
    }
}

/// Where the handler counts; a handler can only reach statics.
static HANDLED: AtomicPtr<AtomicU64> = AtomicPtr::new(std::ptr::null_mut());

extern "C" fn handle(_signal: libc::c_int) {
    let handled = HANDLED.load(Ordering::Relaxed);
    if !handled.is_null() {
        // SAFETY: points into the mapping, which lives until the process ends.
        unsafe { (*handled).fetch_add(1, Ordering::Relaxed) };
    }
}

fn target(shared: Mapping) -> io::Result<()> {
    // The threads that spin and handle signals end with the process.
    let shared: &'static Mapping = Box::leak(Box::new(shared));
    os::add_one(&shared.ready);
    wait_for(shared, step::SPIN);
    HANDLED.store(
        std::ptr::from_ref(&shared.handled).cast_mut(),
        Ordering::Relaxed,
    );
    os::handle_sigurg(handle)?;
    // One sent to the process is for the busy thread alone.
    os::block_sigurg(true)?;
    let busy = thread::Builder::new().name("busy".into());
    busy.spawn(|| -> io::Result<Infallible> {
        os::block_sigurg(false)?;
        shared.busy_tid.store(os::thread_id(), Ordering::SeqCst);
        os::add_one(&shared.ready);
        loop {
            // A tight loop: nothing that enters the kernel.
            std::hint::black_box(());
        }
    })?;
    if shared.from_inside.load(Ordering::SeqCst) != 0 {
        send(shared, &shared.inside, std::process::id())?;
    } else {
        wait_for(shared, step::STOP);
    }
    wait_to_be_ended(shared)
}

fn sender(shared: &Mapping) -> io::Result<()> {
    os::add_one(&shared.ready);
    send(
        shared,
        &shared.outside,
        shared.target_pid.load(Ordering::SeqCst),
    )?;
    wait_to_be_ended(shared)
}

fn wait_to_be_ended(shared: &Mapping) -> ! {
    loop {
        os::wait_while(&shared.step, step::STOP, LOOK_AGAIN);
    }
}

/// A way to signal the busy thread of one process.
enum Way {
    Tgkill { pid: u32, tid: u32 },
    OutOfBand(Line),
}

impl Way {
    /// As the experiment wants it.
    fn of(shared: &Mapping, pid: u32) -> io::Result<Self> {
        match Method::of_code(shared.method.load(Ordering::SeqCst)) {
            Some(Method::Tgkill) => Ok(Self::Tgkill {
                pid,
                tid: shared.busy_tid.load(Ordering::SeqCst),
            }),
            Some(Method::OutOfBand) => Ok(Self::OutOfBand(Line::to(pid)?)),
            None => Err(io::Error::other("it is not said how to send")),
        }
    }

    fn send(&mut self) -> io::Result<()> {
        match self {
            Self::Tgkill { pid, tid } => os::send_sigurg(*pid, *tid),
            Self::OutOfBand(line) => line.send(),
        }
    }
}

/// Sends every [`SEND_EVERY_NS`], from [`step::SEND`] to [`step::STOP`].
fn send(shared: &Mapping, sends: &Sends, pid: u32) -> io::Result<()> {
    wait_for(shared, step::SEND);
    let mut way = Way::of(shared, pid)?;
    let mut next = os::now_ns()? + SEND_EVERY_NS;
    loop {
        os::sleep_until(next)?;
        if shared.step.load(Ordering::SeqCst) != step::SEND {
            break;
        }
        let now = os::now_ns()?;
        way.send()?;
        if !sends.note(now) {
            break;
        }
        // One that was kept from running does not make up for it.
        next = now.max(next) + SEND_EVERY_NS;
    }
    wait_for(shared, step::STOP);
    os::add_one(&shared.ready);
    Ok(())
}
