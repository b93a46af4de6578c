//! The causes that the program names against injected ones.
//!
//! Five targets, each delayed in one way, are signalled one after the other by an injector that
//! knows the cause (see `injector`) and has written it down before the program's output is read.
//! Every injected episode must be in the output, and no other. The labels swapped, two at a
//! time, must be refused by the same check.
//!
//! The notes are made to be read by programs: `causes `, what it is, and `key=value` words,
//! in which values have no spaces.
//!
//! - `causes run kernel=RELEASE precision=STEP injections=N pace=N period_us=N judged=yes|no`:
//!   the step of throttling as in the `end` document; how many times longer than on a fast
//!   machine all times were, and the quota's period for that; only the exact steps are judged,
//!   the matrix is there in any case;
//! - `causes match labels=N matched=N missing=N surplus=N`;
//! - five times, a row of the matrix: `causes row label=CAUSE throttled=N masked=N blocked=N
//!   runqueue=N running=N none=N uncertain=N`, how often which cause was named for the label,
//!   and how many injections did not count because their cause is not certain;
//! - five times `causes score cause=CAUSE precision=PERCENT recall=PERCENT`, with two decimals,
//!   or `-` of nothing;
//! - `causes swapped pairs=N refused=N`.

use std::collections::BTreeMap;
use std::fs::File;
use std::sync::atomic::Ordering;

use anyhow::{Context, Result, ensure};
use tempfile::TempDir;

use crate::actor::{self, Actor, Target, pause_ms};
use crate::confusion::{self, Matrix};
use crate::group::Group;
use crate::label::{Cause, Label};
use crate::page::Page;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::stream::{self, Line, Stream};
use crate::sys;

/// The precisions that are exact.
const EXACT: [&str; 2] = ["thread-exact", "cfs-rq-overlay"];

/// The quota and the period of the throttled target at pace 1, us. With a period this short, a
/// spell out of quota ends before anybody else is likely to want the CPU.
const QUOTA_US: (u64, u64) = (3_000, 10_000);

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let test = |name, body| Test { name, body };
    vec![
        test("causes::confusion", confusion),
        test("causes::without_queue_hooks", without_queue_hooks),
    ]
}

/// A target and what it is told through.
struct Scene {
    cause: Cause,
    page: &'static Page,
    path: String,
    cpu: usize,
    target: Target,
    /// Declared behind the target: dropped once that has ended.
    group: Option<Group>,
    _file: File,
}

impl Scene {
    fn set(settings: &Settings, cause: Cause, cpu: usize) -> Result<Self> {
        let (page, file, path) = Page::create()?;
        let group = match cause {
            Cause::Throttled => Some(Group::new(&settings.hierarchy()?, None)?),
            _ => None,
        };
        if let Some(group) = &group {
            group.favour()?;
        }
        let how = match cause {
            Cause::Throttled | Cause::RunQueue => "spin",
            other => other.name(),
        };
        let first = u8::from(how != "spin");
        let options = [
            format!("how={how}"),
            format!("page={path}"),
            format!("cpu={cpu}"),
            format!("first={first}"),
        ];
        let options: Vec<&str> = options.iter().map(String::as_str).collect();
        let target = Target::start("cause", &options, group.as_ref())?;
        Ok(Self {
            cause,
            page,
            path,
            cpu,
            target,
            group,
            _file: file,
        })
    }

    /// Injects, and reads the labels.
    fn play(&mut self, count: u64, pace: u64, folder: &TempDir) -> Result<Vec<Label>> {
        self.page.pace.store(pace, Ordering::Release);
        if let Some(group) = &self.group {
            group.limit((QUOTA_US.0 * pace, QUOTA_US.1 * pace))?;
        }
        self.target.actor.go()?;
        self.target.actor.expect("ready")?;
        let workers = actor::workers(self.target.pid)?;
        ensure!(workers.len() == 1, "{} workers", workers.len());
        let out = folder.path().join(self.cause.name());
        let words = [
            format!("cause={}", self.cause),
            format!("page={}", self.path),
            format!("pid={}", self.target.pid),
            format!("tid={}", workers[0]),
            format!("cpu={}", self.cpu),
            format!("count={count}"),
            format!("out={}", out.display()),
        ];
        let mut injector = Actor::mode("__injector", &words, None)?;
        let injected = injector.expect_number("injected");
        self.page.stop.store(1, Ordering::Release);
        let injected = injected.with_context(|| format!("the injector of {}", self.cause))?;
        injector.wait()?;
        let text = std::fs::read_to_string(&out)?;
        let labels = text
            .lines()
            .map(str::parse)
            .collect::<Result<Vec<Label>>>()?;
        let certain = labels.iter().filter(|l| l.certain).count() as u64;
        ensure!(
            certain == injected && injected >= count,
            "{certain} certain labels of {}, {injected} told",
            self.cause
        );
        Ok(labels)
    }
}

/// With the most exact step.
fn confusion(settings: &Settings, report: &mut Report) -> Result<()> {
    inject(settings, settings.injections, &[], report)
}

/// With the step that takes the throttled time from the tasks alone, half as often.
fn without_queue_hooks(settings: &Settings, report: &mut Report) -> Result<()> {
    if !sys::parks_threads()? {
        return Err(skip("this kernel does not park threads one by one"));
    }
    inject(
        settings,
        settings.injections / 2,
        &["--no-queue-hooks"],
        report,
    )
}

fn inject(settings: &Settings, injections: u64, words: &[&str], report: &mut Report) -> Result<()> {
    let cpus = sys::online_cpus()?;
    let cpu = usize::try_from(*cpus.last().context("no CPU is online")?)?;
    let scenes = Cause::ALL.map(|cause| Scene::set(settings, cause, cpu));
    let mut scenes = scenes.into_iter().collect::<Result<Vec<Scene>>>()?;
    let pids: Vec<String> = scenes.iter().map(|s| s.target.pid.to_string()).collect();
    let pids = pids.join(",");
    let mut args = vec!["trace", "-o", "jsonl", "--events", "--non-go", "-p", &pids];
    args.extend(words);
    let args: Vec<String> = args.into_iter().map(str::to_owned).collect();
    let mut gohang = Gohang::spawn(settings.gohang()?, &args)?;
    gohang.wait_ready()?;

    // Now, as tracing is part of what the machine has to do.
    let words = [format!("cpu={cpu}"), "measure=1".to_owned()];
    let pace = Actor::mode("__injector", &words, None)?.expect_number("pace")?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    let mut labels = Vec::new();
    for scene in &mut scenes {
        labels.extend(scene.play(injections, pace, &folder)?);
    }
    pause_ms(300);
    let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
    drop(scenes);
    judge((injections, pace), &labels, &stream, report)
}

fn judge(
    (injections, pace): (u64, u64),
    labels: &[Label],
    stream: &Stream,
    report: &mut Report,
) -> Result<()> {
    let word = |name: &str| {
        let word = stream.end[name].as_str();
        word.with_context(|| format!("no {name} in the end document"))
    };
    let (kernel, step) = (word("kernel")?, word("precision")?);
    let exact = EXACT.contains(&step);
    report.note(format!(
        "causes run kernel={kernel} precision={step} injections={injections} pace={pace} \
         period_us={} judged={}",
        QUOTA_US.1 * pace,
        if exact { "yes" } else { "no" }
    ));
    let lines = &stream.lines;
    let matching = confusion::pair(labels, lines);
    report.note(format!(
        "causes match labels={} matched={} missing={} surplus={}",
        labels.len(),
        matching.pairs.len(),
        matching.missing.len(),
        matching.surplus.len()
    ));
    let certain = matching.pairs.iter().filter(|(n, _)| labels[*n].certain);
    let pairs: Vec<(&Label, &Line)> = certain.map(|(n, i)| (&labels[*n], &lines[*i])).collect();
    let named = pairs.iter().map(|(l, e)| (l.cause, e.cause.as_deref()));
    let matrix = Matrix::of(named);
    note_matrix(&matrix, labels, report);
    note_odd(&pairs, report);
    report.note(stream::check_loss(&stream.end)?);
    for line in lines {
        line.check()
            .map_err(|why| anyhow::anyhow!("{why}: {line:?}"))?;
        ensure!(
            line.coalesced == 0,
            "one signal at a time was sent, yet {line:?}"
        );
    }
    ensure!(
        matching.missing.is_empty() && matching.surplus.is_empty(),
        "missing e.g. {:?}, surplus e.g. {:?}",
        matching.missing.first().map(|n| labels[*n]),
        matching.surplus.first().map(|i| &lines[*i])
    );
    matrix.check_counts(injections)?;
    if exact {
        matrix.check()?;
        check_swapped(&pairs, report)?;
    }
    Ok(())
}

fn note_matrix(matrix: &Matrix, labels: &[Label], report: &mut Report) {
    for label in Cause::ALL {
        let count = |c: Cause| format!("{c}={}", matrix.count(label, Some(c)));
        let uncertain = labels.iter().filter(|l| l.cause == label && !l.certain);
        report.note(format!(
            "causes row label={label} {} none={} uncertain={}",
            Cause::ALL.map(count).join(" "),
            matrix.count(label, None),
            uncertain.count()
        ));
    }
    let percent = |(right, of): (u64, u64)| match of {
        0 => "-".to_owned(),
        _ => format!("{:.2}", right as f64 / of as f64 * 100.0),
    };
    for cause in Cause::ALL {
        report.note(format!(
            "causes score cause={cause} precision={} recall={}",
            percent(matrix.precision(cause)),
            percent(matrix.recall(cause))
        ));
    }
}

/// For each wrong combination, one episode.
fn note_odd(pairs: &[(&Label, &Line)], report: &mut Report) {
    let mut odd: BTreeMap<(Cause, Option<&str>), (&Label, &Line)> = BTreeMap::new();
    for (label, line) in pairs {
        let named = line.cause.as_deref();
        if named != Some(label.cause.name()) {
            odd.entry((label.cause, named)).or_insert((label, line));
        }
    }
    for (label, line) in odd.values() {
        report.note(format!("injected {label}, but {line:?}"));
    }
}

/// The same run with two labels swapped, any two, must not pass.
fn check_swapped(pairs: &[(&Label, &Line)], report: &mut Report) -> Result<()> {
    let (mut swaps, mut refused) = (0, 0);
    for (i, a) in Cause::ALL.into_iter().enumerate() {
        for b in Cause::ALL.into_iter().skip(i + 1) {
            let named = pairs.iter().map(|(label, line)| {
                let cause = confusion::swapped(label.cause, (a, b));
                (cause, line.cause.as_deref())
            });
            swaps += 1;
            refused += u32::from(Matrix::of(named).check().is_err());
        }
    }
    report.note(format!("causes swapped pairs={swaps} refused={refused}"));
    ensure!(
        refused == swaps,
        "{} runs with two labels swapped passed",
        swaps - refused
    );
    Ok(())
}
