//! Bytes to events. Nothing is taken on trust: kind, length, ABI, every number.

use bytes::Buf;
use gohang_common::abi::ABI_VERSION;
use gohang_common::cause::{COMPONENT_SLOTS, COMPONENTS, Cause, Component, Outcome, sums};
use gohang_common::record::{
    self, FLAG_ESTIMATE, FLAG_GOID, FLAG_SENDER, Kind, ProcessEvent, REQUEST_CARRIED, REQUEST_GOID,
    REQUEST_LATE,
};

use super::{Asker, BlockedKinds, Episode, Event, Process, ProcessId, Request, RequestEnd, Stop};

/// Why a record was rejected.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum DecodeError {
    /// Shorter than its kind, or than a header.
    #[error("record is truncated: {got} bytes where {want} are needed")]
    Truncated {
        /// Bytes there.
        got: usize,
        /// Bytes needed.
        want: usize,
    },
    /// The length in the header is not the record's.
    #[error("record says it has {header} bytes, but has {got}")]
    Size {
        /// According to the header.
        header: u32,
        /// Bytes there.
        got: usize,
    },
    /// From another version of the kernel object.
    #[error(
        "record of ABI {got}, this gohang reads ABI {want}: object and binary do not belong together"
    )]
    Abi {
        /// In the record.
        got: u16,
        /// Ours.
        want: u16,
    },
    /// No such kind.
    #[error("record of unknown kind {0}")]
    Kind(u16),
    /// A number that its field does not allow.
    #[error("record field {field} holds {value}, which means nothing")]
    Value {
        /// Name of the field.
        field: &'static str,
        /// What it holds.
        value: u64,
    },
}

/// Decodes one record.
///
/// # Errors
/// Anything that is not a complete record of this ABI.
pub fn decode(record: &[u8]) -> Result<Event, DecodeError> {
    let header = size_of::<record::Header>();
    if record.len() < header {
        return Err(DecodeError::Truncated {
            got: record.len(),
            want: header,
        });
    }
    let mut buf = record;
    let kind = buf.get_u16_ne();
    let abi = buf.get_u16_ne();
    let size = buf.get_u32_ne();
    if abi != ABI_VERSION {
        return Err(DecodeError::Abi {
            got: abi,
            want: ABI_VERSION,
        });
    }
    let want = match kind {
        k if k == Kind::Episode as u16 => size_of::<record::Episode>(),
        k if k == Kind::Process as u16 => size_of::<record::Process>(),
        k if k == Kind::Request as u16 => size_of::<record::Request>(),
        k if k == Kind::Stop as u16 => size_of::<record::Stop>(),
        other => return Err(DecodeError::Kind(other)),
    };
    if record.len() < want {
        return Err(DecodeError::Truncated {
            got: record.len(),
            want,
        });
    }
    if size as usize != want || record.len() != want {
        return Err(DecodeError::Size {
            header: size,
            got: record.len(),
        });
    }
    match kind {
        k if k == Kind::Episode as u16 => episode(buf),
        k if k == Kind::Process as u16 => process(buf),
        k if k == Kind::Request as u16 => request(buf),
        _ => stop(buf),
    }
}

/// A name up to its first NUL.
fn name(buf: &mut &[u8]) -> Vec<u8> {
    let mut raw = [0; 16];
    buf.copy_to_slice(&mut raw);
    let end = raw.iter().position(|byte| *byte == 0).unwrap_or(raw.len());
    raw[..end].to_vec()
}

fn value(field: &'static str, value: impl Into<u64>) -> DecodeError {
    DecodeError::Value {
        field,
        value: value.into(),
    }
}

// Lengths were checked: `buf` holds exactly the record behind its header.
fn episode(mut buf: &[u8]) -> Result<Event, DecodeError> {
    let start_ns = buf.get_u64_ne();
    let sent_ns = buf.get_u64_ne();
    let end_ns = buf.get_u64_ne();
    let mut parts = [0; COMPONENT_SLOTS];
    for part in parts.iter_mut().take(COMPONENTS) {
        *part = buf.get_u64_ne();
    }
    let goid = buf.get_u64_ne();
    let pc = buf.get_u64_ne();
    let cgroup_id = buf.get_u64_ne();
    let handler = buf.get_u64_ne();
    let pid = buf.get_u32_ne();
    let tid = buf.get_u32_ne();
    let sender_tid = buf.get_u32_ne();
    let sender = buf.get_u32_ne();
    let coalesced = buf.get_u32_ne();
    let outcome = buf.get_u8();
    let directed = buf.get_u8();
    let cause = buf.get_u8();
    let flags = buf.get_u8();
    let _cpu = buf.get_u32_ne();
    let ran_ns = buf.get_u32_ne();
    let comm = name(&mut buf);
    let outcome = Outcome::from_u8(outcome).ok_or_else(|| value("outcome", outcome))?;
    let cause = Cause::from_u8(cause).ok_or_else(|| value("cause", cause))?;
    if directed > 1 {
        return Err(value("process_directed", directed));
    }
    Ok(Event::Episode(Box::new(Episode {
        process: ProcessId { pid, start_ns },
        tid,
        comm,
        goid: (flags & FLAG_GOID != 0).then_some(goid),
        pc: (pc != 0).then_some(pc),
        place: None,
        handler: (handler != 0).then_some(handler),
        handler_place: None,
        process_directed: directed == 1,
        sender_pid: (flags & FLAG_SENDER != 0).then_some(sender),
        sender_tid: (flags & FLAG_SENDER != 0).then_some(sender_tid),
        sent_ns,
        end_ns,
        coalesced,
        outcome,
        parts: sums(&parts),
        blocked_kinds: BlockedKinds {
            interruptible: parts[Component::BlockedInterruptible as usize],
            uninterruptible: parts[Component::BlockedUninterruptible as usize],
            stopped: parts[Component::BlockedStopped as usize],
            traced: parts[Component::BlockedTraced as usize],
            frozen: parts[Component::BlockedFrozen as usize],
        },
        cause,
        estimate: flags & FLAG_ESTIMATE != 0,
        cgroup_id: (cgroup_id != 0).then_some(cgroup_id),
        ran_ns,
    })))
}

fn process(mut buf: &[u8]) -> Result<Event, DecodeError> {
    let start_ns = buf.get_u64_ne();
    let at_ns = buf.get_u64_ne();
    let pid = buf.get_u32_ne();
    let other = buf.get_u32_ne();
    let event = buf.get_u8();
    let filter = buf.get_u8();
    buf.advance(6);
    let comm = name(&mut buf);
    let event = match event {
        1 => ProcessEvent::Fork,
        2 => ProcessEvent::Exec,
        3 => ProcessEvent::Exit,
        other => return Err(value("event", other)),
    };
    Ok(Event::Process(Process {
        id: ProcessId { pid, start_ns },
        at_ns,
        event,
        other,
        filter,
        comm,
    }))
}

/// A time, none where the step was not seen.
fn time(ns: u64) -> Option<u64> {
    (ns != 0).then_some(ns)
}

fn request(mut buf: &[u8]) -> Result<Event, DecodeError> {
    let start_ns = buf.get_u64_ne();
    let first_ns = buf.get_u64_ne();
    let requested_ns = buf.get_u64_ne();
    let sent_ns = buf.get_u64_ne();
    let delivered_ns = buf.get_u64_ne();
    let yielded_ns = buf.get_u64_ne();
    let resumed_ns = buf.get_u64_ne();
    let end_ns = buf.get_u64_ne();
    let goid = buf.get_u64_ne();
    let pc = buf.get_u64_ne();
    let late_ns = buf.get_u64_ne();
    let sender_throttled_ns = buf.get_u64_ne();
    let sender_runqueue_ns = buf.get_u64_ne();
    let pid = buf.get_u32_ne();
    let tid = buf.get_u32_ne();
    let sender_tid = buf.get_u32_ne();
    let repeats = buf.get_u32_ne();
    let asker = buf.get_u8();
    let end = buf.get_u8();
    let flags = buf.get_u8();
    let asker = Asker::from_u8(asker).ok_or_else(|| value("asker", asker))?;
    let end = RequestEnd::from_u8(end).ok_or_else(|| value("end", end))?;
    // The kernel side sends none that had not begun.
    if first_ns == 0 || requested_ns < first_ns {
        return Err(value("first_ns", first_ns));
    }
    Ok(Event::Request(Request {
        process: ProcessId { pid, start_ns },
        tid,
        sender_tid,
        asker,
        first_ns,
        requested_ns,
        repeats,
        carried: flags & REQUEST_CARRIED != 0,
        sent_ns: time(sent_ns),
        delivered_ns: time(delivered_ns),
        yielded_ns: time(yielded_ns),
        resumed_ns: time(resumed_ns),
        end_ns,
        end,
        goid: (flags & REQUEST_GOID != 0).then_some(goid),
        pc: (pc != 0).then_some(pc),
        place: None,
        late_ns: (flags & REQUEST_LATE != 0).then_some(late_ns),
        sender_throttled_ns,
        sender_runqueue_ns,
    }))
}

fn stop(mut buf: &[u8]) -> Result<Event, DecodeError> {
    let start_ns = buf.get_u64_ne();
    let begin_ns = buf.get_u64_ne();
    let stopped_ns = buf.get_u64_ne();
    let started_ns = buf.get_u64_ne();
    let last_ns = buf.get_u64_ne();
    let last_goid = buf.get_u64_ne();
    let mut parts = [0; COMPONENT_SLOTS];
    for part in parts.iter_mut().take(COMPONENTS) {
        *part = buf.get_u64_ne();
    }
    let pid = buf.get_u32_ne();
    let tid = buf.get_u32_ne();
    let last_tid = buf.get_u32_ne();
    Ok(Event::Stop(Stop {
        process: ProcessId { pid, start_ns },
        tid,
        begin_ns,
        stopped_ns: time(stopped_ns),
        started_ns: time(started_ns),
        last_tid: (last_tid != 0).then_some(last_tid),
        last_goid: (last_goid != 0).then_some(last_goid),
        last_ns: time(last_ns),
        parts: sums(&parts),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use gohang_common::record::Header;
    use proptest::prelude::*;

    fn bytes_of<T>(record: &T) -> Vec<u8> {
        // SAFETY: a repr(C) record without implicit padding (asserted next to
        // its definition), read as bytes.
        unsafe {
            std::slice::from_raw_parts(std::ptr::from_ref(record).cast::<u8>(), size_of::<T>())
        }
        .to_vec()
    }

    fn sample() -> record::Episode {
        record::Episode {
            header: Header::new(Kind::Episode, size_of::<record::Episode>()),
            process_start_ns: 11,
            sent_ns: 1000,
            end_ns: 1511,
            parts: [1, 2, 4, 8, 16, 32, 64, 128, 256],
            goid: 7,
            pc: 0x40_0000,
            cgroup_id: 99,
            handler: 0x40_1000,
            tgid: 12,
            tid: 13,
            sender_tid: 17,
            sender_tgid: 14,
            coalesced: 15,
            outcome: 0,
            process_directed: 1,
            cause: 2,
            flags: FLAG_GOID | FLAG_SENDER,
            cpu: 1,
            ran_ns: 5,
            comm: *b"worker\0garbage!!",
        }
    }

    #[test]
    fn every_field_arrives() {
        let Ok(Event::Episode(got)) = decode(&bytes_of(&sample())) else {
            panic!("an episode")
        };
        let want = Episode {
            process: ProcessId {
                pid: 12,
                start_ns: 11,
            },
            tid: 13,
            comm: b"worker".to_vec(),
            goid: Some(7),
            pc: Some(0x40_0000),
            place: None,
            handler: Some(0x40_1000),
            handler_place: None,
            process_directed: true,
            sender_pid: Some(14),
            sender_tid: Some(17),
            sent_ns: 1000,
            end_ns: 1511,
            coalesced: 15,
            outcome: Outcome::Delivered,
            parts: gohang_common::cause::Sums {
                masked: 1,
                running: 2,
                runqueue: 4,
                throttled: 8,
                blocked: 16 + 32 + 64 + 128 + 256,
            },
            blocked_kinds: BlockedKinds {
                interruptible: 16,
                uninterruptible: 32,
                stopped: 64,
                traced: 128,
                frozen: 256,
            },
            cause: Cause::Blocked,
            estimate: false,
            cgroup_id: Some(99),
            ran_ns: 5,
        };
        assert_eq!(*got, want);
        assert_eq!(got.latency_ns(), Some(511));
        assert_eq!(got.parts.total(), 511);
    }

    #[test]
    fn foreign_records_are_refused() {
        let mut other_abi = sample();
        other_abi.header.abi = ABI_VERSION + 1;
        assert!(matches!(
            decode(&bytes_of(&other_abi)),
            Err(DecodeError::Abi { .. })
        ));
        let mut other_kind = sample();
        other_kind.header.kind = 77;
        assert_eq!(decode(&bytes_of(&other_kind)), Err(DecodeError::Kind(77)));
        let mut other_size = sample();
        other_size.header.size += 8;
        assert!(matches!(
            decode(&bytes_of(&other_size)),
            Err(DecodeError::Size { .. })
        ));
        let mut outcome = sample();
        outcome.outcome = 200;
        assert!(matches!(
            decode(&bytes_of(&outcome)),
            Err(DecodeError::Value { .. })
        ));
    }

    #[test]
    fn truncation_anywhere_is_an_error() {
        let whole = bytes_of(&sample());
        for length in 0..whole.len() {
            assert!(matches!(
                decode(&whole[..length]),
                Err(DecodeError::Truncated { .. })
            ));
        }
        let mut longer = whole;
        longer.push(0);
        assert!(matches!(decode(&longer), Err(DecodeError::Size { .. })));
    }

    proptest! {
        #[test]
        fn never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..400)) {
            let _ = decode(&bytes);
        }

        #[test]
        fn never_panics_behind_a_good_header(mut tail in proptest::collection::vec(any::<u8>(), 176)) {
            let header = Header::new(Kind::Episode, size_of::<record::Episode>());
            tail.truncate(size_of::<record::Episode>() - 8);
            let mut record = bytes_of(&header);
            record.extend_from_slice(&tail);
            let _ = decode(&record);
        }
    }
}
