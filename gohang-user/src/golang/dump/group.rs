//! Goroutines that do the same.

use std::collections::HashMap;

use super::frame::Frame;
use super::parse::Goroutine;

/// Goroutines with the same stack and status.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Their ids, in the order of the dump.
    pub ids: Vec<u64>,
    /// What they do.
    pub status: String,
    /// The longest time for which one does, in minutes.
    pub minutes: Option<u64>,
    /// Their stack, innermost first.
    pub frames: Vec<Frame>,
    /// Their stacks could not be read.
    pub unavailable: bool,
}

/// Groups goroutines by status and stack, the largest group first, then in the order of the
/// dump.
#[must_use]
pub fn group(goroutines: &[Goroutine]) -> Vec<Group> {
    let mut groups: Vec<Group> = Vec::new();
    let mut index: HashMap<(&str, &[Frame], bool), usize> = HashMap::new();
    for goroutine in goroutines {
        let Goroutine {
            header,
            frames,
            unavailable,
            ..
        } = goroutine;
        let key = (header.status.as_str(), frames.as_slice(), *unavailable);
        let at = *index.entry(key).or_insert_with(|| {
            groups.push(Group {
                ids: Vec::new(),
                status: header.status.clone(),
                minutes: None,
                frames: frames.clone(),
                unavailable: *unavailable,
            });
            groups.len() - 1
        });
        let group = &mut groups[at];
        group.ids.push(header.id);
        group.minutes = group.minutes.max(header.minutes);
    }
    groups.sort_by_key(|group| std::cmp::Reverse(group.ids.len()));
    groups
}
