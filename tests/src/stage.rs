//! One scene of the agreement tests: two copies of the reference and, between them in time,
//! the program under test, all of them watching the same targets.

use std::collections::HashSet;

use anyhow::{Context, Result, ensure};

use crate::actor::{Actor, Target, pause_ms};
use crate::compare::{self, Comparison, Quantiles};
use crate::product::Gohang;
use crate::reference::{self, Episode, Pairing, Recorder, Recording};
use crate::run::{Report, Settings};
use crate::stream::{self, Stream};
use crate::sys;

/// An episode of at least this is a long one.
const LONG_NS: u64 = 20_000_000;

/// What the scenes of the agreement tests add up to.
#[derive(Debug, Default)]
pub struct Totals {
    /// Matched, delivered episodes.
    pub episodes: u64,
    /// Those among them above 20 ms.
    pub long: u64,
    /// Scenes counted.
    pub scenes: u64,
    /// Differences in latency: ours to copy A, ours to copy B, A to B.
    pub differences: [Vec<u64>; 3],
}

/// The scene.
pub struct Stage<'a> {
    settings: &'a Settings,
    a: Recorder,
    b: Recorder,
    gohang: Option<Gohang>,
    from_ns: u64,
    pids: HashSet<u32>,
}

/// What the scene gave.
pub struct Scene {
    /// The reference's pairing (copy A), of the scene's processes only.
    pub reference: Vec<Episode>,
    /// Ours, if a program was given.
    pub stream: Option<Stream>,
}

impl<'a> Stage<'a> {
    /// Starts the two recorders; the targets come next.
    ///
    /// # Errors
    /// When perf refuses.
    pub fn set(settings: &'a Settings) -> Result<Self> {
        let a = Recorder::start().context("copy A of the reference")?;
        let b = Recorder::start().context("copy B of the reference")?;
        Ok(Self {
            settings,
            a,
            b,
            gohang: None,
            from_ns: 0,
            pids: HashSet::new(),
        })
    }

    /// Starts the program under test on these targets and waits until it traces.
    ///
    /// # Errors
    /// When it does not.
    pub fn trace(&mut self, targets: &[&Target]) -> Result<()> {
        let pids: Vec<String> = targets.iter().map(|t| t.pid.to_string()).collect();
        for target in targets {
            self.count(target.pid);
        }
        self.trace_with(&["-p", &pids.join(","), "--non-go"])
    }

    /// Starts the program under test with this selection and waits until it traces.
    ///
    /// # Errors
    /// When it does not.
    pub fn trace_with(&mut self, selection: &[&str]) -> Result<()> {
        if let Some(path) = &self.settings.gohang {
            let mut args = vec!["trace", "-o", "jsonl", "--events"];
            args.extend(selection);
            let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
            let mut gohang = Gohang::spawn(path, &args)?;
            gohang.wait_ready()?;
            self.gohang = Some(gohang);
        }
        self.from_ns = sys::mono_ns();
        Ok(())
    }

    /// Adds a process whose episodes are compared.
    pub fn count(&mut self, pid: i32) {
        self.pids.extend(u32::try_from(pid));
    }

    /// Has copy A count the deliveries to this process as they come.
    pub fn watch(&self, pid: i32) {
        self.a.watch(u32::try_from(pid).unwrap_or(0));
    }

    /// How many deliveries to the watched process copy A has recorded so far.
    pub fn deliveries(&self) -> u64 {
        self.a.deliveries()
    }

    /// Ends it: waits until nothing is pending any more (`settle_ms`), ends the program and
    /// the recorders, and compares. The targets must still be alive, or have ended as part of
    /// the scene.
    ///
    /// # Errors
    /// When anything is missing, extra, different or inconsistent, or the reference itself has
    /// lost something.
    pub fn end(self, settle_ms: u64, report: &mut Report) -> Result<Scene> {
        pause_ms(settle_ms);
        let to_ns = sys::mono_ns();
        let finished = self.gohang.map(Gohang::interrupt).transpose()?;
        let b = self.b.stop()?;
        let a = self.a.stop()?;
        let mine = |r: &Recording| scene_episodes(r, &self.pids, self.from_ns);
        let ((a, a_notes), (b, b_notes)) = (mine(&a)?, mine(&b)?);
        report.note(format!("copy A: {a_notes}; copy B: {b_notes}"));
        let window = (self.from_ns, to_ns);
        let control = compare::compare(&a, &b, window);
        let ab = compare::differences(&a, &b, &control.matched);
        report.note(format!(
            "A to B: {}; {}",
            summary(&control),
            Quantiles::of(&ab)
        ));
        judge(&control).context("copy A against copy B")?;
        let Some(finished) = finished else {
            report.note("control only: no gohang given".to_owned());
            return Ok(Scene {
                reference: a,
                stream: None,
            });
        };
        let stream = Stream::parse(&finished.stdout)?;
        let ours = our_episodes(&stream, &self.pids)?;
        let to_a = compare::compare(&ours, &a, window);
        let to_b = compare::compare(&ours, &b, window);
        let (oa, ob) = (
            compare::differences(&ours, &a, &to_a.matched),
            compare::differences(&ours, &b, &to_b.matched),
        );
        report.note(format!(
            "ours to A: {}; {}",
            summary(&to_a),
            Quantiles::of(&oa)
        ));
        report.note(format!(
            "ours to B: {}; {}",
            summary(&to_b),
            Quantiles::of(&ob)
        ));
        report.note(stream::check_loss(&stream.end)?);
        judge(&to_a).context("gohang against copy A")?;
        judge(&to_b).context("gohang against copy B")?;
        let together = |d| Quantiles::of(d).is_together();
        ensure!(
            together(&oa) || together(&ob),
            "latencies more than 1 ms off in both copies"
        );
        let mut totals = self.settings.totals.borrow_mut();
        totals.scenes += 1;
        totals.episodes += to_a.matched.len() as u64;
        let long = |(_, j): &&(usize, usize)| a[*j].latency_ns() >= Some(LONG_NS);
        totals.long += to_a.matched.iter().filter(long).count() as u64;
        for (all, new) in totals.differences.iter_mut().zip([oa, ob, ab]) {
            all.extend(new);
        }
        drop(totals);
        Ok(Scene {
            reference: a,
            stream: Some(stream),
        })
    }
}

/// A recording's episodes of some processes; an error when it is not whole.
fn scene_episodes(
    recording: &Recording,
    pids: &HashSet<u32>,
    from_ns: u64,
) -> Result<(Vec<Episode>, String)> {
    recording.check_whole()?;
    let Pairing {
        mut episodes,
        orphans,
        to_exiting,
        unresolved,
        begun_before,
    } = reference::pair::pair(&recording.events, &recording.threads, recording.to_ns);
    let orphans = orphans
        .iter()
        .filter(|(pid, _, ns)| pids.contains(pid) && *ns >= from_ns)
        .count();
    ensure!(
        orphans == 0,
        "{orphans} deliveries without a send: the pairing does not hold"
    );
    episodes.retain(|e| pids.contains(&e.pid));
    let notes = format!(
        "{} events, {} episodes, lost 0 (sends to the exiting {to_exiting}, by unknown threads \
         {unresolved}, begun before {begun_before})",
        recording.events.len(),
        episodes.len(),
    );
    Ok((episodes, notes))
}

/// Our lines, each checked by itself, as episodes of the scene's processes.
fn our_episodes(stream: &Stream, pids: &HashSet<u32>) -> Result<Vec<Episode>> {
    let mut wrong = 0;
    let mut first = None;
    let mut episodes = Vec::new();
    for line in &stream.lines {
        if let Err(why) = line.check() {
            wrong += 1;
            first.get_or_insert(format!("{why}: {line:?}"));
        }
        if pids.contains(&line.pid) {
            episodes.push(line.episode()?);
        }
    }
    ensure!(
        wrong == 0,
        "{wrong} of {} episodes do not add up, the first: {}",
        stream.lines.len(),
        first.unwrap_or_default()
    );
    Ok(episodes)
}

fn summary(c: &Comparison) -> String {
    format!(
        "matched {} delivered and {} not, missing {}, extra {}, differing {}, outside the \
         window {} and {}",
        c.matched.len(),
        c.matched_undelivered,
        c.missing.len(),
        c.extra.len(),
        c.differing.len(),
        c.outside.0,
        c.outside.1
    )
}

fn judge(c: &Comparison) -> Result<()> {
    ensure!(
        c.missing.is_empty() && c.extra.is_empty() && c.differing.is_empty(),
        "{}; first missing {:?}, extra {:?}, differing {:?}",
        summary(c),
        c.missing.first(),
        c.extra.first(),
        c.differing.first()
    );
    Ok(())
}

/// Waits for senders to end and returns how many signals they sent in all.
///
/// # Errors
/// When one fails.
pub fn wait_senders(senders: Vec<Actor>) -> Result<u64> {
    let mut sent = 0;
    for mut sender in senders {
        sent += sender.expect_number("sent")?;
        sender.wait()?;
    }
    Ok(sent)
}
