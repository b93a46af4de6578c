//! Growth of counters that the kernel promises never to decrease.

/// A counter that only grows was smaller at its second reading.
///
/// It is a value to show, not to hide: the group or CPU was replaced between the
/// readings (removed and made anew, taken offline), or the kernel's count is wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the counter {name} went back from {before} to {after}; the interval cannot be used")]
pub struct WentBack {
    /// The counter's name, as in the file it was read from.
    pub name: &'static str,
    /// The first reading.
    pub before: u64,
    /// The second reading, smaller than the first.
    pub after: u64,
}

/// `after - before`, or the fact that the counter went back.
///
/// # Errors
/// [`WentBack`] when `after` is smaller than `before`.
pub fn growth(name: &'static str, before: u64, after: u64) -> Result<u64, WentBack> {
    after.checked_sub(before).ok_or(WentBack {
        name,
        before,
        after,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn growth_is_exact_and_going_back_is_an_error() {
        assert_eq!(growth("x", 3, 3), Ok(0));
        assert_eq!(growth("x", 3, 10), Ok(7));
        assert_eq!(growth("x", 0, u64::MAX), Ok(u64::MAX));
        let back = growth("throttled_time", 10, 3).unwrap_err();
        assert_eq!((back.before, back.after), (10, 3));
        assert!(
            back.to_string()
                .contains("throttled_time went back from 10 to 3")
        );
    }
}
