//! The preemption chain: every step of requests to yield, their counts, and the goroutines
//! that they are about.

use std::collections::BTreeSet;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::chain_life::spawn;
use crate::actor::{Actor, pause_ms};
use crate::go::Workload;
use crate::reference::Recorder;
use crate::reference::record::What;
use crate::run::{Report, Settings, Test};
use crate::stream::{Stream, number};
use crate::sys;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "chain::steps",
            body: steps,
        },
        Test {
            name: "chain::counts",
            body: counts,
        },
    ]
}

/// At least so many requests with every step of each program.
const WHOLE: usize = 5;

/// The steps of a request in their order, and whether every chain that yielded because of a
/// signal has them.
const STEPS: [&str; 6] = [
    "first_ns",
    "requested_ns",
    "sent_ns",
    "delivered_ns",
    "yielded_ns",
    "resumed_ns",
];

/// A program that spins, and the numbers of its goroutines that do.
struct Spinner {
    actor: Actor,
    goroutines: BTreeSet<u64>,
}

impl Spinner {
    fn start(workload: &Workload) -> Result<Self> {
        let mut actor = workload.start(&["spin", "120"], None)?;
        let mut goroutines = BTreeSet::new();
        for _ in 0..4 {
            goroutines.insert(actor.expect_number("spinner")?);
        }
        actor.expect("ready")?;
        Ok(Self { actor, goroutines })
    }

    fn pid(&self) -> Result<u32> {
        Ok(u32::try_from(self.actor.pid())?)
    }
}

/// Traces processes for so long.
fn trace(settings: &Settings, pids: &[u32], ms: u64) -> Result<Stream> {
    let pids: Vec<String> = pids.iter().map(u32::to_string).collect();
    let gohang = spawn(settings, &["-p", &pids.join(",")])?;
    pause_ms(ms);
    Stream::parse(&gohang.interrupt()?.stdout)
}

/// The hooks of a report that are probes in Go programs, by state.
pub fn uprobes(end: &Value, state: &str) -> Vec<String> {
    let hooks = end["probe_set"].as_array().into_iter().flatten();
    hooks
        .filter(|hook| hook["state"] == state)
        .filter_map(|hook| hook["hook"].as_str()?.strip_prefix("uprobe:"))
        .map(str::to_owned)
        .collect()
}

/// Points that programs of every version have.
const OF_ALL: usize = 10;

/// Those that only some versions have: where goroutines that were asked to yield do, and, up to
/// Go 1.22, the end of stopping the world, of which the runtime says itself later.
fn points_of(version: &str) -> Vec<&'static str> {
    let minor = version.split('.').nth(1);
    let mut points = match minor {
        Some("21") => vec!["gopreempt_m"],
        Some("22" | "23" | "24" | "25") => vec!["newstack", "gopreempt_m"],
        _ => vec!["newstack", "asyncPreempt2"],
    };
    if matches!(minor, Some("21" | "22")) {
        points.push("stopped");
    }
    points
}

/// In programs of every version and form, requests are followed from sysmon's to the
/// goroutine's running again, in order, and name the goroutine and its function.
fn steps(settings: &Settings, report: &mut Report) -> Result<()> {
    let workloads = Workload::every(settings)?;
    // A few at a time: sysmon of each is to get a CPU now and then.
    for some in workloads.chunks(4) {
        let spinners = some
            .iter()
            .map(Spinner::start)
            .collect::<Result<Vec<_>>>()?;
        let pids = spinners
            .iter()
            .map(Spinner::pid)
            .collect::<Result<Vec<_>>>()?;
        let stream = trace(settings, &pids, if settings.full { 4_000 } else { 2_000 })?;
        let attached = uprobes(&stream.end, "attached");
        let own: BTreeSet<&str> = some
            .iter()
            .flat_map(|workload| points_of(workload.version))
            .collect();
        let wanted = OF_ALL + own.len();
        ensure!(
            attached.len() == wanted,
            "attached: {attached:?} of {}",
            stream.end["probe_set"]
        );
        for (workload, spinner) in some.iter().zip(&spinners) {
            let pid = spinner.pid()?;
            let requests = stream.requests.iter().filter(|line| line["pid"] == pid);
            let requests: Vec<&Value> = requests.collect();
            whole(workload, spinner, &requests, report)
                .with_context(|| format!("{workload}, {} requests", requests.len()))?;
        }
    }
    Ok(())
}

fn whole(
    workload: &Workload,
    spinner: &Spinner,
    requests: &[&Value],
    report: &mut Report,
) -> Result<()> {
    let mut all = 0;
    for line in requests {
        // The signal of a carried one is older than the request.
        let carried = line["carried"] == true;
        let times: Vec<u64> = STEPS
            .iter()
            .filter(|step| !(carried && **step == "sent_ns"))
            .filter_map(|step| line[*step].as_u64())
            .collect();
        ensure!(times.is_sorted(), "steps out of order: {line}");
        ensure!(
            line["end_ns"].as_u64() >= times.last().copied(),
            "ends before its last step: {line}"
        );
        if line["end"] != "yielded_async" || line["function"] != "main.spin" {
            continue;
        }
        let goid = line["goid"].as_u64().context("no goroutine")?;
        ensure!(
            spinner.goroutines.contains(&goid),
            "goroutine {goid} is none of {:?}: {line}",
            spinner.goroutines
        );
        ensure!(line["safe_point"] == "safe", "not at a safe point: {line}");
        let retake = line["asker"] == "retake" && line["late_ns"].is_u64();
        if retake && times.len() + usize::from(carried) == STEPS.len() {
            all += 1;
        }
    }
    report.note(format!(
        "{workload}: {all} of {} requests with every step",
        requests.len()
    ));
    ensure!(all >= WHOLE, "only {all} requests with every step");
    Ok(())
}

/// All of them in the long form; else the first, of the oldest version, and the last, of the
/// newest.
fn ends<T>(settings: &Settings, mut all: Vec<T>) -> Vec<T> {
    if !settings.full && all.len() > 2 {
        all.drain(1..all.len() - 1);
    }
    all
}

/// What is counted of one process: all that the runtime was asked, sent and handled has a
/// name, and the kernel saw the same signals.
fn counts(settings: &Settings, report: &mut Report) -> Result<()> {
    for workload in ends(settings, Workload::all(settings)?) {
        for kind in ["spin", "gc"] {
            let mut actor = workload.start(&[kind, "120"], None)?;
            actor.expect("ready")?;
            count(settings, report, &workload, kind, &actor)
                .with_context(|| format!("{workload}, {kind}"))?;
        }
    }
    Ok(())
}

fn count(
    settings: &Settings,
    report: &mut Report,
    workload: &Workload,
    kind: &str,
    actor: &Actor,
) -> Result<()> {
    let pid = u32::try_from(actor.pid())?;
    let recorder = Recorder::start()?;
    let from_ns = sys::mono_ns();
    let stream = trace(settings, &[pid], if settings.full { 6_000 } else { 3_000 })?;
    let recording = recorder.stop()?;
    recording.check_whole()?;
    let start = number(&stream.end, "/clock/start/mono_ns")?;
    let end = number(&stream.end, "/clock/end/mono_ns")?;
    ensure!(
        from_ns <= start && start < end,
        "a window of {start} to {end}"
    );
    let seen = recording
        .events
        .iter()
        .filter(|event| event.pid == pid && (start..=end).contains(&event.time_ns));
    let (mut sends, mut deliveries) = (0_u64, 0_u64);
    for event in seen {
        match event.what {
            What::Generate { .. } => sends += 1,
            What::Deliver { .. } => deliveries += 1,
            _ => {}
        }
    }
    let process = stream.process(pid)?;
    let chain = |name: &str| number(process, &format!("/chain/{name}"));
    let hit = |name: &str| number(process, &format!("/chain/counts/{name}"));
    let [asked, sent] = [hit("preemptone")?, hit("signal_m")?];
    let handled = hit("do_sig_preempt")?;
    let lost = number(&stream.end, "/loss/chain_lost")?;
    let (requests, idle) = (chain("requests")?, hit("not_running")?);
    let suspends = number(process, "/chain/askers/suspend")?;
    // Those of suspendG are asked by their signal alone.
    let open = |name: &str| chain(&format!("open/{name}"));
    let unexplained_asked = (asked + suspends).abs_diff(requests + idle + open("requests")?);
    let named = chain("sent")? + open("sent")?;
    let named = named + hit("sent_again")? + hit("sent_late")? + hit("sent_unasked")?;
    let unexplained_sent = sent.abs_diff(named);
    let named = chain("delivered")? + open("delivered")?;
    let named = named + hit("delivered_again")? + hit("late")? + hit("unasked")?;
    let unexplained_handled = handled.abs_diff(named);
    let unsent = chain("unexplained_sends")?;
    let unyielded = chain("unexplained_yields")?;
    report.note(format!(
        "{workload} {kind}: {asked} asked ({idle} of nobody, {unexplained_asked} unexplained), \
         {sent} sent ({unexplained_sent}), {handled} handled ({unexplained_handled}); not sent \
         for no known reason {unsent}, not yielded {unyielded}; lost {lost}; the kernel saw \
         {sends} and {deliveries}; ends {}; open {}",
        process["chain"]["ends"], process["chain"]["open"]
    ));
    // Where the end of the window meets a function, what it counts and what it writes
    // down can differ by one a CPU.
    let edge = sys::online_cpus()?.len() as u64;
    let small = |unexplained: u64, of: u64| unexplained <= (of / 100).max(edge);
    ensure!(lost == 0, "{lost} records lost");
    ensure!(
        sent >= 50 && handled >= 50,
        "only {sent} sent, {handled} handled"
    );
    ensure!(
        small(unexplained_asked, asked),
        "{unexplained_asked} requests unexplained"
    );
    ensure!(
        small(unexplained_sent, sent),
        "{unexplained_sent} sends unexplained"
    );
    ensure!(
        small(unexplained_handled, handled),
        "{unexplained_handled} deliveries unexplained"
    );
    ensure!(
        small(unsent, requests),
        "{unsent} requests without a send unexplained"
    );
    ensure!(
        small(unyielded, handled),
        "{unyielded} deliveries without a yield unexplained"
    );
    // At both edges of the window the two may see one signal a thread more or less.
    ensure!(
        sends.abs_diff(sent) <= 2 * edge && deliveries.abs_diff(handled) <= 2 * edge,
        "the kernel saw {sends} sends and {deliveries} deliveries, the runtime {sent} and {handled}"
    );
    Ok(())
}
