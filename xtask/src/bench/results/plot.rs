//! Distributions as a picture: how many signals took longer than so long.

use std::fmt::Write as _;

use super::document::{Bucket, Cell, Delivery, limit};
use crate::bench::plot::{Picture, Side};

/// Size of the picture and of the space around the axes: left, top, right, bottom.
const SIZE: (f64, f64) = (900.0, 480.0);
const MARGIN: (f64, f64, f64, f64) = (96.0, 48.0, 270.0, 60.0);
/// Both axes are logarithmic: powers of ten of ns, and of the share of signals.
const TIMES: (i32, i32) = (3, 9);
const SHARES: (i32, i32) = (-4, 0);
const TIME_NAMES: [&str; 7] = ["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s"];
const SHARE_NAMES: [&str; 5] = ["1 in 10,000", "1 in 1,000", "1 in 100", "1 in 10", "all"];

/// A distribution and how it is drawn.
struct Curve<'a> {
    name: String,
    buckets: &'a [Bucket],
    series: usize,
    dashed: bool,
}

/// Delivery from outside by tgkill with each limit, and what a restarted clock shows of the
/// tightest.
pub fn delivery(delivery: &Delivery) -> String {
    let cells: Vec<&Cell> = delivery
        .cells
        .iter()
        .filter(|cell| cell.method == "tgkill" && cell.from == "outside")
        .collect();
    let mut curves: Vec<Curve<'_>> = cells
        .iter()
        .enumerate()
        .map(|(series, cell)| Curve {
            name: limit(cell.quota_ns, cell.period_ns),
            buckets: &cell.latency.buckets,
            series,
            dashed: false,
        })
        .collect();
    if let (Some(cell), Some(series)) = (cells.last(), curves.last().map(|curve| curve.series)) {
        curves.push(Curve {
            name: format!("{}, restarted clock", limit(cell.quota_ns, cell.period_ns)),
            buckets: &cell.restarted.latency.buckets,
            series,
            dashed: true,
        });
    }
    draw("Signals that took longer than ...", &curves)
}

/// Where a time is.
fn x(ns: f64) -> f64 {
    let power = ns.max(1.0).log10().clamp(TIMES.0.into(), TIMES.1.into());
    let part = (power - f64::from(TIMES.0)) / f64::from(TIMES.1 - TIMES.0);
    MARGIN.0 + part * (SIZE.0 - MARGIN.0 - MARGIN.2)
}

/// Where a share of the signals is; what is rarer than the axis lies at its foot.
fn y(share: f64) -> f64 {
    let least = 10f64.powi(SHARES.0);
    let power = share.max(least).log10().min(SHARES.1.into());
    let part = (f64::from(SHARES.1) - power) / f64::from(SHARES.1 - SHARES.0);
    MARGIN.1 + part * (SIZE.1 - MARGIN.1 - MARGIN.3)
}

fn draw(title: &str, curves: &[Curve<'_>]) -> String {
    let names: Vec<&str> = curves.iter().map(|curve| curve.name.as_str()).collect();
    let description = format!(
        "The share of the signals (from all to 1 in 10,000) that took longer than a time (from \
         1 us to 1 s), both on a logarithmic axis, with a falling line each for: {}.",
        names.join("; ")
    );
    let mut picture = Picture::new(SIZE, MARGIN.0, title, &description);
    axes(&mut picture);
    for (index, curve) in curves.iter().enumerate() {
        if let Some(path) = path(curve.buckets) {
            picture.curve(curve.series, curve.dashed, &path);
        }
        let (left, at) = (
            SIZE.0 - MARGIN.2 + 18.0,
            MARGIN.1 + 14.0 + 22.0 * index as f64,
        );
        let sample = format!("M{left:.1} {:.1}h26", at - 4.0);
        picture.curve(curve.series, curve.dashed, &sample);
        picture.text((left + 34.0, at), Side::Right, &curve.name);
    }
    picture.finish()
}

fn axes(picture: &mut Picture) {
    let (left, right) = (x(0.0), x(f64::MAX));
    let (top, bottom) = (y(1.0), y(0.0));
    for (power, name) in (TIMES.0..=TIMES.1).zip(TIME_NAMES) {
        picture.vertical(x(10f64.powi(power)), (top, bottom), name);
    }
    for (power, name) in (SHARES.0..=SHARES.1).zip(SHARE_NAMES) {
        picture.horizontal(y(10f64.powi(power)), (left, right), name);
    }
    picture.text(
        (f64::midpoint(left, right), bottom + 44.0),
        Side::Middle,
        "from first send to delivery",
    );
}

/// The share of the times that are longer, as a line of steps; none of nothing.
fn path(buckets: &[Bucket]) -> Option<String> {
    let total: u64 = buckets.iter().map(|bucket| bucket.count).sum();
    let first = buckets.first().filter(|_| total > 0)?;
    let mut line = format!("M{:.1} {:.1}", x(first.lo_ns as f64), y(1.0));
    let mut left = total;
    for bucket in buckets {
        left -= bucket.count;
        let share = left as f64 / total as f64;
        let _ = write!(line, "H{:.1}V{:.1}", x(bucket.hi_ns as f64), y(share));
    }
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_falls_where_the_times_are() {
        let buckets = [
            Bucket {
                lo_ns: 1_000,
                hi_ns: 10_000,
                count: 90,
            },
            Bucket {
                lo_ns: 10_000_000,
                hi_ns: 100_000_000,
                count: 10,
            },
        ];
        let line = path(&buckets).expect("a line");
        let want = format!(
            "M{:.1} {:.1}H{:.1}V{:.1}H{:.1}V{:.1}",
            x(1e3),
            y(1.0),
            x(1e4),
            y(0.1),
            x(1e8),
            y(0.0)
        );
        assert_eq!(line, want);
        assert_eq!(path(&[]), None);
    }

    #[test]
    fn everything_is_within_the_picture() {
        for (share, ns) in [(0.0, 0.0), (1.0, 1e12), (1e-9, 1.0), (2.0, 5e5)] {
            assert!(x(ns) >= MARGIN.0 && x(ns) <= SIZE.0 - MARGIN.2);
            assert!(y(share) >= MARGIN.1 && y(share) <= SIZE.1 - MARGIN.3);
        }
        assert!(x(1e4) < x(1e5) && y(0.1) < y(0.01));
    }
}
