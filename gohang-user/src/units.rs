//! Durations for people.

/// Nanoseconds with three significant digits and a unit: `850ns`, `4.10us`, `90.2ms`.
#[must_use]
pub fn duration(ns: u64) -> String {
    if ns < 1000 {
        return format!("{ns}ns");
    }
    let seconds = 1e9;
    for (unit, size) in [("us", 1e3), ("ms", 1e6), ("s", seconds)] {
        let value = ns as f64 / size;
        for (below, decimals) in [(9.995, 2), (99.95, 1), (999.5, 0)] {
            if value < below {
                return format!("{value:.decimals$}{unit}");
            }
        }
    }
    format!("{:.0}s", ns as f64 / seconds)
}

#[cfg(test)]
mod tests {
    use super::duration;

    #[test]
    fn three_digits_and_a_unit() {
        for (ns, want) in [
            (0, "0ns"),
            (999, "999ns"),
            (1000, "1.00us"),
            (4_100, "4.10us"),
            (9_995, "10.0us"),
            (99_949, "99.9us"),
            (999_400, "999us"),
            (999_500, "1.00ms"),
            (90_240_000, "90.2ms"),
            (999_499_999, "999ms"),
            (1_234_000_000, "1.23s"),
            (4_000_000_000_000, "4000s"),
        ] {
            assert_eq!(duration(ns), want, "{ns}");
        }
    }
}
