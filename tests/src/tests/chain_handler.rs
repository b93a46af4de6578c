//! Requests whose signals never get to the runtime's handler.

use anyhow::{Context as _, Result, ensure};

use crate::actor::pause_ms;
use crate::diagnosis::{Program, Programs, Setting, Table};
use crate::group::Group;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::stream::{Stream, number};

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "chain::no_handler",
        body: no_handler,
    }]
}

/// C code replaces the handler: requests end so, it is seen that the runtime's handler does
/// not run, and with its own handler none does.
fn no_handler(settings: &Settings, report: &mut Report) -> Result<()> {
    if std::process::Command::new("gcc")
        .arg("--version")
        .output()
        .is_err()
    {
        return Err(skip("no gcc, which builds the C code of Go programs"));
    }
    let table = Table::read()?;
    let root = settings.go_root.clone();
    let mut programs = Programs::new(root.ok_or_else(|| skip("no --go-root given"))?);
    for version in &table.short_versions {
        let built = programs.get(Program::Foreign, version, None)?;
        for replace in [true, false] {
            let group = Group::new(&settings.hierarchy()?, None)?;
            let replaced = format!("replace={}", u8::from(replace));
            let words = ["handler", "wait=1", "seconds=20", &replaced].map(str::to_owned);
            let mut program = built.start(&words, &Setting::default(), &group)?;
            let pid = u32::try_from(program.pid())?;
            let args = ["trace", "-o", "jsonl", "--events", "-p", &pid.to_string()];
            let mut gohang = Gohang::spawn(settings.gohang()?, &args.map(str::to_owned))?;
            gohang.wait_ready()?;
            program.go()?;
            pause_ms(1_500);
            let stream = Stream::parse(&gohang.interrupt()?.stdout)?;
            program.kill();
            let process = stream.process(pid)?;
            let ended = number(process, "/chain/ends/no_handler")?;
            report.note(format!(
                "go{version}, {replaced}: {ended} of {} requests",
                number(process, "/chain/requests")?
            ));
            ensure!(
                (ended > 0) == replace,
                "go{version}, {replaced}: {}",
                process["chain"]["ends"]
            );
            let first = stream.end["alerts"].get(0);
            let told = first.is_some_and(|alert| alert["rule"] == "handler-replaced");
            ensure!(told == replace, "alerts: {}", stream.end["alerts"]);
            if let Some(alert) = first.filter(|_| replace) {
                ensure!(alert["severity"] == "critical", "{alert}");
                number(alert, "/evidence/missed_requests")
                    .ok()
                    .filter(|missed| *missed > 0)
                    .with_context(|| format!("it is not seen that they do not arrive: {alert}"))?;
            }
        }
    }
    Ok(())
}
