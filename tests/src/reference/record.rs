//! From the bytes of a perf record to an event.

use std::path::Path;

use anyhow::{Context, Result};

use super::format::{Field, Format};

const RECORD_LOST: u32 = 2;
const RECORD_THROTTLE: u32 = 5;
const RECORD_FORK: u32 = 7;
const RECORD_SAMPLE: u32 = 9;
const RECORD_LOST_SAMPLES: u32 = 13;

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A SIGURG was sent to the thread `target`, or to its process.
    Generate {
        /// The named thread.
        target: u32,
        /// To the process, not to the one thread.
        group: bool,
        /// The kernel's result: 0 queued, 1 ignored, 2 already pending, 4 queued without info.
        result: u8,
        /// `si_code`; 128 when the kernel itself sent it.
        code: i32,
    },
    /// The current thread took a SIGURG.
    Deliver {
        /// Whether a function of the program handles it (not SIG_DFL or SIG_IGN).
        handled: bool,
    },
    /// A thread came into being (`tid` in process `pid`).
    Fork,
    /// The current thread is exiting.
    Exit,
    /// The current thread, then called `old_tid`, executed a program and is now the leader.
    Exec {
        /// The thread's id before.
        old_tid: u32,
    },
}

/// One event with its clock and the thread it happened in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event {
    /// CLOCK_MONOTONIC, nanoseconds.
    pub time_ns: u64,
    /// Process id of the current thread (for `Fork`: of the new one).
    pub pid: u32,
    /// Thread id of the current thread (for `Fork`: of the new one).
    pub tid: u32,
    /// What happened.
    pub what: What,
}

/// A record, decoded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Record {
    /// An event of use to the pairing.
    Event(Event),
    /// So many records were lost before this one.
    Lost(u64),
    /// Nothing of interest.
    Other,
}

/// The tracepoints' numbers and field positions on this kernel.
#[derive(Clone, Debug)]
pub struct Layout {
    common_type: Field,
    /// Number of `signal:signal_generate`.
    pub generate: u64,
    gen_code: Field,
    gen_pid: Field,
    gen_group: Field,
    gen_result: Field,
    /// Number of `signal:signal_deliver`.
    pub deliver: u64,
    del_handler: Field,
    /// Number of `sched:sched_process_exec`.
    pub exec: u64,
    exec_old: Field,
    /// Number of `sched:sched_process_exit`.
    pub exit: u64,
}

impl Layout {
    /// Reads the four format files below `tracefs`.
    ///
    /// # Errors
    /// When a file or a field is missing.
    pub fn load(tracefs: &Path) -> Result<Self> {
        let generate = Format::load(tracefs, "signal/signal_generate")?;
        let deliver = Format::load(tracefs, "signal/signal_deliver")?;
        let exec = Format::load(tracefs, "sched/sched_process_exec")?;
        let exit = Format::load(tracefs, "sched/sched_process_exit")?;
        Ok(Self {
            common_type: generate.field("common_type")?,
            gen_code: generate.field("code")?,
            gen_pid: generate.field("pid")?,
            gen_group: generate.field("group")?,
            gen_result: generate.field("result")?,
            del_handler: deliver.field("sa_handler")?,
            exec_old: exec.field("old_pid")?,
            generate: generate.id,
            deliver: deliver.id,
            exec: exec.id,
            exit: exit.id,
        })
    }

    /// The number of the tracepoint that a record is of, if of any.
    pub fn tracepoint(&self, bytes: &[u8]) -> Option<u64> {
        let sample = u32_at(bytes, 0)? == RECORD_SAMPLE;
        if sample {
            self.common_type.read(bytes.get(36..)?)
        } else {
            None
        }
    }

    /// Decodes one record.
    ///
    /// # Errors
    /// When the record is shorter than its kind says or of an unknown tracepoint.
    pub fn decode(&self, bytes: &[u8]) -> Result<Record> {
        let kind = u32_at(bytes, 0).context("a perf record without a header")?;
        let short = || format!("a perf record of kind {kind} of only {} bytes", bytes.len());
        match kind {
            RECORD_LOST => Ok(Record::Lost(u64_at(bytes, 16).with_context(short)?)),
            RECORD_LOST_SAMPLES => Ok(Record::Lost(u64_at(bytes, 8).with_context(short)?)),
            // Not expected for tracepoints; were it to come, samples would be missing.
            RECORD_THROTTLE => Ok(Record::Lost(1)),
            RECORD_FORK => self.fork(bytes).with_context(short),
            RECORD_SAMPLE => self.sample(bytes).with_context(short),
            _ => Ok(Record::Other),
        }
    }

    fn fork(&self, b: &[u8]) -> Option<Record> {
        let (pid, tid, time_ns) = (u32_at(b, 8)?, u32_at(b, 16)?, u64_at(b, 24)?);
        Some(Record::Event(Event {
            time_ns,
            pid,
            tid,
            what: What::Fork,
        }))
    }

    fn sample(&self, b: &[u8]) -> Option<Record> {
        let (pid, tid, time_ns) = (u32_at(b, 8)?, u32_at(b, 12)?, u64_at(b, 16)?);
        let raw_len = u32_at(b, 32)? as usize;
        let raw = b.get(36..36 + raw_len)?;
        let id = self.common_type.read(raw)?;
        let what = if id == self.generate {
            What::Generate {
                target: self.gen_pid.read(raw)? as u32,
                group: self.gen_group.read_i32(raw)? != 0,
                result: u8::try_from(self.gen_result.read(raw)?).ok()?,
                code: self.gen_code.read_i32(raw)?,
            }
        } else if id == self.deliver {
            What::Deliver {
                handled: self.del_handler.read(raw)? > 1,
            }
        } else if id == self.exec {
            What::Exec {
                old_tid: self.exec_old.read(raw)? as u32,
            }
        } else if id == self.exit {
            What::Exit
        } else {
            return None;
        };
        Some(Record::Event(Event {
            time_ns,
            pid,
            tid,
            what,
        }))
    }
}

fn u32_at(b: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(b.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(b: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_ne_bytes(b.get(at..at + 8)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout() -> Layout {
        let f = |offset, size| Field { offset, size };
        Layout {
            common_type: f(0, 2),
            generate: 261,
            gen_code: f(16, 4),
            gen_pid: f(36, 4),
            gen_group: f(40, 4),
            gen_result: f(44, 4),
            deliver: 260,
            del_handler: f(24, 8),
            exec: 365,
            exec_old: f(16, 4),
            exit: 369,
        }
    }

    fn sample(raw: &[u8]) -> Vec<u8> {
        let mut b = vec![0u8; 36];
        b[0] = 9;
        b[8..12].copy_from_slice(&7u32.to_ne_bytes());
        b[12..16].copy_from_slice(&8u32.to_ne_bytes());
        b[16..24].copy_from_slice(&99u64.to_ne_bytes());
        b[32..36].copy_from_slice(&(raw.len() as u32).to_ne_bytes());
        b.extend_from_slice(raw);
        b
    }

    #[test]
    fn decodes_a_generate() {
        let mut raw = [0u8; 52];
        raw[..2].copy_from_slice(&261u16.to_ne_bytes());
        raw[16..20].copy_from_slice(&(-6i32).to_ne_bytes());
        raw[36..40].copy_from_slice(&1234u32.to_ne_bytes());
        raw[44] = 2;
        let what = What::Generate {
            target: 1234,
            group: false,
            result: 2,
            code: -6,
        };
        let event = Event {
            time_ns: 99,
            pid: 7,
            tid: 8,
            what,
        };
        assert_eq!(
            layout().decode(&sample(&raw)).unwrap(),
            Record::Event(event)
        );
    }

    #[test]
    fn every_cut_is_an_error_not_a_panic() {
        let mut raw = [0u8; 52];
        raw[..2].copy_from_slice(&261u16.to_ne_bytes());
        let whole = sample(&raw);
        for n in 0..whole.len() {
            assert!(
                layout().decode(&whole[..n]).is_err(),
                "{n} bytes were accepted"
            );
        }
    }

    #[test]
    fn a_foreign_tracepoint_is_refused() {
        assert!(layout().decode(&sample(&[1, 0, 0, 0])).is_err());
    }
}
