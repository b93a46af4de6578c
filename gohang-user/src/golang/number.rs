//! Numbers in environment variables, as the Go runtime reads them.

use super::version::GoVersion;

/// From this minor version on the runtime reads numbers with `strconv.ParseInt`, which
/// takes a plus sign and wants a digit after a minus.
const PARSE_INT: u32 = 26;

/// A 32-bit number as the runtime of `version` reads it from `GOMAXPROCS` and `GODEBUG`;
/// `None` for what it passes over.
///
/// Until 1.25 as `atoi32` (runtime/string.go of 1.21.13 to 1.24.11,
/// internal/runtime/strconv/atoi.go of 1.25.5), which takes a lone `-` for 0; since as
/// `ParseInt` with base 10 (internal/strconv/atoi.go of 1.26.6 and 1.27.3).
pub(super) fn runtime_int(version: &GoVersion, text: &[u8]) -> Option<i32> {
    let parse_int = version.at_least(PARSE_INT);
    let (negative, digits) = match text {
        [b'-', digits @ ..] => (true, digits),
        [b'+', digits @ ..] if parse_int => (false, digits),
        digits => (false, digits),
    };
    if text.is_empty() || (parse_int && digits.is_empty()) {
        return None;
    }
    let value = digits.iter().try_fold(0_i64, |sum, byte| {
        let digit = byte.is_ascii_digit().then(|| i64::from(byte - b'0'))?;
        sum.checked_mul(10)?.checked_add(digit)
    })?;
    i32::try_from(if negative { -value } else { value }).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn read(version: &str, text: &str) -> Option<i32> {
        let version = GoVersion::parse(version).expect("a version");
        runtime_int(&version, text.as_bytes())
    }

    #[test]
    fn signs_differ_between_versions() {
        for (text, before, since) in [
            ("4", Some(4), Some(4)),
            ("-4", Some(-4), Some(-4)),
            ("004", Some(4), Some(4)),
            ("+4", None, Some(4)),
            ("-", Some(0), None),
            ("+", None, None),
            ("", None, None),
            ("--4", None, None),
            (" 4", None, None),
            ("4 ", None, None),
            ("4x", None, None),
            ("1_000", None, None),
            ("0x4", None, None),
            ("2147483647", Some(i32::MAX), Some(i32::MAX)),
            ("2147483648", None, None),
            ("-2147483648", Some(i32::MIN), Some(i32::MIN)),
            ("99999999999999999999999", None, None),
        ] {
            for version in ["go1.14.6", "go1.21.13", "go1.25.5"] {
                assert_eq!(read(version, text), before, "{version} {text:?}");
            }
            for version in ["go1.26.6", "go1.27.3", "devel +abc"] {
                assert_eq!(read(version, text), since, "{version} {text:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn whatever_is_written_is_read_back(value: i32) {
            prop_assert_eq!(read("go1.25.5", &value.to_string()), Some(value));
            prop_assert_eq!(read("go1.27.3", &value.to_string()), Some(value));
        }

        #[test]
        fn reading_never_panics(text in "[-+]?[0-9x]{0,25}") {
            let _ = (read("go1.21.0", &text), read("go1.27.0", &text));
        }
    }
}
