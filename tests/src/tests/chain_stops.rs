//! Stops of the world: as many as the runtime counts, and as long.

use anyhow::{Context as _, Result, ensure};

use super::chain_life::spawn;
use super::diagnosis::programs;
use crate::diagnosis::{Built, Program, Setting, Table};
use crate::group::Group;
use crate::run::{Report, Settings, Test};
use crate::stream::Stream;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "chain::stops",
        body: stops,
    }]
}

/// The runtime's histograms of how long stopping took (Go 1.22 and later).
const STOPPING: &str = "/sched/pauses/stopping/";

/// Below this many bits a duration lies in the first buckets, which are all of one width; and
/// bits that tell the buckets of one power of two apart (`timeHistMinBucketBits`,
/// `timeHistSubBucketBits`, runtime/histogram.go, the same from Go 1.20 to 1.27).
const MIN_BITS: u32 = 9;
const SUB_BITS: u32 = 2;

/// Stops of the world of one run.
pub struct Stops {
    /// How long gohang says that each took, ns.
    pub ours_ns: Vec<u64>,
    /// The runtime's histogram: where a bucket begins, ns, and how many it has.
    pub runtime: Vec<(u64, u64)>,
}

impl Stops {
    /// The buckets of ours and of the runtime's, in order.
    fn buckets(&self) -> (Vec<i64>, Vec<i64>) {
        let mut ours: Vec<i64> = self.ours_ns.iter().map(|ns| bucket(*ns)).collect();
        let many = |(from_ns, count): &(u64, u64)| {
            std::iter::repeat_n(bucket(*from_ns), usize::try_from(*count).unwrap_or(0))
        };
        let mut theirs: Vec<i64> = self.runtime.iter().flat_map(many).collect();
        ours.sort_unstable();
        theirs.sort_unstable();
        (ours, theirs)
    }
}

/// Those of the newest version that there is.
///
/// # Errors
/// As the test.
pub fn newest(settings: &Settings) -> Result<(String, Stops)> {
    let table = Table::read()?;
    let version = table.versions.last().context("no Go version")?;
    let built = programs(settings)?.get(Program::Failures, version, None)?;
    let stops = run(settings, &built)?.context("the runtime has no such histogram")?;
    Ok((version.clone(), stops))
}

/// Number of the runtime's bucket that a duration lies in (`timeHistogram.record`).
pub fn bucket(ns: u64) -> i64 {
    let bits = u64::BITS - ns.leading_zeros();
    let (power, shift) = if bits < MIN_BITS {
        (0, MIN_BITS - 1 - SUB_BITS)
    } else {
        (bits - MIN_BITS + 1, bits - 1 - SUB_BITS)
    };
    let sub = (ns >> shift) & ((1 << SUB_BITS) - 1);
    i64::from(power) * (1 << SUB_BITS) + sub as i64
}

/// With the runtime's own measure: the k-th longest of ours lies in the bucket of its k-th
/// longest, or next to it. Go 1.22 does not hand its times over (1.23 and later do), so there
/// ours include what the probes cost: their number is compared, how far they are off is noted.
fn stops(settings: &Settings, report: &mut Report) -> Result<()> {
    let table = Table::read()?;
    let mut programs = programs(settings)?;
    let mut compared = 0;
    let newest = table.versions.last();
    for version in &table.versions {
        if !settings.full && Some(version) != newest {
            continue;
        }
        let built = programs.get(Program::Failures, version, None)?;
        let Some(stops) = run(settings, &built).with_context(|| format!("go{version}"))? else {
            report.note(format!("go{version} has no such histogram"));
            continue;
        };
        let (ours, theirs) = stops.buckets();
        compared += 1;
        let off: Vec<i64> = ours.iter().zip(&theirs).map(|(a, b)| a - b).collect();
        let at = |by: i64| off.iter().filter(|off| **off == by).count();
        report.note(format!(
            "go{version}: {} stops, the runtime counts {}; buckets apart: 0 for {}, +1 for {}, \
             -1 for {}, {} to {} at most",
            ours.len(),
            theirs.len(),
            at(0),
            at(1),
            at(-1),
            off.iter().min().unwrap_or(&0),
            off.iter().max().unwrap_or(&0),
        ));
        ensure!(ours.len() >= 100, "only {} stops", ours.len());
        ensure!(
            ours.len() == theirs.len(),
            "go{version}: {} stops, the runtime counts {}",
            ours.len(),
            theirs.len()
        );
        ensure!(
            version.starts_with("1.22.") || off.iter().all(|off| off.abs() <= 1),
            "go{version}: more than one bucket apart: {off:?}"
        );
    }
    ensure!(compared > 0, "no version has such a histogram");
    Ok(())
}

/// Our stops and the runtime's; none where it has no histogram of them.
fn run(settings: &Settings, built: &Built) -> Result<Option<Stops>> {
    let group = Group::new(&settings.hierarchy()?, None)?;
    let words = ["stops", "wait=1", "seconds=30", "count=50"].map(str::to_owned);
    let mut program = built.start(&words, &Setting::default(), &group)?;
    let pid = program.pid().to_string();
    let gohang = spawn(settings, &["-p", &pid])?;
    program.go()?;
    let mut runtime = Vec::new();
    loop {
        let line = program.expect("")?;
        let words: Vec<&str> = line.split_whitespace().collect();
        match words[..] {
            ["bucket", name, from, _, count] if name.starts_with(STOPPING) => {
                let from_ns: f64 = from.parse::<f64>().context("a bucket's begin")? * 1e9;
                let count: u64 = count.parse().context("a bucket's count")?;
                runtime.push((from_ns.round().max(0.0) as u64, count));
            }
            ["bucket", ..] => {}
            ["end"] => break,
            _ => anyhow::bail!("the program said {line:?}"),
        }
    }
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    program.wait()?;
    if runtime.iter().all(|(_, count)| *count == 0) {
        return Ok(None);
    }
    let mut ours_ns = Vec::new();
    for stop in &stream.stops {
        let at = |name: &str| {
            stop[name]
                .as_u64()
                .with_context(|| format!("no {name}: {stop}"))
        };
        let ns = at("stopped_ns")?.checked_sub(at("begin_ns")?);
        ours_ns.push(ns.with_context(|| format!("ends before it begins: {stop}"))?);
    }
    Ok(Some(Stops { ours_ns, runtime }))
}

#[cfg(test)]
mod unit_tests {
    use super::bucket;

    #[test]
    fn buckets_are_the_runtimes() {
        // Four up to 256, and then four to each power of two.
        let begins = [
            0, 64, 128, 192, 256, 320, 384, 448, 512, 640, 768, 896, 1024, 1280,
        ];
        for (number, begin) in begins.into_iter().enumerate() {
            assert_eq!(bucket(begin), number as i64, "{begin}");
            if begin > 0 {
                assert_eq!(bucket(begin - 1), number as i64 - 1, "{begin} - 1");
            }
        }
    }
}
