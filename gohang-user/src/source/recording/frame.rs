//! The outer form of a recording: a header, then frames.
//!
//! Header: magic (8 bytes), format version (u16), ABI version of the records
//! (u16). Frame: length of the payload (u32), kind (u8), payload. Numbers are
//! in the machine's byte order, as the records are: on a machine of the other
//! order the versions do not match.

use std::io::{self, Read};

use gohang_common::abi::ABI_VERSION;

use super::RecordingError;

/// First bytes of every recording.
pub const MAGIC: [u8; 8] = *b"gohangrc";
/// Raised when a frame changes its meaning or a kind is added.
pub const FORMAT_VERSION: u16 = 2;
/// Oldest version that is read: it differs only in lacking [`Kind::Place`].
const OLDEST: u16 = 1;
/// Bytes before the first frame.
pub const HEADER: usize = 12;
/// Bytes of a frame before its payload.
pub const FRAME_HEADER: usize = 5;
/// Longest payload. Totals of ten thousand processes take a tenth of it.
const MAX_PAYLOAD: u32 = 1 << 28;

/// What a frame holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// [`super::Begin`], the first frame.
    Begin = 1,
    /// A record of the ring, as it came.
    Record = 2,
    /// A record of a process that is not traced: counted only.
    Untraced = 3,
    /// A process is traced from here on: its facts.
    Found = 4,
    /// A process that was let through is not traced after all: its id.
    Foreign = 5,
    /// Totals of ended processes.
    Ended = 6,
    /// Path of a control group by its kernel id.
    Group = 7,
    /// Episodes that were pending when they were looked at.
    Pending = 8,
    /// [`super::Totals`] so far.
    Totals = 9,
    /// [`super::Totals`] at the end, the last frame.
    End = 10,
    /// What lies at an instruction of a process, before the first record that tells of it.
    Place = 11,
    /// How threads that send signals got to run ([`super::super::SenderUse`]).
    Senders = 12,
}

impl Kind {
    /// Every kind, in the order of its number, from 1.
    const ALL: [Self; 12] = [
        Self::Begin,
        Self::Record,
        Self::Untraced,
        Self::Found,
        Self::Foreign,
        Self::Ended,
        Self::Group,
        Self::Pending,
        Self::Totals,
        Self::End,
        Self::Place,
        Self::Senders,
    ];

    /// The kind with this number, if there is one.
    #[must_use]
    pub fn from_u8(value: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == value)
    }
}

/// The header of a recording made by this gohang.
#[must_use]
pub fn header() -> [u8; HEADER] {
    let mut header = [0; HEADER];
    header[..8].copy_from_slice(&MAGIC);
    header[8..10].copy_from_slice(&FORMAT_VERSION.to_ne_bytes());
    header[10..].copy_from_slice(&ABI_VERSION.to_ne_bytes());
    header
}

/// Appends a frame; false, and nothing appended, if the payload is too long.
#[must_use]
pub fn push(out: &mut Vec<u8>, kind: Kind, payload: &[u8]) -> bool {
    let Some(length) = u32::try_from(payload.len())
        .ok()
        .filter(|length| *length <= MAX_PAYLOAD)
    else {
        return false;
    };
    out.extend_from_slice(&length.to_ne_bytes());
    out.push(kind as u8);
    out.extend_from_slice(payload);
    true
}

/// Reads frames.
#[derive(Debug)]
pub struct FrameReader<R> {
    from: R,
    /// Where the next frame begins.
    at: u64,
    payload: Vec<u8>,
}

/// What comes next.
#[derive(Debug, PartialEq, Eq)]
pub enum Next<'a> {
    /// A whole frame.
    Frame(Kind, &'a [u8]),
    /// Nothing: the last frame was whole.
    End,
    /// A part of a frame.
    Cut,
    /// Something that is no frame.
    Damaged(String),
}

impl<R: Read> FrameReader<R> {
    /// Reads and checks the header.
    ///
    /// # Errors
    /// Not a recording, or one of another version.
    pub fn new(mut from: R) -> Result<Self, RecordingError> {
        let mut header = [0; HEADER];
        let got = read_up_to(&mut from, &mut header)?;
        let magic = got.min(MAGIC.len());
        if got == 0 || header[..magic] != MAGIC[..magic] {
            return Err(RecordingError::Foreign);
        }
        if got < HEADER {
            return Err(RecordingError::NoBegin { at: got as u64 });
        }
        let number = |at: usize| u16::from_ne_bytes([header[at], header[at + 1]]);
        let (format, abi) = (number(8), number(10));
        if !(OLDEST..=FORMAT_VERSION).contains(&format) {
            return Err(RecordingError::Format { got: format });
        }
        if abi != ABI_VERSION {
            return Err(RecordingError::Abi { got: abi });
        }
        Ok(Self {
            from,
            at: HEADER as u64,
            payload: Vec::new(),
        })
    }

    /// Where the next frame begins.
    #[must_use]
    pub fn at(&self) -> u64 {
        self.at
    }

    /// The next frame. After anything else than a frame, do not ask again.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn next_frame(&mut self) -> io::Result<Next<'_>> {
        let mut header = [0; FRAME_HEADER];
        match read_up_to(&mut self.from, &mut header)? {
            0 => return Ok(Next::End),
            FRAME_HEADER => {}
            _ => return Ok(Next::Cut),
        }
        let [a, b, c, d, kind] = header;
        let length = u32::from_ne_bytes([a, b, c, d]);
        let Some(kind) = Kind::from_u8(kind) else {
            return Ok(Next::Damaged(format!("no frame has kind {kind}")));
        };
        if length > MAX_PAYLOAD {
            return Ok(Next::Damaged(format!("a frame of {length} bytes")));
        }
        self.payload.clear();
        // Grows with what is there, not with what the length says.
        let got = (&mut self.from)
            .take(u64::from(length))
            .read_to_end(&mut self.payload)?;
        if got < length as usize {
            return Ok(Next::Cut);
        }
        self.at += FRAME_HEADER as u64 + u64::from(length);
        Ok(Next::Frame(kind, &self.payload))
    }
}

/// Fills the buffer as far as there is something to read.
fn read_up_to(from: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    let mut got = 0;
    while got < buffer.len() {
        match from.read(&mut buffer[got..]) {
            Ok(0) => break,
            Ok(more) => got += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(got)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    type Frames = Vec<(Kind, Vec<u8>)>;

    /// Reads everything; whether the end is that of a frame.
    fn read(bytes: &[u8]) -> (Frames, bool) {
        let mut frames = Vec::new();
        let mut reader = FrameReader::new(bytes).expect("a header");
        loop {
            match reader.next_frame().expect("a slice can be read") {
                Next::Frame(kind, payload) => frames.push((kind, payload.to_vec())),
                Next::End => return (frames, true),
                Next::Cut | Next::Damaged(_) => return (frames, false),
            }
        }
    }

    #[test]
    fn numbers_of_kinds_round_trip() {
        for (index, kind) in Kind::ALL.into_iter().enumerate() {
            assert_eq!(kind as usize, index + 1);
            assert_eq!(Kind::from_u8(kind as u8), Some(kind));
        }
        assert_eq!(Kind::from_u8(0), None);
        assert_eq!(Kind::from_u8(13), None);
    }

    #[test]
    fn other_files_and_versions_are_refused() {
        let foreign =
            |bytes: &[u8]| matches!(FrameReader::new(bytes), Err(RecordingError::Foreign));
        assert!(foreign(b"") && foreign(b"{\"schema_version\":1}") && foreign(b"gohangrd"));
        let mut header = header();
        for length in 1..HEADER {
            assert!(matches!(
                FrameReader::new(&header[..length]),
                Err(RecordingError::NoBegin { .. })
            ));
        }
        for (format, read) in [(0, false), (1, true), (2, true), (3, false)] {
            header[8] = format;
            match FrameReader::new(&header[..]) {
                Ok(_) => assert!(read, "{format}"),
                Err(RecordingError::Format { got }) => assert!(!read && got == u16::from(format)),
                Err(error) => panic!("{error}"),
            }
        }
        header[8] = 2;
        header[11] ^= 0x80;
        assert!(matches!(
            FrameReader::new(&header[..]),
            Err(RecordingError::Abi { .. })
        ));
    }

    #[test]
    fn a_long_frame_takes_no_memory_that_it_does_not_fill() {
        let mut bytes = header().to_vec();
        bytes.extend_from_slice(&MAX_PAYLOAD.to_ne_bytes());
        bytes.push(Kind::Record as u8);
        let mut reader = FrameReader::new(&bytes[..]).expect("a header");
        assert_eq!(reader.next_frame().expect("read"), Next::Cut);
        assert!(reader.payload.capacity() < 1 << 16);
    }

    fn frames() -> impl Strategy<Value = Frames> {
        let payload = proptest::collection::vec(any::<u8>(), 0..40);
        let frame =
            (0..Kind::ALL.len(), payload).prop_map(|(kind, bytes)| (Kind::ALL[kind], bytes));
        proptest::collection::vec(frame, 0..8)
    }

    proptest! {
        #[test]
        fn frames_come_back(frames in frames()) {
            let mut bytes = header().to_vec();
            for (kind, payload) in &frames {
                prop_assert!(push(&mut bytes, *kind, payload));
            }
            prop_assert_eq!(read(&bytes), (frames, true));
        }

        #[test]
        fn of_a_truncated_one_every_whole_frame_comes_back(frames in frames(), cut in 0usize..400) {
            let mut bytes = header().to_vec();
            let mut ends = vec![bytes.len()];
            for (kind, payload) in &frames {
                prop_assert!(push(&mut bytes, *kind, payload));
                ends.push(bytes.len());
            }
            let cut = HEADER + cut % (bytes.len() - HEADER + 1);
            let whole = ends.iter().filter(|end| **end <= cut).count() - 1;
            let (got, at_end) = read(&bytes[..cut]);
            prop_assert_eq!(got, frames[..whole].to_vec());
            prop_assert_eq!(at_end, ends.contains(&cut));
        }

        #[test]
        fn never_panics(tail in proptest::collection::vec(any::<u8>(), 0..300)) {
            let mut bytes = header().to_vec();
            bytes.extend_from_slice(&tail);
            read(&bytes);
            let _ = FrameReader::new(&tail[..]);
        }
    }
}
