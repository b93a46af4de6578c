//! How what gohang takes grows with what it has to do: processes, threads, groups, wake-ups by
//! timers and signals, each from little to much.

mod axis;
mod measure;

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde::Serialize;

use self::axis::{AXES, Axis};
use self::measure::Point;
use crate::group::Hierarchy;
use crate::run::Settings;

/// From this exponent on something counts as growing faster than linearly.
const LINEAR: f64 = 1.2;

/// Everything that was measured.
#[derive(Debug, Serialize)]
struct Document {
    gohang: String,
    kernel: String,
    cpus: usize,
    /// Seconds since 1970.
    at_unix_s: u64,
    quick: bool,
    /// How long each was watched, ms.
    watch_ms: u64,
    axes: Vec<Measured>,
}

/// One of the things that grow.
#[derive(Debug, Serialize)]
struct Measured {
    name: &'static str,
    what: &'static str,
    unit: &'static str,
    points: Vec<Point>,
    /// Exponents over the upper decade, by figure.
    growth: Vec<Growth>,
}

/// How a figure grows.
#[derive(Debug, Serialize)]
struct Growth {
    figure: &'static str,
    /// Between which sizes.
    from: u64,
    to: u64,
    /// `b` of `size^b`.
    exponent: f64,
    /// Above [`LINEAR`].
    faster_than_linear: bool,
}

/// `growth FILE GOHANG [quick]`: measures all of it and writes the file.
///
/// # Errors
/// Bad words, something cannot be started, or the file cannot be written.
pub fn make(words: &[String]) -> Result<()> {
    let (file, gohang, quick) = match words {
        [file, gohang] => (file, gohang, false),
        [file, gohang, quick] if quick == "quick" => (file, gohang, true),
        _ => bail!("growth wants a file and a gohang"),
    };
    let settings = Settings {
        gohang: Some(std::path::absolute(gohang)?),
        ..Settings::default()
    };
    if let Ok(hierarchy) = Hierarchy::find() {
        hierarchy.sweep();
    }
    measure::raise_limit_of_files()?;
    let watch_ms = if quick { 500 } else { 3_000 };
    let mut axes = Vec::new();
    for axis in &AXES {
        axes.push(measure_axis(&settings, axis, quick, watch_ms)?);
    }
    let version = Command::new(settings.gohang()?).arg("--version").output();
    let version = version.context("could not run gohang --version")?.stdout;
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?;
    let document = Document {
        gohang: String::from_utf8_lossy(&version).trim().to_owned(),
        // A name of the machine may follow.
        kernel: kernel.trim().split('-').next().unwrap_or("").to_owned(),
        cpus: std::thread::available_parallelism()?.get(),
        at_unix_s: now.as_secs(),
        quick,
        watch_ms,
        axes,
    };
    let mut text = serde_json::to_string_pretty(&document)?;
    text.push('\n');
    let path = Path::new(file);
    std::fs::write(path, text).with_context(|| format!("could not write {}", path.display()))
}

fn measure_axis(
    settings: &Settings,
    axis: &'static Axis,
    quick: bool,
    watch_ms: u64,
) -> Result<Measured> {
    let sizes = if quick { axis.quick } else { axis.sizes };
    let mut points = Vec::new();
    for &size in sizes {
        let point = axis::measure(settings, axis, size, watch_ms)
            .with_context(|| format!("{}, {size} {}", axis.name, axis.unit))?;
        eprintln!("{}: {point}", axis.name);
        points.push(point);
    }
    let growth = growth(&points);
    for growth in growth.iter().filter(|growth| growth.faster_than_linear) {
        eprintln!(
            "{}: {} grows with the power {:.2} from {} to {}",
            axis.name, growth.figure, growth.exponent, growth.from, growth.to
        );
    }
    Ok(Measured {
        name: axis.name,
        what: axis.what,
        unit: axis.unit,
        points,
        growth,
    })
}

/// A figure of a point.
type Figure = fn(&Point) -> f64;

/// The figures whose growth is looked at.
const FIGURES: [(&str, Figure); 4] = [
    ("start", |point| point.start_ms),
    ("CPU", |point| point.cpu_ms),
    ("memory", |point| point.rss_kib as f64),
    ("report", |point| point.report_bytes as f64),
];

/// From the last point that is a tenth of the last one's size, or less, to that.
fn growth(points: &[Point]) -> Vec<Growth> {
    let Some(last) = points.last() else {
        return Vec::new();
    };
    let decade = |point: &&Point| point.size.saturating_mul(10) <= last.size;
    let Some(first) = points.iter().rfind(decade) else {
        return Vec::new();
    };
    FIGURES
        .iter()
        .filter_map(|(figure, of)| {
            let exponent = exponent((first.size, of(first)), (last.size, of(last)))?;
            Some(Growth {
                figure,
                from: first.size,
                to: last.size,
                exponent,
                faster_than_linear: exponent > LINEAR,
            })
        })
        .collect()
}

/// The slope between two points on logarithmic axes; none through what has no logarithm.
fn exponent(from: (u64, f64), to: (u64, f64)) -> Option<f64> {
    let size = (to.0 as f64 / from.0 as f64).ln();
    let exponent = (to.1 / from.1).ln() / size;
    exponent.is_finite().then_some(exponent)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(size: u64, start_ms: f64) -> Point {
        Point {
            size,
            start_ms,
            cpu_ms: size as f64,
            rss_kib: 7,
            ..Point::default()
        }
    }

    #[test]
    fn growth_is_that_of_the_upper_decade() {
        let points = [
            point(1, 1.0),
            point(10, 10.0),
            point(50, 1.0),
            point(100, 1_000.0),
        ];
        let growth = growth(&points);
        let of = |figure| growth.iter().find(|growth| growth.figure == figure);
        let start = of("start").unwrap();
        assert_eq!((start.from, start.to), (10, 100));
        assert!((start.exponent - 2.0).abs() < 1e-9 && start.faster_than_linear);
        let cpu = of("CPU").unwrap();
        assert!((cpu.exponent - 1.0).abs() < 1e-9 && !cpu.faster_than_linear);
        assert!(of("memory").unwrap().exponent.abs() < 1e-9);
        // No report has a size of nothing.
        assert!(of("report").is_none());
        assert!(super::growth(&points[..1]).is_empty());
    }
}
