//! `GOGC` and `GOMEMLIMIT` as the runtime reads them from the environment.

use super::number::runtime_int;
use super::version::GoVersion;

/// `GOGC` as `readGOGC` takes it (runtime/mgcpacer.go, 1.14 to 1.27): -1 is off, and what
/// is no number counts as 100.
#[must_use]
pub fn gc_percent(version: &GoVersion, text: &[u8]) -> i32 {
    match text {
        b"off" => -1,
        text => runtime_int(version, text).unwrap_or(100),
    }
}

/// `GOMEMLIMIT` in bytes as `readGOMEMLIMIT` takes it (runtime/mgcpacer.go, 1.19 to 1.27);
/// `i64::MAX` is off. `None` for what makes the runtime refuse to start.
#[must_use]
pub fn memory_limit(text: &[u8]) -> Option<i64> {
    if text.is_empty() || text == b"off" {
        return Some(i64::MAX);
    }
    let text = std::str::from_utf8(text).ok()?;
    let units = [("KiB", 10), ("MiB", 20), ("GiB", 30), ("TiB", 40)];
    let (digits, shift) = units
        .into_iter()
        .find_map(|(unit, shift)| Some((text.strip_suffix(unit)?, shift)))
        .unwrap_or_else(|| (text.strip_suffix('B').unwrap_or(text), 0));
    // No sign, as in the runtime's parseByteCount.
    if !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    digits.parse::<i64>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn as_the_runtime() {
        let version = GoVersion::parse("go1.27.3").expect("a version");
        for (text, want) in [("off", -1), ("50", 50), ("", 100), ("x", 100), ("-1", -1)] {
            assert_eq!(gc_percent(&version, text.as_bytes()), want, "{text}");
        }
        for (text, want) in [
            ("", Some(i64::MAX)),
            ("off", Some(i64::MAX)),
            ("1024", Some(1024)),
            ("1024B", Some(1024)),
            ("2KiB", Some(2048)),
            ("3MiB", Some(3 << 20)),
            ("1GiB", Some(1 << 30)),
            ("1TiB", Some(1 << 40)),
            ("1GB", None),
            ("1 GiB", None),
            ("-1", None),
            ("+1", None),
            ("9999999999TiB", None),
            ("MiB", None),
        ] {
            assert_eq!(memory_limit(text.as_bytes()), want, "{text}");
        }
    }

    proptest! {
        #[test]
        fn nothing_panics(text in proptest::collection::vec(any::<u8>(), 0..30)) {
            let version = GoVersion::parse("go1.27.3").expect("a version");
            let _ = (gc_percent(&version, &text), memory_limit(&text));
        }

        #[test]
        fn a_count_is_what_it_says(count in 0_i64..1 << 20) {
            prop_assert_eq!(memory_limit(format!("{count}MiB").as_bytes()), Some(count << 20));
        }
    }
}
