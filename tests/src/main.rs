//! gohang's privileged integration tests, as one program: it needs root, a gohang binary and,
//! for some tests, Go tool chains. See `gohang-tests --help`.
//!
//! It shares no code with gohang: what it knows of signals it knows from a recorder and a
//! pairing of its own, and what it knows of gohang is the documented output.

mod actor;
mod bpf;
mod btf;
mod btf_kinds;
mod command;
mod compare;
#[cfg(test)]
mod compare_tests;
mod confusion;
#[cfg(test)]
mod confusion_tests;
mod diagnosis;
mod estimate;
mod go;
mod go_build;
mod group;
mod growth;
mod injector;
mod jobshell;
mod kept;
mod label;
mod options;
mod page;
mod product;
mod reference;
mod reuse;
mod run;
mod scene;
mod sender;
mod shape;
mod stage;
mod stream;
mod sys;
mod systemd;
mod target;
mod terminal;
mod tests;
mod wrapped;

use std::process::ExitCode;

use anyhow::{Context, Result, bail};

use crate::run::Settings;

const HELP: &str = "\
usage: gohang-tests [options] [FILTER...]
       gohang-tests record SECONDS [PID...]
       gohang-tests build-workloads GO_ROOT
       gohang-tests agreement FOLDER GOHANG GO_ROOT [quick]
       gohang-tests verify FOLDER
       gohang-tests growth FILE GOHANG [quick]

Runs the tests whose names contain a FILTER (all of them without one), as root.

  --gohang PATH      the gohang binary under test; without it, only the reference's own
                     tests run, and the agreement tests as a control of the reference
  --go-root DIR      Go tool chains: DIR/1.21.13/bin/go, DIR/1.24.11/..., DIR/1.27.3/...
  --workloads DIR    where Go workloads are built, and taken from when there is no --go-root
                     (default: a folder `workloads` in the go root)
  --mutant PATH      a gohang that drops one transition: its sums must be found wrong
  --soak SECONDS     length of the soak test (default 15)
  --injections N     episodes of each cause that the cause test makes (default 200)
  --full             the whole diagnosis matrix: every Go version and form, long healthy runs;
                     every variant of a hang
  --list             print the names and stop

`build-workloads` builds the Go workloads into GO_ROOT/workloads, for machines without Go.
`record` prints the episodes that the reference sees, one JSON object a line, at the end of
its time or at Ctrl-C.
`agreement` records gohang and the reference in the same runs, over a million episodes, and puts
both recordings and how far they agree into FOLDER; `verify` computes that again from there.
`growth` measures what gohang takes for few and for many processes, threads, groups, timers and
signals, and puts that into FILE.
";

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match dispatch(&args) {
        Ok(code) => code,
        Err(e) => {
            eprintln!("gohang-tests: {e:#}");
            ExitCode::from(2)
        }
    }
}

fn dispatch(args: &[String]) -> Result<ExitCode> {
    match args.split_first() {
        Some((mode, rest)) if mode == "__target" => {
            let (kind, words) = rest.split_first().context("which target?")?;
            target::run(kind, words)?;
        }
        Some((mode, rest)) if mode == "__command" => {
            let (kind, words) = rest.split_first().context("which command?")?;
            command::run(kind, words)?;
        }
        Some((mode, rest)) if mode == "__jobshell" => jobshell::run(rest)?,
        Some((mode, rest)) if mode == "__sender" => sender::run(rest)?,
        Some((mode, rest)) if mode == "__injector" => injector::run(rest)?,
        Some((mode, rest)) if mode == "__tracer" => sender::run_tracer(rest)?,
        Some((mode, rest)) if mode == "record" => record(rest)?,
        Some((mode, rest)) if mode == "agreement" => {
            take_signals()?;
            kept::make(rest)?;
        }
        Some((mode, rest)) if mode == "growth" => {
            take_signals()?;
            growth::make(rest)?;
        }
        Some((mode, rest)) if mode == "verify" => {
            let [folder] = rest else {
                bail!("verify wants one folder");
            };
            kept::verify(std::path::Path::new(folder))?;
        }
        Some((mode, rest)) if mode == "build-workloads" => build_workloads(rest)?,
        _ => return suite(args),
    }
    Ok(ExitCode::SUCCESS)
}

fn suite(args: &[String]) -> Result<ExitCode> {
    let mut settings = Settings {
        soak_secs: 15,
        injections: 200,
        ..Settings::default()
    };
    let mut filters = Vec::new();
    let mut list = false;
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        let mut value = || args.next().with_context(|| format!("{arg} wants a value"));
        let path =
            |v: &String| std::path::absolute(v).with_context(|| format!("{v:?} is not a path"));
        match arg.as_str() {
            "--gohang" => settings.gohang = Some(path(value()?)?),
            "--mutant" => settings.mutant = Some(path(value()?)?),
            "--go-root" => settings.go_root = Some(path(value()?)?),
            "--workloads" => settings.workloads = Some(path(value()?)?),
            "--soak" => settings.soak_secs = value()?.parse().context("--soak wants seconds")?,
            "--injections" => {
                settings.injections = value()?.parse().context("--injections wants a number")?;
            }
            "--full" => settings.full = true,
            "--list" => list = true,
            "--help" | "-h" => {
                print!("{HELP}");
                return Ok(ExitCode::SUCCESS);
            }
            other if other.starts_with('-') => bail!("unknown option {other}; see --help"),
            filter => filters.push(filter.to_owned()),
        }
    }
    let tests = tests::all();
    if list {
        for test in run::chosen(&tests, &filters) {
            println!("{}", test.name);
        }
        return Ok(ExitCode::SUCCESS);
    }
    for path in [&settings.gohang, &settings.mutant].into_iter().flatten() {
        if !actor::is_program(path) {
            bail!("{} is not a file", path.display());
        }
    }
    // SAFETY: takes no arguments and cannot fail.
    if unsafe { libc::geteuid() } != 0 {
        bail!("the tests need root: they record every process and make cgroups");
    }
    if let Ok(hierarchy) = group::Hierarchy::find() {
        hierarchy.sweep();
    }
    take_signals()?;
    let fine = run::run(&tests, &filters, &settings);
    Ok(if fine {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}

/// Has signals that whoever started the suite ignores, as `nohup` and shells without job control
/// do, end programs again: an ignored signal stays so in all that the tests start.
fn take_signals() -> Result<()> {
    for signal in [libc::SIGHUP, libc::SIGINT, libc::SIGQUIT] {
        // SAFETY: the default action is no function.
        let before = unsafe { libc::signal(signal, libc::SIG_DFL) };
        if before == libc::SIG_ERR {
            return Err(std::io::Error::last_os_error()).context("signal");
        }
    }
    Ok(())
}

fn build_workloads(words: &[String]) -> Result<()> {
    let [root] = words else {
        bail!("build-workloads wants one folder of Go tool chains");
    };
    let settings = Settings {
        go_root: Some(std::path::absolute(root)?),
        ..Settings::default()
    };
    let all = go::Workload::all(&settings)?;
    for workload in all.into_iter().chain(go::Workload::all_pie(&settings)?) {
        eprintln!("{}", workload.path().display());
    }
    for path in tests::inspect_programs(&settings)? {
        eprintln!("{}", path.display());
    }
    Ok(())
}

fn record(words: &[String]) -> Result<()> {
    let (seconds, pids) = words.split_first().context("for how many seconds?")?;
    let seconds: u64 = seconds.parse().context("the number of seconds")?;
    let pids = pids
        .iter()
        .map(|p| p.parse())
        .collect::<Result<Vec<u32>, _>>()?;
    let recorder = reference::Recorder::start()?;
    eprintln!("recording");
    let interrupted = sys::note_interrupts()?;
    let until = sys::mono_ns().saturating_add(seconds.saturating_mul(1_000_000_000));
    while sys::mono_ns() < until && !interrupted() {
        actor::pause_ms(5);
    }
    let recording = recorder.stop()?;
    let pairing = reference::pair::pair(&recording.events, &recording.threads, recording.to_ns);
    for e in pairing
        .episodes
        .iter()
        .filter(|e| pids.is_empty() || pids.contains(&e.pid))
    {
        let line = serde_json::json!({
            "pid": e.pid, "tid": e.tid, "directed": format!("{:?}", e.directed),
            "sender_pid": e.sender_pid, "sent_ns": e.sent_ns, "end_ns": e.end_ns,
            "latency_ns": e.latency_ns(), "coalesced": e.coalesced,
            "outcome": format!("{:?}", e.outcome),
        });
        println!("{line}");
    }
    for (pid, tid, time_ns) in &pairing.orphans {
        let line = serde_json::json!({"pid": pid, "tid": tid, "orphan_ns": time_ns});
        println!("{line}");
    }
    eprintln!(
        "{} events from {} to {}, lost {:?}, rejected {}, orphans {}",
        recording.events.len(),
        recording.from_ns,
        recording.to_ns,
        recording.loss,
        recording.rejected,
        pairing.orphans.len()
    );
    Ok(())
}
