//! Numbers with their units, as people read them.

use std::time::Duration;

const US: u64 = 1_000;
const MS: u64 = 1_000_000;
const S: u64 = 1_000_000_000;
const H: u64 = 3_600 * S;

/// Ways to write a duration: nanoseconds of the last digit, number of decimals,
/// first count of last digits that is too long, unit.
const FORMS: [(u64, usize, u64, &str); 9] = [
    (1, 0, 1000, "ns"),
    (US / 10, 1, 100, "us"),
    (US, 0, 1000, "us"),
    (MS / 10, 1, 100, "ms"),
    (MS, 0, 1000, "ms"),
    (S / 100, 2, 1000, "s"),
    (S / 10, 1, 1000, "s"),
    (S, 0, 7200, "s"),
    (H / 10, 1, u64::MAX, "h"),
];

/// Nanoseconds as `850 ns`, `6.4 us`, `88 ms`, `1.25 s`, `2.5 h`.
#[must_use]
pub fn duration(ns: u64) -> String {
    for (step, decimals, limit, unit) in FORMS {
        let digits = ((u128::from(ns) + u128::from(step / 2)) / u128::from(step)) as u64;
        if digits < limit {
            let scale = 10u64.pow(decimals as u32);
            return if decimals == 0 {
                format!("{digits} {unit}")
            } else {
                format!("{}.{:0decimals$} {unit}", digits / scale, digits % scale)
            };
        }
    }
    unreachable!("the last form takes every duration")
}

/// A time as a person would say it: `90 s`, `15 min`, `1 h 30 min`.
#[must_use]
pub fn span(time: Duration) -> String {
    let seconds = time.as_secs_f64();
    if seconds < 10.0 && time.subsec_millis() != 0 {
        return format!("{seconds:.1} s");
    }
    let seconds = seconds.round() as u64;
    match (seconds / 3600, seconds % 3600 / 60, seconds % 60) {
        (0, minutes, 0) if minutes > 1 => format!("{minutes} min"),
        (0, minutes, _) if minutes < 10 => format!("{seconds} s"),
        (0, minutes, rest) => format!("{minutes} min {rest} s"),
        (hours, 0, _) => format!("{hours} h"),
        (hours, minutes, _) => format!("{hours} h {minutes} min"),
    }
}

/// A duration, or `-` where there is none.
#[must_use]
pub fn duration_or_dash(ns: Option<u64>) -> String {
    ns.map_or_else(|| "-".to_owned(), duration)
}

/// A share from 0 to 1 as `78 %`, `0.3 %`, `99.7 %`: neither nothing nor all
/// unless it is.
#[must_use]
pub fn percent(share: f64) -> String {
    let value = share * 100.0;
    if value <= 0.0 || value >= 100.0 {
        format!("{value:.0} %")
    } else if value < 0.1 {
        "<0.1 %".to_owned()
    } else if value > 99.9 {
        ">99.9 %".to_owned()
    } else if !(0.95..99.5).contains(&value) {
        format!("{value:.1} %")
    } else {
        format!("{value:.0} %")
    }
}

/// How many a second: `0.3`, `1.5`, `11`, `10200`.
#[must_use]
pub fn rate(count: u64, ns: u64) -> Option<String> {
    if ns == 0 {
        return None;
    }
    let value = count as f64 * S as f64 / ns as f64;
    Some(if value == 0.0 {
        "0".to_owned()
    } else if value < 0.1 {
        "<0.1".to_owned()
    } else if value < 9.95 {
        format!("{value:.1}")
    } else {
        format!("{value:.0}")
    })
}

/// A limit in CPUs: `0.20`, `0.015`, `2.00`.
#[must_use]
pub fn cpus(cpus: f64) -> String {
    let text = format!("{cpus:.3}");
    text.strip_suffix('0')
        .map_or_else(|| text.clone(), str::to_owned)
}

/// Relative change from `a` to `b`: `+12 %`, `-50 %`, `0 %`, `x14` and `x1/14`
/// from the eightfold on; `-` where there is none.
#[must_use]
pub fn change(a: Option<u64>, b: Option<u64>) -> String {
    match (a, b) {
        (Some(a), Some(b)) if a == b => "0 %".to_owned(),
        (Some(0), Some(_)) => "new".to_owned(),
        (Some(a), Some(b)) => {
            let ratio = b as f64 / a as f64;
            if ratio >= 8.0 {
                format!("x{ratio:.0}")
            } else if b > 0 && ratio <= 0.125 {
                // Never -100 %: that is for what is gone.
                format!("x1/{:.0}", ratio.recip())
            } else {
                let value = (ratio - 1.0) * 100.0;
                // A change too small for a whole per cent is still one.
                if value.abs() < 0.95 {
                    format!("{value:+.1} %")
                } else {
                    format!("{value:+.0} %")
                }
            }
        }
        _ => "-".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_read_well() {
        for (ns, want) in [
            (0, "0 ns"),
            (999, "999 ns"),
            (1_000, "1.0 us"),
            (6_449, "6.4 us"),
            (9_949, "9.9 us"),
            (9_950, "10 us"),
            (999_499, "999 us"),
            (999_500, "1.0 ms"),
            (88_000_000, "88 ms"),
            (999_600_000, "1.00 s"),
            (1_250_000_000, "1.25 s"),
            (9_996_000_000, "10.0 s"),
            (61_250_000_000, "61.3 s"),
            (7_199_000_000_000, "7199 s"),
            (7_200_000_000_000, "2.0 h"),
            (u64::MAX, "5124095.6 h"),
        ] {
            assert_eq!(duration(ns), want, "{ns}");
        }
        assert_eq!(duration_or_dash(None), "-");
    }

    #[test]
    fn times_are_said_as_people_do() {
        for (ms, want) in [
            (0, "0 s"),
            (1500, "1.5 s"),
            (12_400, "12 s"),
            (60_000, "60 s"),
            (90_000, "90 s"),
            (120_000, "2 min"),
            (150_000, "150 s"),
            (900_000, "15 min"),
            (905_000, "15 min 5 s"),
            (3_600_000, "1 h"),
            (5_400_000, "1 h 30 min"),
        ] {
            assert_eq!(span(Duration::from_millis(ms)), want);
        }
    }

    #[test]
    fn shares_are_never_rounded_to_nothing_or_all() {
        for (share, want) in [
            (0.0, "0 %"),
            (0.0001, "<0.1 %"),
            (0.003, "0.3 %"),
            (0.0096, "1 %"),
            (0.784, "78 %"),
            (0.9949, "99 %"),
            (0.997, "99.7 %"),
            (0.9999, ">99.9 %"),
            (1.0, "100 %"),
        ] {
            assert_eq!(percent(share), want, "{share}");
        }
    }

    #[test]
    fn rates_limits_and_changes() {
        assert_eq!(rate(93, 8_200_000_000).as_deref(), Some("11"));
        assert_eq!(rate(3, 8_000_000_000).as_deref(), Some("0.4"));
        assert_eq!(rate(1, 80_000_000_000).as_deref(), Some("<0.1"));
        assert_eq!(rate(0, 1).as_deref(), Some("0"));
        assert_eq!(rate(1, 0), None);
        for (value, want) in [
            (0.2, "0.20"),
            (0.03, "0.03"),
            (0.015, "0.015"),
            (2.0, "2.00"),
        ] {
            assert_eq!(cpus(value), want);
        }
        for (a, b, want) in [
            (Some(100), Some(100), "0 %"),
            (Some(0), Some(0), "0 %"),
            (Some(0), Some(1), "new"),
            (Some(100), Some(0), "-100 %"),
            (Some(100), Some(112), "+12 %"),
            (Some(1000), Some(1001), "+0.1 %"),
            (Some(100), Some(1400), "x14"),
            (Some(88_000_000), Some(6_400), "x1/13750"),
            (Some(800), Some(100), "x1/8"),
            (None, Some(1), "-"),
            (Some(1), None, "-"),
        ] {
            assert_eq!(change(a, b), want, "{a:?} {b:?}");
        }
    }

    proptest! {
        #[test]
        fn a_duration_is_within_its_last_digit(ns in any::<u64>()) {
            let text = duration(ns);
            let (value, unit) = text.split_once(' ').expect("a unit");
            let scale = match unit { "ns" => 1.0, "us" => 1e3, "ms" => 1e6, "s" => 1e9, _ => 3.6e12 };
            let back = value.parse::<f64>().expect("a number") * scale;
            prop_assert!((back - ns as f64).abs() <= 0.0501 * (ns as f64) + 0.5, "{ns} {text}");
        }
    }
}
