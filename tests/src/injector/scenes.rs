//! The course of each scene.

use std::sync::atomic::Ordering;

use anyhow::Result;

use super::witness::{Rank, Witness};
use super::{Injector, Sent};
use crate::sys;

// All of these are times at pace 1.

/// How long the injector keeps the target's CPU, ns, and then leaves it; a real-time thread
/// must leave more than 5 % of the time to others.
const KEEP_NS: u64 = 2_000_000;
const LEAVE_NS: u64 = 3_000_000;

/// Between two rounds of a target that spins for the signal, ns, so that it sleeps more than
/// it spins.
const REST_NS: u64 = 500_000;

/// A running target handles a signal sooner than this, or its label is uncertain, ns: the
/// shortest time for which any other scene holds its cause.
const SOON_NS: u64 = 2_000_000;

/// A spinning target that has not beaten for so long may be out of quota, ns.
const STILL_NS: u64 = 1_000_000;

/// Between two looks of the witness, ns.
const LOOK_NS: u64 = 500_000;

/// So often the witness must have run from the send on, or it is no proof.
const LOOKS: usize = 3;

impl Injector {
    /// The target holds its condition until the signal has been sent, and says when it ends it.
    pub(super) fn held(&mut self) -> Result<()> {
        while self.is_wanted()? {
            let n = self.ask()?;
            let sent = self.send()?;
            self.page.sent.store(n, Ordering::Release);
            let handled_ns = self.handled()?;
            let ended_ns = self.page.ended_ns.load(Ordering::Acquire);
            self.label(sent, sent.is_mostly_until(ended_ns, handled_ns))?;
        }
        Ok(())
    }

    /// The target beats on a CPU of its own.
    pub(super) fn running(&mut self) -> Result<()> {
        while self.is_wanted()? {
            self.ask()?;
            let seen_ns = self.beat_ns();
            let limit = sys::mono_ns() + self.page.paced(SOON_NS);
            // Awake, so that the send follows the beat at once.
            while self.beat_ns() == seen_ns && sys::mono_ns() < limit {
                std::hint::spin_loop();
            }
            let moving = self.beat_ns() != seen_ns;
            let sent = self.send()?;
            let handled_ns = self.handled()?;
            let soon = handled_ns.saturating_sub(sent.before_ns) < self.page.paced(SOON_NS);
            self.label(sent, moving && soon)?;
            sys::sleep_ns(REST_NS);
        }
        Ok(())
    }

    /// The target spins on the CPU that the injector takes and keeps.
    pub(super) fn runqueue(&mut self) -> Result<()> {
        self.ask()?;
        while self.is_wanted()? {
            sys::sleep_ns(self.page.paced(LEAVE_NS));
            let beat_ns = self.beat_ns();
            let sent = self.send()?;
            let mut until_ns = sent.after_ns;
            while until_ns < sent.after_ns + self.page.paced(KEEP_NS) {
                until_ns = sys::mono_ns();
            }
            let kept = self.beat_ns() == beat_ns;
            let handled_ns = self.handled()?;
            self.label(sent, kept && sent.is_mostly_until(until_ns, handled_ns))?;
        }
        Ok(())
    }

    /// The target spins in a group with a quota, on a CPU that nobody else needs to want.
    pub(super) fn throttled(&mut self, cpu: usize) -> Result<()> {
        let mut witness = Witness::start(cpu, Rank::Last, self.page)?;
        self.ask()?;
        while self.is_wanted()? {
            let beat_ns = self.still();
            let is_still = || self.beat_ns() == beat_ns && !self.is_late();
            if witness.look(is_still)?.is_none() {
                continue;
            }
            let sent = self.send()?;
            let until_ns = self.witnessed(&mut witness, beat_ns, sent)?;
            let handled_ns = self.handled()?;
            self.label(sent, sent.is_mostly_until(until_ns, handled_ns))?;
        }
        Ok(())
    }

    /// Waits until the target stands still; its last beat then.
    fn still(&self) -> u64 {
        loop {
            let beat_ns = self.beat_ns();
            if sys::mono_ns().saturating_sub(beat_ns) > self.page.paced(STILL_NS) || self.is_late()
            {
                return beat_ns;
            }
            sys::sleep_ns(self.page.paced(LOOK_NS) / 2);
        }
    }

    /// The last time but one that the witness ran while the target stood still; the send's if
    /// it did not run often enough.
    fn witnessed(&self, witness: &mut Witness, beat_ns: u64, sent: Sent) -> Result<u64> {
        let mut ran_ns = Vec::new();
        let is_still = || self.beat_ns() == beat_ns && !self.is_late();
        while is_still() {
            ran_ns.extend(witness.look(is_still)?);
            sys::sleep_ns(self.page.paced(LOOK_NS));
        }
        Ok(match ran_ns[..] {
            [.., until_ns, _] if ran_ns.len() >= LOOKS => until_ns,
            _ => sent.after_ns,
        })
    }
}
