//! Distributions as a picture: how many signals took longer than so long.

use std::fmt::Write as _;

use super::document::{Bucket, Cell, Delivery, limit};

/// Size of the picture and of the space around the axes: left, top, right, bottom.
const SIZE: (f64, f64) = (900.0, 480.0);
const MARGIN: (f64, f64, f64, f64) = (96.0, 48.0, 250.0, 60.0);
/// Both axes are logarithmic: powers of ten of ns, and of the share of signals.
const TIMES: (i32, i32) = (3, 9);
const SHARES: (i32, i32) = (-4, 0);
const TIME_NAMES: [&str; 7] = ["1 us", "10 us", "100 us", "1 ms", "10 ms", "100 ms", "1 s"];
const SHARE_NAMES: [&str; 5] = ["1 in 10,000", "1 in 1,000", "1 in 100", "1 in 10", "all"];
/// Colours that people who see few of them tell apart (Okabe and Ito).
const COLOURS: [&str; 6] = [
    "#0072b2", "#009e73", "#e69f00", "#d55e00", "#cc79a7", "#56b4e9",
];

/// A distribution and how it is drawn.
struct Curve<'a> {
    name: String,
    buckets: &'a [Bucket],
    colour: &'static str,
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
        .zip(COLOURS.iter().cycle())
        .map(|(cell, colour)| Curve {
            name: limit(cell.quota_ns, cell.period_ns),
            buckets: &cell.latency.buckets,
            colour,
            dashed: false,
        })
        .collect();
    if let (Some(cell), Some(colour)) = (cells.last(), curves.last().map(|curve| curve.colour)) {
        curves.push(Curve {
            name: format!("{}, restarted clock", limit(cell.quota_ns, cell.period_ns)),
            buckets: &cell.restarted.latency.buckets,
            colour,
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
    let (width, height) = SIZE;
    // Writing to a string cannot fail, here and below.
    let mut out = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" \
         font-family=\"sans-serif\" font-size=\"13\">\n\
         <title>{title}</title>\n\
         <rect width=\"{width}\" height=\"{height}\" fill=\"#ffffff\"/>\n\
         <text x=\"{:.1}\" y=\"28\" font-size=\"16\">{title}</text>\n",
        MARGIN.0
    );
    axes(&mut out);
    for (index, curve) in curves.iter().enumerate() {
        let dash = if curve.dashed {
            " stroke-dasharray=\"6 4\""
        } else {
            ""
        };
        let colour = curve.colour;
        if let Some(path) = path(curve.buckets) {
            let _ = writeln!(
                out,
                "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"{dash}/>"
            );
        }
        let (left, at) = (
            width - MARGIN.2 + 18.0,
            MARGIN.1 + 14.0 + 22.0 * index as f64,
        );
        let _ = writeln!(
            out,
            "<path d=\"M{left:.1} {:.1}h26\" fill=\"none\" stroke=\"{colour}\" \
             stroke-width=\"2\"{dash}/>\n<text x=\"{:.1}\" y=\"{at:.1}\">{}</text>",
            at - 4.0,
            left + 34.0,
            curve.name
        );
    }
    out.push_str("</svg>\n");
    out
}

fn axes(out: &mut String) {
    let (left, right) = (x(0.0), x(f64::MAX));
    let (top, bottom) = (y(1.0), y(0.0));
    for (power, name) in (TIMES.0..=TIMES.1).zip(TIME_NAMES) {
        let at = x(10f64.powi(power));
        let _ = writeln!(
            out,
            "<path d=\"M{at:.1} {top:.1}V{bottom:.1}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{at:.1}\" y=\"{:.1}\" text-anchor=\"middle\">{name}</text>",
            bottom + 20.0
        );
    }
    for (power, name) in (SHARES.0..=SHARES.1).zip(SHARE_NAMES) {
        let at = y(10f64.powi(power));
        let _ = writeln!(
            out,
            "<path d=\"M{left:.1} {at:.1}H{right:.1}\" stroke=\"#dddddd\"/>\n\
             <text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"end\">{name}</text>",
            left - 8.0,
            at + 4.0
        );
    }
    let _ = writeln!(
        out,
        "<text x=\"{:.1}\" y=\"{:.1}\" text-anchor=\"middle\">from first send to delivery</text>",
        f64::midpoint(left, right),
        bottom + 44.0
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
