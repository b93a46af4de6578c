//! Records, histograms and counters.

use core::intrinsics::{AtomicOrdering, atomic_xadd};

use aya_ebpf::helpers::bpf_get_smp_processor_id;
use aya_ebpf::programs::BtfTracePointContext;
use aya_log_ebpf::warn;
use gohang_common::cause::{COMPONENT_SLOTS, COMPONENTS, Outcome, cause, sums};
use gohang_common::counter::Counter;
use gohang_common::hist;
use gohang_common::map::{BucketKey, Summary, SummaryKey, series};
use gohang_common::record::{
    Episode, FLAG_ESTIMATE, FLAG_GOID, FLAG_SENDER, Header, Kind, Process, ProcessEvent,
};
use gohang_common::thread::{Pending, Thread, UNKNOWN, anomaly, reload};

use crate::kernel::{element, setting};
use crate::maps::{BUCKETS, COUNTERS_MAP, EMPTY_SUMMARY, END, RECORDS, SUMMARIES};

/// `BPF_RB_NO_WAKEUP`, `BPF_RB_FORCE_WAKEUP`, `BPF_RB_AVAIL_DATA`
/// (include/uapi/linux/bpf.h).
const NO_WAKEUP: u64 = 1;
const FORCE_WAKEUP: u64 = 2;
const AVAIL_DATA: u64 = 0;

/// Adds to a word that other CPUs add to as well.
#[inline(always)]
pub fn atomic_add(word: *mut u64, value: u64) {
    // SAFETY: the word is a map value that lives as long as the program runs.
    unsafe { atomic_xadd::<u64, u64, { AtomicOrdering::Relaxed }>(word, value) };
}

/// Adds one to a counter of this CPU.
#[inline(always)]
pub fn count(counter: Counter) {
    if let Some(word) = COUNTERS_MAP.get_ptr_mut(counter as u32) {
        // Atomic, although it is this CPU's own: an interrupt's programs count
        // too.
        atomic_add(word, 1);
    }
}

/// Counts what the last transition found impossible, and says so once in a
/// while: the counter's 1st, 2nd, 4th ... time on a CPU.
#[inline(never)]
pub fn count_anomalies(ctx: &BtfTracePointContext, thread: &Thread) {
    let bits = reload(&thread.anomalies);
    if bits == 0 {
        return;
    }
    if bits & anomaly::IN_WHILE_ON != 0 {
        count(Counter::InWhileOn);
    }
    if bits & anomaly::OUT_WHILE_OFF != 0 {
        count(Counter::OutWhileOff);
    }
    if bits & anomaly::LATE_GENERATE != 0 {
        count(Counter::LateGenerate);
    }
    if bits & anomaly::CLOCK_BACKWARDS != 0 {
        count(Counter::ClockBackwards);
    }
    if bits & anomaly::OUT_TOO_LONG != 0 {
        count(Counter::OutTooLong);
    }
    let Some(total) = COUNTERS_MAP.get_ptr_mut(Counter::AnomaliesSeen as u32) else {
        return;
    };
    // SAFETY: this CPU's word.
    let before = unsafe {
        let before = *total;
        *total = before + 1;
        before
    };
    if before & before.wrapping_add(1) == 0 {
        warn!(
            ctx,
            "impossible sequence {} of thread {} in process {}", bits, thread.tid, thread.tgid
        );
    }
}

/// The summary of a process in a group, on this CPU.
#[inline(always)]
pub fn summary(key: &SummaryKey) -> Option<&'static mut Summary> {
    // SAFETY: map values stay valid while the program runs, and this CPU's
    // copy is written by this CPU alone, with interrupts off.
    unsafe {
        if let Some(found) = SUMMARIES.get_ptr_mut(key) {
            return Some(&mut *found);
        }
        let empty = EMPTY_SUMMARY.get(0)?;
        let _ = SUMMARIES.insert(key, empty, 0);
        match SUMMARIES.get_ptr_mut(key) {
            Some(found) => Some(&mut *found),
            None => {
                count(Counter::HistogramFull);
                None
            }
        }
    }
}

/// The summary's key for a thread.
#[inline(always)]
pub fn summary_key(thread: &Thread) -> SummaryKey {
    SummaryKey {
        process_start_ns: thread.process_start_ns,
        cgroup_id: thread.cgroup_id,
        tgid: thread.tgid,
        pad: 0,
    }
}

#[inline(always)]
fn add_bucket(summary: &mut Summary, key: &SummaryKey, series: usize, value: u64) {
    summary.scratch = u64::from(hist::exponent(value));
    let exponent = reload(&summary.scratch) as u32;
    let bucket = BucketKey {
        process_start_ns: key.process_start_ns,
        cgroup_id: key.cgroup_id,
        tgid: key.tgid,
        series: series as u16,
        slot: hist::slot_at(value, exponent) as u16,
    };
    if let Some(word) = BUCKETS.get_ptr_mut(&bucket) {
        atomic_add(word, 1);
        return;
    }
    // BPF_NOEXIST: another CPU may insert it first, then we add to that one.
    if BUCKETS.insert(&bucket, &1, 1).is_ok() {
        return;
    }
    match BUCKETS.get_ptr_mut(&bucket) {
        Some(word) => atomic_add(word, 1),
        None => count(Counter::HistogramFull),
    }
}

/// Adds a value to a series of an owner.
#[inline(never)]
pub fn add_value(key: &SummaryKey, series: usize, value: u64) {
    if let Some(summary) = summary(key) {
        add_value_to(summary, key, series, value);
    }
}

/// The same with the owner's summary at hand.
#[inline(always)]
fn add_value_to(summary: &mut Summary, key: &SummaryKey, series: usize, value: u64) {
    if let Some(moments) = element(&mut summary.series, series as u64) {
        moments.add(value);
    }
    add_bucket(summary, key, series, value);
}

/// Adds the time on a CPU that the last transition ended.
#[inline(always)]
pub fn add_running(thread: &Thread) {
    if reload(&thread.ran_ns) != UNKNOWN
        && let Some(summary) = summary(&summary_key(thread))
    {
        add_running_to(summary, thread);
    }
}

/// The same with the owner's summary at hand.
#[inline(always)]
fn add_running_to(summary: &mut Summary, thread: &Thread) {
    let value = reload(&thread.ran_ns);
    if value != UNKNOWN {
        atomic_add(&raw mut summary.running_ns, value);
    }
}

/// Adds the waits that the last switch-in ended.
#[inline(always)]
pub fn add_waits(thread: &mut Thread) {
    let stall = reload(&thread.stall_ns);
    let wait = reload(&thread.runqueue_ns);
    if stall == UNKNOWN && wait == UNKNOWN {
        return;
    }
    thread.waits.add(stall, wait);
    let key = summary_key(thread);
    let Some(summary) = summary(&key) else {
        return;
    };
    if reload(&thread.stall_ns) != UNKNOWN {
        add_value_to(summary, &key, series::STALL, reload(&thread.stall_ns));
    }
    if reload(&thread.runqueue_ns) != UNKNOWN {
        add_value_to(
            summary,
            &key,
            series::RUN_QUEUE,
            reload(&thread.runqueue_ns),
        );
    }
}

/// What an episode's record says beside its components. In a map, not on the
/// stack: the verifier would follow every value that a field may have.
pub struct End {
    /// What was sent.
    pub sent: Pending,
    /// When it ended.
    pub end_ns: u64,
    /// Goroutine interrupted; valid with `goid_known`.
    pub goid: u64,
    /// User instruction pointer, 0 if not delivered.
    pub pc: u64,
    /// Address of the handler, 0 if there is none.
    pub handler: u64,
    /// An [`Outcome`].
    pub outcome: u8,
    /// 1 if sent to the process.
    pub process_directed: u8,
    /// 1 if the goroutine is known.
    pub goid_known: u8,
}

/// Whom a signal was sent to.
#[derive(Clone, Copy)]
pub enum Directed {
    /// One thread.
    Thread = 0,
    /// The process.
    Process = 1,
}

/// An end without a delivery, in one of this CPU's scratch values.
#[inline(always)]
pub fn end(
    slot: u32,
    sent: &Pending,
    directed: Directed,
    outcome: Outcome,
    end_ns: u64,
) -> Option<&'static mut End> {
    // SAFETY: this CPU's value; who may write it is ruled in `maps::scratch`.
    let end = END.get_ptr_mut(slot).map(|end| unsafe { &mut *end })?;
    end.sent = *sent;
    end.end_ns = end_ns;
    end.goid = 0;
    end.pc = 0;
    end.handler = 0;
    end.outcome = outcome as u8;
    end.process_directed = directed as u8;
    end.goid_known = 0;
    Some(end)
}

/// Whose components an episode has.
#[derive(Clone, Copy)]
pub enum Of {
    /// None: nothing accounted for it.
    Nobody,
    /// The thread's private signal's.
    Private,
    /// The process's shared signal's, as of the thread.
    Shared,
}

/// Sends an episode, with the time on a CPU that a delivery ended, or counts it where that cannot
/// be.
#[inline(never)]
pub fn episode(thread: &mut Thread, of: Of, end: &End) {
    let account = match of {
        Of::Nobody => None,
        Of::Private => Some(&thread.private_account),
        Of::Shared => Some(&thread.shared_account),
    };
    let parts = account.map(|account| &account.parts);
    let sums = parts.map(sums).unwrap_or_default();
    // Through memory: the verifier would follow each cause apart.
    thread.scratch = cause(&sums) as u64;
    let cause = reload(&thread.scratch);
    let outcome = reload(&end.outcome);
    // The two delivered ones have the lowest numbers.
    let delivered = outcome <= Outcome::DeliveredNoHandler as u8;
    let latency = end.end_ns.wrapping_sub(end.sent.sent_ns);
    if delivered && sums.total() != latency {
        count(Counter::SumMismatch);
    }
    if end.end_ns < end.sent.sent_ns {
        count(Counter::ClockBackwards);
    }

    count(Counter::Seen);
    let Some(mut slot) = RECORDS.reserve::<Episode>(0) else {
        count(Counter::RingFull);
        count_unrecorded(thread, end, parts);
        return;
    };
    let record = slot.as_mut_ptr();
    let estimate = account.is_some_and(|account| account.estimate != 0);
    // SAFETY: the reservation holds a whole Episode; every byte is written.
    unsafe {
        (*record).header = Header::new(Kind::Episode, size_of::<Episode>());
        (*record).process_start_ns = thread.process_start_ns;
        (*record).sent_ns = end.sent.sent_ns;
        (*record).end_ns = end.end_ns;
        copy_parts(&raw mut (*record).parts, parts);
        (*record).goid = end.goid;
        (*record).pc = end.pc;
        (*record).cgroup_id = thread.cgroup_id;
        (*record).handler = end.handler;
        (*record).tgid = thread.tgid;
        (*record).tid = thread.tid;
        (*record).sender_tid = end.sent.sender_tid;
        (*record).sender_tgid = end.sent.sender_tgid;
        (*record).coalesced = end.sent.coalesced;
        (*record).outcome = outcome;
        (*record).process_directed = end.process_directed;
        (*record).cause = cause as u8;
        (*record).flags = if end.goid_known != 0 { FLAG_GOID } else { 0 }
            | if end.sent.sender_known != 0 {
                FLAG_SENDER
            } else {
                0
            }
            | if estimate { FLAG_ESTIMATE } else { 0 };
        (*record).cpu = bpf_get_smp_processor_id() as u32;
        (*record).ran_ns = ran_ns(thread, delivered);
        (*record).comm = thread.comm;
    }
    slot.submit(count_submitted());
}

/// Adds an episode that gets no record to the histograms, with the time on a CPU that its delivery
/// ended. Of those that get one, the reader of the records does that.
#[inline(never)]
fn count_unrecorded(thread: &Thread, end: &End, parts: Option<&[u64; COMPONENT_SLOTS]>) {
    let sums = parts.map(sums).unwrap_or_default();
    let cause = reload(&thread.scratch);
    let outcome = reload(&end.outcome);
    let latency = end.end_ns.wrapping_sub(end.sent.sent_ns);
    let key = summary_key(thread);
    let Some(summary) = summary(&key) else {
        return;
    };
    if let Some(count) = element(&mut summary.outcomes, u64::from(outcome)) {
        atomic_add(count, 1);
    }
    atomic_add(&raw mut summary.coalesced, u64::from(end.sent.coalesced));
    if outcome > Outcome::DeliveredNoHandler as u8 {
        return;
    }
    add_running_to(summary, thread);
    if let Some(moments) = element(&mut summary.series, cause) {
        moments.add(latency);
    }
    summary.parts_ns[0] = summary.parts_ns[0].wrapping_add(sums.throttled);
    summary.parts_ns[1] = summary.parts_ns[1].wrapping_add(sums.masked);
    summary.parts_ns[2] = summary.parts_ns[2].wrapping_add(sums.blocked);
    summary.parts_ns[3] = summary.parts_ns[3].wrapping_add(sums.runqueue);
    summary.parts_ns[4] = summary.parts_ns[4].wrapping_add(sums.running);
    add_bucket(summary, &key, cause as usize, latency);
}

/// The time on a CPU that a delivery ended, for its record; what does not fit there is added to the
/// sum at once.
#[inline(always)]
fn ran_ns(thread: &Thread, delivered: bool) -> u32 {
    let ran = reload(&thread.ran_ns);
    if !delivered || ran == UNKNOWN {
        return 0;
    }
    if ran > u64::from(u32::MAX) {
        add_running(thread);
        return 0;
    }
    ran as u32
}

/// Copies components into a record, zeros where there are none.
///
/// # Safety
/// `to` must point to writable memory of the array's size.
#[inline(always)]
unsafe fn copy_parts(to: *mut [u64; COMPONENTS], from: Option<&[u64; COMPONENT_SLOTS]>) {
    macro_rules! copy {
        ($($index:literal)*) => {
            // SAFETY: the caller's promise.
            unsafe { $((*to)[$index] = from.map_or(0, |parts| parts[$index]);)* }
        };
    }
    copy!(0 1 2 3 4 5 6 7 8);
}

/// Sends a record of the preemption chain.
#[inline(always)]
pub fn chain<T: Copy + 'static>(value: &T) {
    chain_if(value, |_| true);
}

/// Sends a record of the preemption chain if `finish`, which may change its copy, finds it
/// whole: another CPU may have closed it meanwhile, and has sent it then.
#[inline(always)]
pub fn chain_if<T: Copy + 'static>(value: &T, finish: impl FnOnce(&mut T) -> bool) {
    let Some(mut slot) = RECORDS.reserve::<T>(0) else {
        count(Counter::Seen);
        count(Counter::RingFull);
        count(Counter::ChainLost);
        return;
    };
    // SAFETY: the reservation holds a whole T.
    let copy = unsafe {
        core::ptr::copy_nonoverlapping(value, slot.as_mut_ptr(), 1);
        &mut *slot.as_mut_ptr()
    };
    if !finish(copy) {
        slot.discard(0);
        return;
    }
    count(Counter::Seen);
    slot.submit(count_submitted());
}

/// Counts a record of the preemption chain that no state could be made for.
#[inline(always)]
pub fn chain_lost() {
    count(Counter::Seen);
    count(Counter::MapFull);
    count(Counter::ChainLost);
}

/// Counts an episode that no state could be made for.
#[inline(always)]
pub fn episode_lost() {
    count(Counter::Seen);
    count(Counter::MapFull);
}

/// A process's name: its own or NULs.
pub type Name = [u8; 16];

/// Sends a life-cycle record.
#[inline(always)]
pub fn process(
    event: ProcessEvent,
    tgid: u32,
    other: u32,
    process_start_ns: u64,
    at_ns: u64,
    filter: u8,
    comm: &Name,
) {
    count(Counter::Seen);
    let Some(mut slot) = RECORDS.reserve::<Process>(0) else {
        count(Counter::RingFull);
        return;
    };
    let record = slot.as_mut_ptr();
    // SAFETY: the reservation holds a whole Process; every byte is written.
    unsafe {
        (*record).header = Header::new(Kind::Process, size_of::<Process>());
        (*record).process_start_ns = process_start_ns;
        (*record).at_ns = at_ns;
        (*record).tgid = tgid;
        (*record).other = other;
        (*record).event = event as u8;
        (*record).filter = filter;
        (*record).pad = [0; 6];
        (*record).comm = *comm;
    }
    // Life-cycle records decide what is traced: the reader should look soon.
    let flags = count_submitted();
    slot.submit(if matches!(event, ProcessEvent::Exec) {
        FORCE_WAKEUP
    } else {
        flags
    });
}

/// So many records of a CPU are submitted before it looks again how full the ring is; a power of
/// two.
const LOOK_EVERY: u64 = 16;

/// Counts a record that is about to be submitted. Returns whether that wakes the reader: not one by
/// one (an interrupt each), only past the fill threshold; otherwise its timer does.
#[inline(always)]
fn count_submitted() -> u64 {
    let Some(word) = COUNTERS_MAP.get_ptr_mut(Counter::Submitted as u32) else {
        return NO_WAKEUP;
    };
    atomic_add(word, 1);
    // SAFETY: this CPU's word.
    let submitted = unsafe { core::ptr::read_volatile(word) };
    if submitted & (LOOK_EVERY - 1) == 0
        && RECORDS.query(AVAIL_DATA) > u64::from(setting!(wake_bytes))
    {
        FORCE_WAKEUP
    } else {
        NO_WAKEUP
    }
}
