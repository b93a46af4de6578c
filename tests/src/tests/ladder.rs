//! The forms of `--throttle-source`: each one that the kernel can do is taken, named, and right;
//! the others are refused, with the reason.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::actor::Target;
use crate::group::Group;
use crate::product::{self, Gohang};
use crate::run::{Report, Settings, Test, skip};
use crate::scene::LIFT_MS;
use crate::{stream, sys};

/// At least so many throttled periods.
const PERIODS: u64 = 50;

/// Quota and period, us: 20 % of a CPU.
const QUOTA: (u64, u64) = (10_000, 50_000);

/// For how long the thread works, ms: enough for so many periods.
const WORK_MS: u64 = 3_000;

/// Longer than any of these runs.
const LIMIT: Duration = Duration::from_secs(60);

/// The hooks on run queues.
const HOOKS: [&str; 2] = ["tg_throttle_down", "tg_unthrottle_up"];

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let test = |name, body| Test { name, body };
    vec![
        test("ladder::thread_exact", |settings, report| {
            form(settings, report, THREAD_EXACT)
        }),
        test("ladder::cfs_rq_overlay", |settings, report| {
            form(settings, report, CFS_RQ_OVERLAY)
        }),
        test("ladder::cfs_rq_overlay_by_kprobes", by_kprobes),
        test("ladder::switch_point_estimate", |settings, report| {
            form(settings, report, SWITCH_POINT_ESTIMATE)
        }),
        test("ladder::without_hooks", without_hooks),
        test("ladder::doctor", doctor),
        test("ladder::words", words),
    ]
}

/// A form.
#[derive(Clone, Copy)]
struct Form {
    /// Its name.
    name: &'static str,
    /// Whether this kernel can do it.
    can: fn() -> Result<bool>,
    /// What the reason names where it cannot.
    reason: &'static str,
    /// Whether its sum is an estimate.
    estimate: bool,
}

const THREAD_EXACT: Form = Form {
    name: "thread-exact",
    can: parks_threads,
    reason: "task_struct.throttled",
    estimate: false,
};
const CFS_RQ_OVERLAY: Form = Form {
    name: "cfs-rq-overlay",
    can: has_queue_hooks,
    reason: "tg_throttle_down",
    estimate: false,
};
const SWITCH_POINT_ESTIMATE: Form = Form {
    name: "switch-point-estimate",
    // Every kernel that CPU quotas can be tested on.
    can: || Ok(true),
    reason: "throttle_count",
    estimate: true,
};
const FORMS: [Form; 3] = [THREAD_EXACT, CFS_RQ_OVERLAY, SWITCH_POINT_ESTIMATE];

/// Whether the kernel throttles by thread: 6.18 and later.
fn parks_threads() -> Result<bool> {
    let release = std::fs::read_to_string("/proc/sys/kernel/osrelease")?;
    let mut numbers = release.split(|c: char| !c.is_ascii_digit());
    let mut number = || -> Result<u32> { Ok(numbers.next().context("no release")?.parse()?) };
    Ok((number()?, number()?) >= (6, 18))
}

/// Whether functions can be hooked. Where fentry can be had on these kernels, so can kprobes,
/// and those show in sysfs.
pub(super) fn has_queue_hooks() -> Result<bool> {
    let symbols = std::fs::read_to_string("/proc/kallsyms")?;
    let has = |function: &&str| {
        let mut names = symbols.lines().filter_map(|line| line.split(' ').nth(2));
        names.any(|name| name == *function)
    };
    Ok(Path::new("/sys/bus/event_source/devices/kprobe").exists() && HOOKS.iter().all(has))
}

/// The most exact form that this kernel can do.
fn best() -> Result<Form> {
    for form in FORMS {
        if (form.can)()? {
            return Ok(form);
        }
    }
    anyhow::bail!("none")
}

/// How many of the hooks on run queues the report says are attached.
fn attached(report: &Value) -> usize {
    let hooks = report["probe_set"].as_array().into_iter().flatten();
    let ours = hooks.filter(|hook| {
        let name = hook["hook"].as_str().unwrap_or_default();
        HOOKS.iter().any(|function| name.ends_with(function)) && hook["state"] == "attached"
    });
    ours.count()
}

/// Traces a thread alone in its group, and holds its stalls against what the kernel counts for
/// the group; hands over the report.
///
/// They agree to 1 %. An estimate may take waits for the CPU for stalls, but no more than the
/// thread waited in all, to within a period.
fn measure(
    settings: &Settings,
    report: &mut Report,
    args: &[&str],
    estimate: bool,
) -> Result<Value> {
    let group = Group::new(&settings.hierarchy()?, Some(QUOTA))?;
    let work = format!("work_ms={WORK_MS}");
    let mut target = Target::start("spin", &["wait=1", "cpu=0", &work], Some(&group))?;
    let pid = target.pid.to_string();
    let all = [&["trace", "-o", "json", "--non-go", "-p", &pid], args].concat();
    let all: Vec<String> = all.into_iter().map(str::to_owned).collect();
    let mut gohang = Gohang::spawn(settings.gohang()?, &all)?;
    gohang.wait_ready()?;
    let before = (group.throttled_ns()?, group.throttled_periods()?);
    target.actor.go()?;
    target.actor.expect("ready")?;
    sys::sleep_ns((WORK_MS - LIFT_MS) * 1_000_000);
    group.set_quota(None, QUOTA.1)?;
    sys::sleep_ns((LIFT_MS + 200) * 1_000_000);
    let truth = group.throttled_ns()? - before.0;
    let periods = group.throttled_periods()? - before.1;
    let waited = (WORK_MS * 1_000_000).saturating_sub(sys::cpu_time_ns(target.pid)?);
    let end = gohang.interrupt()?;
    target.finish()?;
    let document: Value = serde_json::from_slice(&end.stdout).context("not one document")?;
    let stall = stream::number(&document, "/processes/0/stall/total_ns")?;
    let off = (stall as f64 - truth as f64) / truth as f64 * 100.0;
    report.note(format!(
        "{}, {} hooks: {stall} ns, cpu.stat {truth} ns in {periods} periods, {off:+.3} %; it \
         waited {waited} ns in all",
        document["precision"],
        attached(&document)
    ));
    ensure!(periods >= PERIODS, "only {periods} periods");
    let fits = off.abs() <= 1.0 || estimate && off >= -1.0 && stall <= waited + QUOTA.1 * 1_000;
    ensure!(fits, "off by {off:.3} %");
    Ok(document)
}

fn form(settings: &Settings, report: &mut Report, form: Form) -> Result<()> {
    let source = ["--throttle-source", form.name];
    if !(form.can)()? {
        let args = [&["trace", "-d", "1s"], &source[..]].concat();
        let end = product::run(settings.gohang()?, &args, LIMIT)?;
        report.note(format!("{}: {}", end.status, end.stderr_line()));
        ensure!(end.status.code() == Some(3), "{}", end.status);
        ensure!(
            end.stderr.starts_with("gohang: error: ")
                && end.stderr.lines().count() == 1
                && end.stderr.contains(&source.join(" "))
                && end.stderr.contains(form.reason),
            "the message does not say why"
        );
        return Ok(());
    }
    let document = measure(settings, report, &source, form.estimate)?;
    ensure!(
        document["precision"] == form.name,
        "{} in place of {}",
        document["precision"],
        form.name
    );
    // The estimate is what there is without them; threads that the kernel parks have them for
    // their ends, where they can be had.
    let hooks = form.name != SWITCH_POINT_ESTIMATE.name && has_queue_hooks()?;
    let want = if hooks { HOOKS.len() } else { 0 };
    ensure!(
        attached(&document) == want,
        "{} hooks attached in place of {want}",
        attached(&document)
    );
    ensure!(
        document["cgroups"][0]["spans"].is_object() == hooks,
        "spans: {}",
        document["cgroups"][0]["spans"]
    );
    Ok(())
}

/// The overlay stands on kprobes where fentry is not to be had.
fn by_kprobes(settings: &Settings, report: &mut Report) -> Result<()> {
    if !has_queue_hooks()? {
        return Err(skip("this kernel refuses programs on functions"));
    }
    let args = ["--throttle-source", CFS_RQ_OVERLAY.name, "--no-fentry"];
    let document = measure(settings, report, &args, false)?;
    let hooks = document["probe_set"].as_array().into_iter().flatten();
    let kprobes = hooks.filter(|hook| {
        let name = hook["hook"].as_str().unwrap_or_default();
        name.starts_with("kprobe:tg_") && hook["state"] == "attached"
    });
    let kprobes = kprobes.count();
    ensure!(
        kprobes == HOOKS.len() && attached(&document) == kprobes,
        "{kprobes} kprobes among {} hooks",
        attached(&document)
    );
    ensure!(
        document["precision"] == CFS_RQ_OVERLAY.name && document["cgroups"][0]["spans"].is_object(),
        "{} without spans",
        document["precision"]
    );
    Ok(())
}

/// With `--no-queue-hooks` the most exact form that stands without them is taken.
fn without_hooks(settings: &Settings, report: &mut Report) -> Result<()> {
    let form = if parks_threads()? {
        THREAD_EXACT
    } else {
        SWITCH_POINT_ESTIMATE
    };
    let document = measure(settings, report, &["--no-queue-hooks"], form.estimate)?;
    ensure!(
        document["precision"] == form.name && attached(&document) == 0,
        "{} with {} hooks",
        document["precision"],
        attached(&document)
    );
    let args = ["--no-queue-hooks", "--throttle-source", CFS_RQ_OVERLAY.name];
    let args = [&["trace", "-d", "1s"], &args[..]].concat();
    let end = product::run(settings.gohang()?, &args, LIMIT)?;
    report.note(format!("{}: {}", end.status, end.stderr_line()));
    ensure!(
        end.status.code() == Some(2) && end.stderr.contains("--no-queue-hooks"),
        "it contradicts itself, and ended with {}",
        end.status
    );
    Ok(())
}

/// `doctor` says of each form whether it can be had, as text and as JSON.
fn doctor(settings: &Settings, report: &mut Report) -> Result<()> {
    let gohang = settings.gohang()?;
    let end = product::run(gohang, &["doctor", "-o", "json"], LIMIT)?;
    let found: Value = serde_json::from_slice(&end.stdout).context("not one document")?;
    let best = best()?;
    ensure!(
        found["precision"] == best.name,
        "precision {} in place of {}",
        found["precision"],
        best.name
    );
    let end = product::run(gohang, &["doctor"], LIMIT)?;
    let text = String::from_utf8(end.stdout).context("not UTF-8")?;
    ensure!(
        text.contains(&format!("precision: {}", best.name)),
        "the text has no precision"
    );
    let sources = found["throttle_sources"].as_array().context("no sources")?;
    ensure!(sources.len() == FORMS.len(), "{} sources", sources.len());
    for (source, form) in sources.iter().zip(FORMS) {
        let (state, words) = match (form.can)()? {
            _ if form.name == best.name => ("in_use", "in use"),
            true => ("available", "available"),
            false => ("unavailable", "not here"),
        };
        let reason = source["reason"].as_str();
        report.note(format!("{}: {}", form.name, source["state"]));
        ensure!(
            source["step"] == form.name && source["state"] == state,
            "{source}, which should be {state}"
        );
        ensure!(
            reason.is_some() == (state == "unavailable")
                && reason.is_none_or(|reason| reason.contains(form.reason)),
            "the reason of {source}"
        );
        let line = text
            .lines()
            .map(str::trim_start)
            .find(|line| line.starts_with(words) && line.contains(form.name))
            .with_context(|| format!("no line says that {} is {words}", form.name))?;
        ensure!(
            reason.is_none() || line.contains(form.reason),
            "no reason in {line:?}"
        );
    }
    Ok(())
}

/// Another word is wrong usage, and the forms are named.
fn words(settings: &Settings, report: &mut Report) -> Result<()> {
    for word in ["", "exact", "thread_exact", "no-bandwidth-control"] {
        let arg = format!("--throttle-source={word}");
        let end = product::run(settings.gohang()?, &["trace", "-d", "1s", &arg], LIMIT)?;
        report.note(format!("{}: {}", end.status, end.stderr_line()));
        ensure!(end.status.code() == Some(2), "{}", end.status);
        for form in FORMS {
            ensure!(end.stderr.contains(form.name), "{} is not named", form.name);
        }
    }
    Ok(())
}
