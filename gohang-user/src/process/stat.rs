//! `/proc/PID/stat`: parent, state and start time.

/// Nanoseconds in a second.
const NSEC_PER_SEC: u64 = 1_000_000_000;

/// The fields of `/proc/PID/stat` that gohang uses.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Process or thread id, as seen from the PID namespace of the `/proc` mount.
    pub pid: u32,
    /// The name, raw: at most 15 bytes, any byte but NUL.
    pub comm: Vec<u8>,
    /// State letter as in proc(5): `R`, `S`, `D`, `T`, `t`, `Z`, `X`, `I` ...
    pub state: char,
    /// The parent's process id; 0 for none, or one outside the PID namespace.
    pub ppid: u32,
    /// Start time after boot in clock ticks (see [`user_hz`]), of `CLOCK_BOOTTIME`.
    /// Together with `pid` it names a process for good.
    pub start_ticks: u64,
}

impl Stat {
    /// Parses the one line of the file; the reason when it is not in that form.
    ///
    /// # Errors
    /// What is missing or not a number.
    pub fn parse(raw: &[u8]) -> Result<Self, String> {
        // The name may itself hold parentheses, spaces and newlines: it ends at the
        // last closing parenthesis, after which only numbers and a letter follow.
        let open = raw
            .iter()
            .position(|&b| b == b'(')
            .ok_or("no ( before the name")?;
        let close = raw
            .iter()
            .rposition(|&b| b == b')')
            .ok_or("no ) after the name")?;
        let comm = raw
            .get(open + 1..close)
            .ok_or("the name's parentheses are crossed")?;
        let head = std::str::from_utf8(&raw[..open]).map_err(|_| "the pid is not text")?;
        let tail = std::str::from_utf8(&raw[close + 1..])
            .map_err(|_| "the fields after the name are not text")?;
        let fields: Vec<&str> = tail.split_ascii_whitespace().collect();
        // proc(5) counts from 1 and the state is field 3.
        let field = |n: usize| {
            let text = fields
                .get(n - 3)
                .ok_or_else(|| format!("field {n} is missing"))?;
            text.parse::<u64>()
                .map_err(|_| format!("field {n} is not a number"))
        };
        let narrow = |n: u64, what: &str| u32::try_from(n).map_err(|_| format!("{what} too large"));
        let pid = head
            .trim()
            .parse::<u32>()
            .map_err(|_| "the pid is not a number")?;
        let state = fields
            .first()
            .and_then(|s| s.chars().next())
            .ok_or("field 3 is missing")?;
        Ok(Self {
            pid,
            comm: comm.to_vec(),
            state,
            ppid: narrow(field(4)?, "the parent's pid is")?,
            start_ticks: field(22)?,
        })
    }

    /// Start time after boot in nanoseconds of `CLOCK_BOOTTIME`, rounded down to a tick.
    #[must_use]
    pub fn start_ns(&self) -> u64 {
        ticks_to_ns(self.start_ticks)
    }

    /// Whether it has exited and waits for its parent to collect it.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Clock ticks a second in `/proc` (`USER_HZ`; 100 on every Linux in use).
#[must_use]
pub fn user_hz() -> u64 {
    // SAFETY: sysconf takes a number, touches no memory of ours and has no
    // preconditions.
    let hz = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    // The kernel's interface has been fixed at 100 for two decades; -1 would mean a
    // libc that does not know the name.
    u64::try_from(hz).ok().filter(|&hz| hz > 0).unwrap_or(100)
}

/// Clock ticks to nanoseconds; saturates beyond 584 years.
#[must_use]
pub fn ticks_to_ns(ticks: u64) -> u64 {
    let ns = u128::from(ticks) * u128::from(NSEC_PER_SEC) / u128::from(user_hz());
    u64::try_from(ns).unwrap_or(u64::MAX)
}

/// Nanoseconds to whole clock ticks, as the kernel rounds them in `/proc`.
///
/// A task's `start_boottime` put through this is its [`Stat::start_ticks`].
#[must_use]
pub fn ns_to_ticks(ns: u64) -> u64 {
    let ticks = u128::from(ns) * u128::from(user_hz()) / u128::from(NSEC_PER_SEC);
    // Never larger than ns, as long as a second has at most 10^9 ticks.
    u64::try_from(ticks).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TAIL: &str = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 4 0 987654 10 11 12 13";

    #[test]
    fn fields_are_found_behind_a_hostile_name() {
        for name in [
            &b"go"[..],
            b"a) S 1 (b",
            b"x\ny",
            b"",
            b"\xff\x1b[2J",
            b"))((",
        ] {
            let mut raw = b"42 (".to_vec();
            raw.extend_from_slice(name);
            raw.extend_from_slice(b") ");
            raw.extend_from_slice(TAIL.as_bytes());
            raw.push(b'\n');
            let stat = Stat::parse(&raw).unwrap();
            assert_eq!(stat.pid, 42);
            assert_eq!(stat.comm, name);
            assert_eq!((stat.state, stat.ppid, stat.start_ticks), ('S', 7, 987_654));
            assert!(!stat.is_zombie());
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        assert!(Stat::parse(b"").unwrap_err().contains("no ("));
        assert!(Stat::parse(b"1 )x(").unwrap_err().contains("crossed"));
        assert!(
            Stat::parse(b"1 (x) S 7 1")
                .unwrap_err()
                .contains("field 22")
        );
        assert!(
            Stat::parse(b"1 (x) S -7 1")
                .unwrap_err()
                .contains("field 4")
        );
    }

    #[test]
    fn ticks_are_rounded_as_the_kernel_does() {
        let tick_ns = NSEC_PER_SEC / user_hz();
        assert_eq!(ticks_to_ns(3), 3 * tick_ns);
        assert_eq!(ns_to_ticks(3 * tick_ns), 3);
        assert_eq!(ns_to_ticks(4 * tick_ns - 1), 3);
        assert_eq!(ticks_to_ns(u64::MAX), u64::MAX);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(raw in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Stat::parse(&raw);
        }
    }
}
