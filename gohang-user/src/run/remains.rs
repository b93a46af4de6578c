//! What is still running when the command itself has ended.

use std::time::{Duration, Instant};

use super::orphans;
use super::place::{Place, PlaceError};
use super::say::say;
use crate::process::{ProcRoot, escape};

/// How long what is ending by itself is given.
const SETTLE: Duration = Duration::from_millis(20);
/// How long the others may take after SIGTERM.
const GRACE: Duration = Duration::from_secs(1);
/// How long the kernel may take to end what was killed.
const KILL_TIMEOUT: Duration = Duration::from_secs(10);
/// Most processes that are named.
const NAMED: usize = 5;
const PAUSE: Duration = Duration::from_millis(2);

/// Ends what the command left running and removes its place. What does not work is said.
pub(super) fn end(mut place: Box<dyn Place>, proc: &ProcRoot) {
    if let Err(error) = end_processes(place.as_mut(), proc).and_then(|()| place.close(KILL_TIMEOUT))
    {
        say(&format!(
            "warning: {error}; `gohang clean` removes what is left"
        ));
    }
    // What was killed last.
    let _ = orphans::collect(None);
}

fn end_processes(place: &mut dyn Place, proc: &ProcRoot) -> Result<(), PlaceError> {
    if is_empty_within(place, SETTLE)? {
        return Ok(());
    }
    let left = place.processes()?;
    if !left.is_empty() {
        say(&format!(
            "ended what the command left running: {}",
            names(proc, &left)
        ));
    }
    place.signal(libc::SIGTERM)?;
    if is_empty_within(place, GRACE)? {
        return Ok(());
    }
    place.kill(KILL_TIMEOUT)
}

/// Waits until nothing runs there any more; whether that was within `limit`.
pub(super) fn is_empty_within(place: &dyn Place, limit: Duration) -> Result<bool, PlaceError> {
    let end = Instant::now() + limit;
    loop {
        if place.processes()?.is_empty() {
            return Ok(true);
        }
        if Instant::now() >= end {
            return Ok(false);
        }
        std::thread::sleep(PAUSE);
    }
}

/// The first few processes by name.
pub(super) fn names(proc: &ProcRoot, pids: &[u32]) -> String {
    let named = pids.iter().take(NAMED).map(|&pid| {
        let comm = proc.comm(pid).unwrap_or_else(|_| b"?".to_vec());
        format!("{} ({pid})", escape(comm))
    });
    let mut text = named.collect::<Vec<_>>().join(", ");
    if pids.len() > NAMED {
        text.push_str(&format!(" and {} more", pids.len() - NAMED));
    }
    text
}
