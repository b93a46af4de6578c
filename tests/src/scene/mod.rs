//! Scenes in groups with a quota, played one after the other under one trace: gohang's start
//! takes longer than a scene, above all in an emulated machine.
//!
//! What is noted is made to be read by programs, as `throttle `, what it is, and `key=value`
//! words, in which values have no spaces.

mod real_time;
mod sleeper;
mod steady;

use anyhow::{Context, Result};

pub use real_time::RealTime;
pub use sleeper::Sleeper;
pub use steady::{Plan, Steady};

use crate::product::Gohang;
use crate::run::{Report, Settings};
use crate::stream::Stream;

/// The quota's period, us: the shorter, the sooner enough of them have passed.
pub const PERIOD_US: u64 = 20_000;

/// A longer one, us, for scenes in which little of a short one would be left to measure.
pub const LONG_PERIOD_US: u64 = 2 * PERIOD_US;

/// For how long a scene's group has a quota, ms: enough for 50 periods and some more.
pub const WORK_MS: u64 = work_ms(PERIOD_US);

/// The same for another period.
pub const fn work_ms(period_us: u64) -> u64 {
    60 * period_us / 1_000
}

/// Something that happens to a group with a quota, and what the kernel's own count of it is.
pub trait Scene {
    /// What it is about, without spaces.
    fn name(&self) -> &str;

    /// The processes to trace.
    fn pids(&self) -> &[i32];

    /// Lets it happen.
    ///
    /// # Errors
    /// When a process fails or a group cannot be changed.
    fn play(&mut self) -> Result<()>;

    /// Holds what gohang said against what happened.
    ///
    /// # Errors
    /// What does not agree.
    fn judge(&self, stream: &Stream, report: &mut Report) -> Result<()>;
}

/// Plays the scenes while each of `tracers` traces their processes with these words, and
/// returns what each said.
///
/// # Errors
/// When a scene cannot be played or a tracer fails.
pub fn play(
    settings: &Settings,
    scenes: &mut [Box<dyn Scene>],
    tracers: &[&[&str]],
) -> Result<Vec<Stream>> {
    let pids: Vec<String> = scenes
        .iter()
        .flat_map(|scene| scene.pids())
        .map(i32::to_string)
        .collect();
    let pids = pids.join(",");
    let path = settings.gohang()?;
    let start = |words: &&[&str]| {
        let mut args = vec!["trace", "-o", "jsonl", "--events", "--non-go", "-p", &pids];
        args.extend(*words);
        let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
        let mut gohang = Gohang::spawn(path, &args)?;
        gohang.wait_ready()?;
        Ok(gohang)
    };
    let tracing = tracers.iter().map(start).collect::<Result<Vec<Gohang>>>()?;
    for scene in scenes {
        let played = scene.play();
        played.with_context(|| scene.name().to_owned())?;
    }
    tracing
        .into_iter()
        .map(|gohang| Stream::parse(&gohang.interrupt()?.stdout))
        .collect()
}

/// Judges all scenes, whatever becomes of the first.
///
/// # Errors
/// All that does not agree.
pub fn judge(scenes: &[Box<dyn Scene>], stream: &Stream, report: &mut Report) -> Result<()> {
    let mut wrong = Vec::new();
    for scene in scenes {
        if let Err(error) = scene.judge(stream, report) {
            wrong.push(format!("{}: {error:#}", scene.name()));
        }
    }
    anyhow::ensure!(wrong.is_empty(), "{}", wrong.join("; "));
    Ok(())
}

/// Notes how far what gohang measured of a scene is from the truth, in percent of that, which
/// may be 1 at most.
fn within_one_percent(
    (scene, measure): (&str, &str),
    ours_ns: u64,
    truth_ns: u64,
    report: &mut Report,
) -> Result<()> {
    let off = (ours_ns as f64 - truth_ns as f64) / truth_ns as f64 * 100.0;
    report.note(format!(
        "throttle {measure} scene={scene} ours_ns={ours_ns} truth_ns={truth_ns} \
         off_percent={off:+.3}"
    ));
    anyhow::ensure!(off.abs() <= 1.0, "{measure} is off by {off:.3} %");
    Ok(())
}
