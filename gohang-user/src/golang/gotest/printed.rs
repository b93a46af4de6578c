//! What tests print, within bounds: of each test its beginning, where a panic says why, and its
//! end.

use std::collections::BTreeMap;

/// Bytes that are kept of a test's beginning, and of its end.
const HEAD: usize = 16 << 10;
const TAIL: usize = 48 << 10;
/// Most bytes that are kept of all tests together.
const MAX_ALL: usize = 16 << 20;

/// What a test printed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Text {
    head: Vec<u8>,
    /// The end, and perhaps as much again in front of it.
    tail: Vec<u8>,
    total: u64,
}

impl Text {
    /// Nothing was printed.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.total == 0
    }

    /// As text; bytes that are not UTF-8 are replaced, and a line stands for what was left
    /// out.
    #[must_use]
    pub fn to_text(&self) -> String {
        let tail = &self.tail[self.tail.len().saturating_sub(TAIL)..];
        let left_out = self.total - (self.head.len() + tail.len()) as u64;
        let gap = match left_out {
            0 => String::new(),
            _ => format!("\n[... {left_out} bytes are left out ...]\n"),
        };
        let all = [&self.head, gap.as_bytes(), tail].concat();
        String::from_utf8_lossy(&all).into_owned()
    }

    fn size(&self) -> usize {
        self.head.len() + self.tail.len()
    }

    /// Adds a piece, of which no more than `room` bytes are kept.
    fn add(&mut self, piece: &[u8], room: usize) {
        self.total += piece.len() as u64;
        let kept = &piece[piece.len().saturating_sub(room)..];
        // Nothing belongs in front of what was left out.
        let is_whole = self.total - piece.len() as u64 == self.head.len() as u64;
        let free = if is_whole && kept.len() == piece.len() {
            HEAD - self.head.len()
        } else {
            0
        };
        let (first, rest) = kept.split_at(kept.len().min(free));
        self.head.extend_from_slice(first);
        self.tail
            .extend_from_slice(&rest[rest.len().saturating_sub(TAIL)..]);
        if self.tail.len() > 2 * TAIL {
            self.tail.drain(..self.tail.len() - TAIL);
        }
    }
}

/// What those printed that have not ended, and how much is kept of all.
#[derive(Debug, Clone, Default)]
pub(super) struct Printed {
    /// By package and test; without a test, what a package printed itself.
    open: BTreeMap<(String, String), Text>,
    /// Bytes of these, and of those that were taken.
    bytes: usize,
}

impl Printed {
    /// Adds to what `of` printed.
    pub fn add(&mut self, of: (String, String), piece: &[u8]) {
        add(&mut self.bytes, self.open.entry(of).or_default(), piece);
    }

    /// Adds to a text that was taken.
    pub fn add_to(&mut self, text: &mut Text, piece: &[u8]) {
        add(&mut self.bytes, text, piece);
    }

    /// What `of` printed so far.
    pub fn of(&self, of: &(String, String)) -> Option<&Text> {
        self.open.get(of)
    }

    /// Hands over what `of` printed, which stays accounted for.
    pub fn take(&mut self, of: &(String, String)) -> Text {
        self.open.remove(of).unwrap_or_default()
    }

    /// Has `of` have printed a text that was taken.
    pub fn put(&mut self, of: (String, String), text: Text) {
        if !text.is_empty() {
            self.forget(&of);
            self.open.insert(of, text);
        }
    }

    /// Forgets what those printed that are not to be kept.
    pub fn retain(&mut self, keep: impl Fn(&(String, String)) -> bool) {
        let bytes = &mut self.bytes;
        self.open.retain(|of, text| {
            let kept = keep(of);
            if !kept {
                *bytes -= text.size();
            }
            kept
        });
    }

    /// Forgets what `of` printed.
    pub fn forget(&mut self, of: &(String, String)) {
        self.bytes -= self.take(of).size();
    }
}

fn add(bytes: &mut usize, text: &mut Text, piece: &[u8]) {
    let before = text.size();
    text.add(piece, MAX_ALL.saturating_sub(*bytes));
    *bytes = *bytes - before + text.size();
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn of(test: &str) -> (String, String) {
        ("p".to_owned(), test.to_owned())
    }

    #[test]
    fn beginning_and_end_are_kept_of_much() {
        let mut printed = Printed::default();
        printed.add(of("TestA"), b"panic: first\n");
        for _ in 0..1000 {
            printed.add(of("TestA"), &[b'x'; 999]);
        }
        printed.add(of("TestA"), b"\xfflast\n");
        let text = printed.take(&of("TestA")).to_text();
        assert!(text.starts_with("panic: first\nxxx"));
        assert!(text.ends_with("x\u{fffd}last\n"));
        let left_out = 13 + 999_000 + 6 - HEAD - TAIL;
        let note = format!("\n[... {left_out} bytes are left out ...]\n");
        assert!(text.contains(&note), "{}", text.len());
    }

    #[test]
    fn all_together_have_a_bound() {
        let mut printed = Printed::default();
        let many = 2 * MAX_ALL / (HEAD + TAIL);
        for number in 0..many {
            printed.add(of(&number.to_string()), &vec![b'x'; HEAD + TAIL]);
        }
        assert!(printed.bytes <= MAX_ALL, "{}", printed.bytes);
        let last = printed.of(&of(&(many - 1).to_string())).unwrap().to_text();
        assert_eq!(
            last,
            format!("\n[... {} bytes are left out ...]\n", HEAD + TAIL)
        );
        printed.forget(&of("0"));
        printed.retain(|(_, test)| test == "1");
        assert_eq!(printed.bytes, HEAD + TAIL);
    }

    proptest! {
        #[test]
        fn what_is_kept_is_accounted_for(
            pieces in proptest::collection::vec((0usize..4, 0usize..40_000), 0..60),
        ) {
            let mut printed = Printed::default();
            let mut taken = Text::default();
            for (which, length) in pieces {
                let piece = vec![b'x'; length];
                match which {
                    0 => printed.add_to(&mut taken, &piece),
                    1 => printed.forget(&of("2")),
                    _ => printed.add(of(&which.to_string()), &piece),
                }
                let open: usize = printed.open.values().map(Text::size).sum();
                prop_assert_eq!(printed.bytes, open + taken.size());
            }
        }
    }
}
