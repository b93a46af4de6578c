//! What gohang says of programs that fail in one way each, and that it says nothing of their
//! healthy twins: the diagnosis matrix.

use std::process::Command;

use anyhow::{Context as _, Result, ensure};

use crate::diagnosis::{Built, Matrix, Program, Programs, Setting, Table, Trace, trace};
use crate::group::Group;
use crate::run::{Report, Settings, Test, skip};

/// How long a healthy, busy server is traced with the newest version and with each other one,
/// seconds, in the long form and the short one.
const BUSY_SECONDS: [(u64, u64); 2] = [(300, 20), (5, 3)];

/// Most runs of a server that are disturbed.
const SERVER_RUNS: u32 = 3;

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    let test = |name, body| Test { name, body };
    vec![
        test("diagnosis::go", go),
        test("diagnosis::c_code", c_code),
        test("diagnosis::busy_server", busy_server),
    ]
}

/// The programs, built with the Go root's tool chains.
pub(super) fn programs(settings: &Settings) -> Result<Programs> {
    let root = settings.go_root.clone();
    root.map(Programs::new)
        .ok_or_else(|| skip("no --go-root given"))
}

/// Skips where there is no C compiler for Go programs with C code.
pub(super) fn c_compiler() -> Result<()> {
    match Command::new("gcc").arg("--version").output() {
        Ok(_) => Ok(()),
        Err(_) => Err(skip("no gcc, which builds the C code of Go programs")),
    }
}

/// Programs in Go alone.
fn go(settings: &Settings, report: &mut Report) -> Result<()> {
    let table = Table::read()?;
    Matrix::new(settings, &table, programs(settings)?).run(Program::Failures, report)
}

/// Programs with C code of their own.
fn c_code(settings: &Settings, report: &mut Report) -> Result<()> {
    let table = Table::read()?;
    let programs = programs(settings)?;
    c_compiler()?;
    Matrix::new(settings, &table, programs).run(Program::Foreign, report)
}

/// A healthy HTTP server that keeps both of its CPUs busy raises nothing.
fn busy_server(settings: &Settings, report: &mut Report) -> Result<()> {
    let table = Table::read()?;
    let mut programs = programs(settings)?;
    let (versions, (long, short)) = if settings.full {
        (&table.versions, BUSY_SECONDS[0])
    } else {
        (&table.short_versions, BUSY_SECONDS[1])
    };
    for (i, version) in versions.iter().enumerate() {
        let seconds = if i + 1 == versions.len() { long } else { short };
        let built = programs.get(Program::Service, version, None)?;
        let (found, served) = serve(settings, &built, seconds, report)
            .with_context(|| format!("the server of go{version}"))?;
        report.note(format!(
            "go{version}, {seconds} s: {} signals, {served}",
            found.process["episodes"]
        ));
        ensure!(
            found.rules.is_empty(),
            "go{version}: {}",
            found.headlines.join("; ")
        );
    }
    Ok(())
}

/// Traces a server for so long; again, where others of this machine disturbed it. Returns what
/// was said, and the server's own figures.
fn serve(
    settings: &Settings,
    built: &Built,
    seconds: u64,
    report: &mut Report,
) -> Result<(Trace, String)> {
    let words = [
        "serve".to_owned(),
        "wait=1".to_owned(),
        // It is to end after the trace.
        format!("seconds={}", seconds + 2),
    ];
    let mut runs = 0;
    loop {
        let group = Group::new(&settings.hierarchy()?, None)?;
        let mut server = built.start(&words, &Setting::default(), &group)?;
        let pid = server.pid();
        server.go()?;
        let found = trace(settings.gohang()?, pid, seconds * 1000, || Ok(()))?;
        let served = server.expect("served")?;
        server.wait()?;
        runs += 1;
        if runs == SERVER_RUNS || !found.is_about_others() {
            return Ok((found, served));
        }
        report.note(format!(
            "disturbed: others used {:.0} % of a CPU",
            100.0 * found.elsewhere.unwrap_or(0.0)
        ));
    }
}
