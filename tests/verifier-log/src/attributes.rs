//! The attributes of `BPF_PROG_LOAD`: the part of `union bpf_attr` that is used here
//! (include/uapi/linux/bpf.h), by the bytes at which it lies.

use std::ops::Range;

const LOG_LEVEL: usize = 24;
const LOG_SIZE: usize = 28;
const LOG_BUFFER: usize = 32;
const BTF_FD: usize = 72;
const FUNCTIONS: usize = 80;
const FUNCTION_COUNT: usize = 88;

/// Most bytes of a `union bpf_attr` that the kernel takes: a page.
pub const MOST: usize = 4096;

/// `BPF_LOG_STATS` (include/linux/bpf_verifier.h, 5.2 and later): no line for each
/// instruction, only the sums.
const STATISTICS: u32 = 4;

/// A copy of a caller's attributes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Attributes(Vec<u8>);

impl Attributes {
    /// Those in `bytes`; none if they end before what is used of them.
    pub fn new(bytes: &[u8]) -> Option<Self> {
        (bytes.len() > FUNCTION_COUNT + 4 && bytes.len() <= MOST).then(|| Self(bytes.to_vec()))
    }

    /// Whether the caller wants a log.
    pub fn has_log(&self) -> bool {
        self.word(LOG_LEVEL) != 0 || self.word(LOG_SIZE) != 0 || self.address(LOG_BUFFER) != 0
    }

    /// Asks for the verifier's statistics in a buffer of `size` bytes at `address`.
    pub fn ask_for_statistics(&mut self, address: u64, size: u32) {
        self.put(LOG_LEVEL, &STATISTICS.to_ne_bytes());
        self.put(LOG_SIZE, &size.to_ne_bytes());
        self.put(LOG_BUFFER, &address.to_ne_bytes());
    }

    /// The descriptor of the program's types, and the address of the first
    /// `struct bpf_func_info`; none if the program comes without them.
    pub fn functions(&self) -> Option<(u32, u64)> {
        let address = self.address(FUNCTIONS);
        let there = self.word(FUNCTION_COUNT) != 0 && address != 0;
        there.then(|| (self.word(BTF_FD), address))
    }

    /// The bytes, as the kernel takes them.
    pub fn bytes(&mut self) -> &mut [u8] {
        &mut self.0
    }

    fn word(&self, at: usize) -> u32 {
        u32::from_ne_bytes(self.get(at..at + 4))
    }

    fn address(&self, at: usize) -> u64 {
        u64::from_ne_bytes(self.get(at..at + 8))
    }

    /// The bytes there; zeros, as for the kernel, past the end.
    fn get<const N: usize>(&self, range: Range<usize>) -> [u8; N] {
        let bytes = self.0.get(range).unwrap_or_default();
        bytes.try_into().unwrap_or([0; N])
    }

    fn put(&mut self, at: usize, bytes: &[u8]) {
        if let Some(place) = self.0.get_mut(at..at + bytes.len()) {
            place.copy_from_slice(bytes);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes() -> Attributes {
        let mut bytes = [0; 128];
        bytes[72..76].copy_from_slice(&7u32.to_ne_bytes());
        bytes[80..88].copy_from_slice(&0x1000u64.to_ne_bytes());
        bytes[88..92].copy_from_slice(&2u32.to_ne_bytes());
        Attributes::new(&bytes).expect("long enough")
    }

    #[test]
    fn statistics_are_asked_for_and_nothing_else_changes() {
        let before = attributes();
        let mut after = before.clone();
        assert!(!before.has_log());
        after.ask_for_statistics(0x0807_0605_0403_0201, 65536);
        assert!(after.has_log());
        let (before, after) = (before.0, after.0);
        assert_eq!(after[24..32], [4, 0, 0, 0, 0, 0, 1, 0]);
        assert_eq!(after[32..40], [1, 2, 3, 4, 5, 6, 7, 8]);
        assert_eq!(after[..24], before[..24]);
        assert_eq!(after[40..], before[40..]);
    }

    #[test]
    fn functions_need_a_count_and_an_address() {
        assert_eq!(attributes().functions(), Some((7, 0x1000)));
        for at in [81, 88] {
            let mut without = attributes();
            without.bytes()[at] = 0;
            assert_eq!(without.functions(), None, "byte {at}");
        }
    }

    #[test]
    fn a_caller_of_another_time_is_left_alone() {
        assert_eq!(Attributes::new(&[0; 48]), None);
        assert_eq!(Attributes::new(&[0; MOST + 1]), None);
    }
}
