//! Accounting of a pending episode: what of each interval is its, by component.

use crate::cause::{COMPONENT_SLOTS, COMPONENTS, Component};
use crate::memory::reload;
use crate::thread::state;

/// Components of one pending episode so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Account {
    /// First send of the episode that `parts` belong to.
    pub sent_ns: u64,
    /// Nanoseconds per [`Component`].
    pub parts: [u64; COMPONENT_SLOTS],
    /// 1 if a part of `throttled` is an estimate.
    pub estimate: u64,
}

/// A closed interval in one state.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Interval {
    /// Begin, ns.
    pub start_ns: u64,
    /// End, ns.
    pub end_ns: u64,
    /// When a park ended inside it, 0 if it did not.
    pub unpark_ns: u64,
    /// Of a wait on a run queue: how long that was out of quota, ns.
    pub out_ns: u64,
    /// One of [`state`].
    pub state: u8,
    /// SIGURG blocked at its begin.
    pub blocked: u8,
    /// It was blocked by its own handler, which does not count as masked.
    pub own_handler: u8,
    /// The park's end is an estimate.
    pub estimate: u8,
    /// Padding, zero.
    pub pad: [u8; 4],
}

/// What a transition found impossible, as bits.
pub mod anomaly {
    /// Switched in while on a CPU.
    pub const IN_WHILE_ON: u32 = 1;
    /// Switched out, or took a signal, while not on a CPU.
    pub const OUT_WHILE_OFF: u32 = 2;
    /// A first send older than the interval before the open one.
    pub const LATE_GENERATE: u32 = 4;
    /// An interval ends before it begins.
    pub const CLOCK_BACKWARDS: u32 = 8;
    /// A run queue was out of quota for longer than it was waited on.
    pub const OUT_TOO_LONG: u32 = 16;
}

impl Account {
    #[inline(always)]
    fn add(&mut self, component: u64, ns: u64) {
        let index = component as usize & (COMPONENT_SLOTS - 1);
        self.parts[index] = self.parts[index].wrapping_add(ns);
    }

    /// Starts over for the episode first sent at `sent_ns`.
    #[inline(always)]
    fn begin(&mut self, sent_ns: u64) {
        self.sent_ns = sent_ns;
        self.estimate = 0;
        for index in 0..COMPONENTS {
            // SAFETY: inside the array. Volatile, so that it stays a row of
            // stores: the BPF target's memset is a loop over bytes, which the
            // verifier walks step by step.
            unsafe { core::ptr::write_volatile(&raw mut self.parts[index], 0) };
        }
    }

    /// Adds the part of an interval that lies after the first send. Returns
    /// `anomaly` bits.
    ///
    /// For the interval that the send fell into, `blocked_at_send` is the blocked
    /// bit sampled at the send, and `out_ns` the time out of quota from then on.
    #[inline(always)]
    fn add_interval(
        &mut self,
        sent_ns: u64,
        blocked_at_send: u8,
        out_ns: u64,
        interval: &Interval,
    ) -> u32 {
        let begin = reload(&interval.start_ns);
        let end = reload(&interval.end_ns);
        let state = u64::from(reload(&interval.state));
        let (start, blocked, mut out) = if sent_ns >= begin {
            (sent_ns, blocked_at_send, out_ns)
        } else {
            (begin, reload(&interval.blocked), reload(&interval.out_ns))
        };
        let length = end.saturating_sub(start);
        let mut rest = state;
        if state == u64::from(state::PARKED) {
            let unpark_ns = reload(&interval.unpark_ns);
            out = if unpark_ns == 0 || unpark_ns >= end {
                length
            } else {
                unpark_ns.saturating_sub(start)
            };
            rest = Component::RunQueue as u64;
            self.estimate |= u64::from(reload(&interval.estimate));
        } else if out != 0 {
            self.estimate |= u64::from(reload(&interval.estimate));
        }
        let too_long = out > length;
        if too_long {
            out = length;
        }
        // Masked wins: its number is zero.
        let masked = u64::from(blocked & !reload(&interval.own_handler) & 1);
        let keep = masked.wrapping_sub(1);
        self.add(Component::Throttled as u64 & keep, out);
        self.add(rest & keep, length - out);
        too_long as u32 * anomaly::OUT_TOO_LONG
    }

    /// Adds time before `interval` of which nothing is known any more: it counts like that.
    #[inline(always)]
    fn add_forgotten(&mut self, length: u64, blocked: u8, interval: &Interval) {
        let state = u64::from(reload(&interval.state));
        let rest = if state == u64::from(state::PARKED) {
            Component::RunQueue as u64
        } else {
            state
        };
        let masked = u64::from(blocked & !reload(&interval.own_handler) & 1);
        self.add(rest & masked.wrapping_sub(1), length);
        self.estimate = 1;
    }
}

/// Adds an interval to the account of an episode that is pending since
/// `sent_ns`; if it is seen for the first time, its share of the interval
/// before as well. Returns `anomaly` bits.
#[inline(always)]
pub(crate) fn absorb(
    account: &mut Account,
    sent_ns: u64,
    blocked_at_send: Option<u8>,
    out_ns: u64,
    interval: &Interval,
    previous: &Interval,
) -> u32 {
    let mut bits = 0;
    if reload(&account.sent_ns) != sent_ns {
        account.begin(sent_ns);
        if sent_ns < reload(&interval.start_ns) {
            let blocked = blocked_at_send.unwrap_or(reload(&previous.blocked));
            let start_ns = reload(&previous.start_ns);
            if sent_ns < start_ns {
                bits = anomaly::LATE_GENERATE;
                account.add_forgotten(start_ns - sent_ns, blocked, previous);
            }
            // What the queue did between the send and the end of that interval
            // is not known any more: at most all of it.
            let left = reload(&previous.end_ns).wrapping_sub(sent_ns);
            let out = reload(&previous.out_ns);
            let out = if out < left { out } else { left };
            account.estimate |= (out != 0) as u64;
            bits |= account.add_interval(sent_ns, blocked, out, previous);
        }
    }
    let blocked = blocked_at_send.unwrap_or(reload(&interval.blocked));
    bits | account.add_interval(sent_ns, blocked, out_ns, interval)
}
