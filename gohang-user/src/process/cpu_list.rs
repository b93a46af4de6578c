//! Lists of CPUs as the kernel writes them: `0-3,8`.

/// Most CPUs that a list may name (`NR_CPUS` is at most 8192 on amd64).
const MAX_CPUS: u32 = 1 << 16;

/// A set of CPUs, as ranges in the kernel's order.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct CpuList {
    ranges: Vec<(u32, u32)>,
}

impl CpuList {
    /// Parses the kernel's form (`bitmap_print_to_pagebuf`); an empty text is no CPU.
    /// `None` when it is not in that form.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        if text.is_empty() {
            return Some(Self::default());
        }
        let mut ranges = Vec::new();
        for part in text.split(',') {
            let (first, last) = part.split_once('-').unwrap_or((part, part));
            let (first, last) = (first.parse::<u32>().ok()?, last.parse::<u32>().ok()?);
            let in_order = ranges.last().is_none_or(|&(_, before)| before < first);
            if first > last || last >= MAX_CPUS || !in_order {
                return None;
            }
            ranges.push((first, last));
        }
        Some(Self { ranges })
    }

    /// How many CPUs it names.
    #[must_use]
    pub fn count(&self) -> u32 {
        self.ranges
            .iter()
            .map(|(first, last)| last - first + 1)
            .sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn lists_of_the_kernel() {
        for (text, count) in [
            ("0", 1),
            ("0-3\n", 4),
            ("0-3,8", 5),
            ("0,2,4-5", 4),
            ("", 0),
        ] {
            assert_eq!(CpuList::parse(text).unwrap().count(), count, "{text}");
        }
        for text in ["x", "3-1", "0,,1", "1,0", "0-99999999", "-1", "0-"] {
            assert_eq!(CpuList::parse(text), None, "{text}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(text in "[0-9,\\- ]{0,40}|.{0,40}") {
            if let Some(list) = CpuList::parse(&text) {
                prop_assert!(list.count() <= MAX_CPUS);
            }
        }
    }
}
