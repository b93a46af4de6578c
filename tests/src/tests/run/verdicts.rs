//! Real commands that hang, each for a known cause, and the verdict on each.
//!
//! The long form (`--full`) has several variants of each cause; the short form the first of
//! each, and what is not cured by lifting its quota.

use std::collections::BTreeMap;
use std::net::{TcpListener, UdpSocket};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use super::go_test::Package;
use crate::product::Gohang;
use crate::run::{Report, Settings, Test, skip};
use crate::wrapped::{self, command, words};

/// The package with the tests.
const SOURCES: [(&str, &str); 2] = [
    ("go.mod", include_str!("../../../workloads/causes/go.mod")),
    (
        "causes_test.go",
        include_str!("../../../workloads/causes/causes_test.go"),
    ),
];
/// Longer than any of these takes.
const LIMIT: std::time::Duration = std::time::Duration::from_secs(90);
/// The version that the tests run with; those of `go_test` run with each.
const VERSION: &str = "1.24.11";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "run::verdicts",
            body: verdicts,
        },
        Test {
            name: "run::slow_under_a_quota_is_not_ended",
            body: slow_under_a_quota,
        },
    ]
}

/// What hangs.
enum Hang {
    /// `go test` with this value of CAUSE.
    Go(&'static str),
    /// The test binary itself, with this value of CAUSE.
    Binary(&'static str),
    /// A shell's script; `$1` and so on are the words.
    Shell(&'static str, Vec<String>),
    /// A command.
    Plain(Vec<String>),
    /// `go` with these words, from a proxy that does not answer.
    Modules(&'static [&'static str]),
}

/// A command of which the cause is known.
struct Case {
    cause: &'static str,
    hang: Hang,
    /// Options of `gohang run` beside the usual.
    options: &'static [&'static str],
    environment: &'static [(&'static str, &'static str)],
    /// What lifting the limit shows; empty: whatever it does.
    lift: &'static str,
    /// Neither SIGTERM nor SIGQUIT ends it.
    deaf: bool,
    /// It was first run when the rules had been written.
    held_out: bool,
}

const MEMORY: &[&str] = &["--memory-max", "64M"];
/// They may seem to get on.
const SOON: &[&str] = &["--timeout", "8s"];
const MORE_MEMORY: &[&str] = &["--memory-max", "150M"];

fn case(cause: &'static str, hang: Hang, options: &'static [&'static str]) -> Case {
    Case {
        cause,
        hang,
        options,
        environment: &[],
        lift: "",
        deaf: false,
        held_out: false,
    }
}

fn deaf(case: Case) -> Case {
    Case { deaf: true, ..case }
}

fn held_out(case: Case) -> Case {
    Case {
        held_out: true,
        ..case
    }
}

fn cases() -> Result<Vec<Case>> {
    let eat = command("eat", &["mib=200", "ms=5000"])?;
    let bomb = command("bomb", &[])?;
    let quota = |cause, options, lift| Case {
        lift,
        ..case("throttled", Hang::Go(cause), options)
    };
    let unpreemptible = |cause| Case {
        environment: &[("GODEBUG", "asyncpreemptoff=1")],
        ..case("preemption_failure", Hang::Go(cause), &[])
    };
    let lift_deadlock = Case {
        lift: "no_progress",
        ..case("deadlock", Hang::Go("lock_order"), &["--cpu-quota", "5%"])
    };
    // Each collection gives memory back, which is then new: that is work as far as it shows.
    let collector = |cause, options, environment| Case {
        environment,
        ..case("memory_pressure", Hang::Go(cause), options)
    };
    Ok(vec![
        quota("crunch", &["--cpu-quota", "5%"], "resumed"),
        quota("crunch", &["--cpu-quota", "20%"], "resumed"),
        Case {
            environment: &[("GOMAXPROCS", "8")],
            ..quota("crunch_many", &["--cpu-quota", "10%"], "resumed")
        },
        held_out(quota(
            "crunch_many",
            &["--cpu-quota", "15%", "--cpu-period", "20ms"],
            "resumed",
        )),
        unpreemptible("gc_waits"),
        unpreemptible("memstats_wait"),
        unpreemptible("gc_in_background"),
        held_out(unpreemptible("profile_waits")),
        case("deadlock", Hang::Go("lock_twice"), &[]),
        case("deadlock", Hang::Go("channel"), &[]),
        lift_deadlock,
        case("deadlock", Hang::Go("channel_full"), &[]),
        held_out(case("deadlock", Hang::Go("channel_not_closed"), &[])),
        case("deadlock", Hang::Go("cond"), &[]),
        held_out(case("deadlock", Hang::Go("read_lock_twice"), &[])),
        case("busy_loop", Hang::Go("spin"), &[]),
        case("busy_loop", Hang::Go("livelock"), &[]),
        case("busy_loop", Hang::Go("spin_behind_lock"), &[]),
        case(
            "busy_loop",
            Hang::Plain(words(&["sh", "-c", "while :; do :; done"])),
            &[],
        ),
        held_out(case("busy_loop", Hang::Go("spin_on_flag"), &[])),
        deaf(case(
            "busy_loop",
            Hang::Shell("trap '' TERM QUIT; while :; do :; done", Vec::new()),
            &[],
        )),
        deaf(case("busy_loop", Hang::Go("deaf_spin"), &[])),
        collector("collector", SOON, &[("GOMEMLIMIT", "40MiB")]),
        collector("collector", SOON, &[("GOGC", "1")]),
        held_out(collector(
            "collector_of_maps",
            &["--timeout", "8s", "--memory-max", "150M"],
            &[("GOMEMLIMIT", "32MiB")],
        )),
        case(
            "oom_killed",
            Hang::Shell("\"$@\"; while :; do sleep 1000; done", eat.clone()),
            MEMORY,
        ),
        case(
            "oom_killed",
            Hang::Shell("\"$@\" | cat; sleep 1000; true", eat),
            MEMORY,
        ),
        case("oom_killed", Hang::Go("child_eats"), MORE_MEMORY),
        held_out(case(
            "oom_killed",
            Hang::Shell("tail /dev/zero | wc -c; sleep 1000; true", Vec::new()),
            MEMORY,
        )),
        case("out_of_tasks", Hang::Plain(bomb), &["--tasks-max", "30"]),
        case(
            "out_of_tasks",
            Hang::Shell(
                "(while :; do sleep 1000 & done) 2>/dev/null; read x",
                Vec::new(),
            ),
            &["--tasks-max", "20"],
        ),
        case("out_of_tasks", Hang::Go("children"), &["--tasks-max", "80"]),
        held_out(case(
            "out_of_tasks",
            Hang::Shell(
                "f() { f | f & }; f 2>/dev/null; sleep 1000; true",
                Vec::new(),
            ),
            &["--tasks-max", "50"],
        )),
        case(
            "network",
            Hang::Modules(&["get", "example.org/nowhere@v1.0.0"]),
            &[],
        ),
        case(
            "network",
            Hang::Modules(&["mod", "download", "example.org/nowhere@v1.0.0"]),
            &[],
        ),
        held_out(case(
            "network",
            Hang::Modules(&["list", "-m", "-versions", "example.org/nowhere"]),
            &[],
        )),
        case("network", Hang::Go("dial"), &[]),
        case("network", Hang::Go("get"), &[]),
        case("network", Hang::Go("handshake"), &[]),
        held_out(case("network", Hang::Go("datagram"), &[])),
        case("port", Hang::Go("accept"), &[]),
        case("port", Hang::Go("serve"), &[]),
        case("port", Hang::Go("port_taken"), &[]),
        held_out(case("port", Hang::Go("accept_local"), &[])),
        case("pipe_held", Hang::Go("pipe"), &[]),
        case(
            "pipe_held",
            Hang::Shell("sh -c 'sleep 1000 & echo x' | cat; true", Vec::new()),
            &[],
        ),
        case(
            "pipe_held",
            Hang::Shell("x=$(sh -c 'sleep 1000 &'); echo $x", Vec::new()),
            &[],
        ),
        held_out(case(
            "pipe_held",
            Hang::Shell(
                "(sleep 1000 & exit 1) | while read x; do echo $x; done",
                Vec::new(),
            ),
            &[],
        )),
        case("input", Hang::Plain(words(&["cat"])), &[]),
        case("input", Hang::Shell("read x; echo $x", Vec::new()), &[]),
        case("input", Hang::Binary("input"), &[]),
        held_out(case("input", Hang::Binary("child_reads"), &[])),
        held_out(deaf(case(
            "input",
            Hang::Shell("trap '' TERM QUIT; read x; echo $x", Vec::new()),
            &[],
        ))),
    ])
}

impl Case {
    fn name(&self) -> String {
        let what = match &self.hang {
            Hang::Go(cause) => format!("go test, {cause}"),
            Hang::Binary(cause) => format!("test binary, {cause}"),
            Hang::Shell(script, _) => (*script).to_owned(),
            Hang::Plain(words) => words
                .iter()
                .map(|word| word.rsplit('/').next().unwrap_or(word))
                .collect::<Vec<_>>()
                .join(" "),
            Hang::Modules(words) => format!("go {}, a proxy that does not answer", words.join(" ")),
        };
        let variables = self.environment.iter();
        let variables = variables.map(|(name, value)| format!("{name}={value} "));
        format!(
            "{}: {}{what} {}{}",
            self.cause,
            variables.collect::<String>(),
            self.options.join(" "),
            if self.held_out { " (held out)" } else { "" }
        )
    }

    /// Runs it, and gives the verdict out of the bundle.
    fn judge(&self, settings: &Settings, package: &Package, binary: &str) -> Result<Value> {
        let silent = TcpListener::bind("127.0.0.1:0").context("cannot listen")?;
        // Datagrams are taken there as well: else they would be refused.
        let taken = UdpSocket::bind(silent.local_addr()?).context("cannot take datagrams")?;
        let address = silent.local_addr()?.to_string();
        let go = package.root.join("bin/go");
        let go = go.to_str().context("not UTF-8")?;
        let words = match &self.hang {
            Hang::Go(_) => words(&[go, "test", "-count=1", "-v", "-run", "TestCause"]),
            Hang::Binary(_) => words(&[binary, "-test.v", "-test.run", "TestCause"]),
            Hang::Shell(script, words) => {
                let begin = ["sh", "-c", script, "sh"].map(str::to_owned);
                begin.into_iter().chain(words.iter().cloned()).collect()
            }
            Hang::Plain(words) => words.clone(),
            Hang::Modules(more) => words(&[&[go], *more].concat()),
        };
        let bundles = tempfile::tempdir()?;
        let folder = bundles.path().to_str().context("not UTF-8")?;
        let mut options = vec![
            "--bundle-dir",
            folder,
            "--idle-timeout",
            "4s",
            "--grace",
            "2s",
        ];
        options.extend(self.options);
        let mut run = wrapped::wrapped(settings, &options, &words)?;
        package.go(&mut run);
        match &self.hang {
            Hang::Go(cause) | Hang::Binary(cause) => {
                run.env("CAUSE", cause);
            }
            Hang::Modules(_) => {
                let proxy = format!("http://{address}");
                run.env("GOPROXY", proxy).env("GOFLAGS", "-mod=mod");
                run.env("GOMODCACHE", bundles.path().join("modules"));
            }
            _ => {}
        }
        let eat = command("eat", &["mib=400", "ms=5000"])?.join(" ");
        run.env("ADDRESS", &address).env("CHILD", eat);
        run.envs(self.environment.iter().copied());
        // Nobody writes to it, and it does not end.
        let (input, nobody) = std::io::pipe()?;
        let end = Gohang::spawn_with(&mut run, input.into())?.wait(LIMIT)?;
        drop(nobody);
        drop((silent, taken));
        wrapped::nothing_left()?;
        let code = end.status.code();
        let expected: &[i32] = if self.deaf { &[137] } else { &[124, 137] };
        ensure!(
            code.is_some_and(|code| expected.contains(&code)),
            "{}: {}",
            end.status,
            end.stderr_line()
        );
        self.read(settings, bundles.path())
            .with_context(|| end.stderr_line())
    }

    fn read(&self, settings: &Settings, folder: &std::path::Path) -> Result<Value> {
        let files = std::fs::read_dir(folder)?.filter_map(|entry| Some(entry.ok()?.path()));
        let files: Vec<_> = files.collect();
        let find = |end: &str| {
            let mut all = files.iter();
            all.find(|path| path.to_string_lossy().ends_with(end))
                .with_context(|| format!("no {end}: {files:?}"))
        };
        let verdict = std::fs::read_to_string(find("-VERDICT.md")?)?;
        ensure!(verdict.starts_with("verdict: "), "{verdict}");
        let opened = Command::new(settings.gohang()?)
            .args(["open", "-o", "json"])
            .arg(find(".tar.zst")?)
            .output()?;
        ensure!(opened.status.success(), "{}", opened.status);
        let opened: Value = serde_json::from_slice(&opened.stdout)?;
        Ok(opened["verdict"].clone())
    }
}

fn verdicts(settings: &Settings, report: &mut Report) -> Result<()> {
    let package = Package::of(settings, VERSION, &SOURCES)?;
    let binary = package.folder().join("causes.test");
    let mut build = Command::new(package.root.join("bin/go"));
    build.args(["test", "-c", "-o"]).arg(&binary).arg(".");
    ensure!(
        package.go(&mut build).status()?.success(),
        "it does not build"
    );
    let binary = binary.to_str().context("not UTF-8")?;
    // One of them alone, while looking for something.
    let only = std::env::var("GOHANG_VERDICTS").unwrap_or_default();
    let mut table: BTreeMap<(String, String), u64> = BTreeMap::new();
    let mut wrong = Vec::new();
    let mut right = 0;
    let mut causes = std::collections::BTreeSet::new();
    let mut chosen = cases()?;
    chosen.retain(|case| {
        let first = causes.insert(case.cause);
        let is_lifted = !case.lift.is_empty() && case.cause != "throttled";
        let wanted = settings.full || !only.is_empty() || first || is_lifted;
        wanted && case.name().contains(&only)
    });
    for case in &chosen {
        let name = case.name();
        let verdict = match case.judge(settings, &package, binary) {
            Ok(verdict) => verdict,
            Err(why) => {
                wrong.push(format!("{name}: {why:#}"));
                continue;
            }
        };
        let text = |field: &str| verdict[field].as_str().unwrap_or("-").to_owned();
        report.note(format!(
            "{name} -> {} ({}, {}, lift {}): {}",
            text("cause"),
            text("kind"),
            text("confidence"),
            text("lift"),
            text("summary")
        ));
        *table
            .entry((case.cause.to_owned(), text("cause")))
            .or_default() += 1;
        let lifted = case.lift.is_empty() || text("lift") == case.lift;
        // A server that a test left: which test, and so its goroutines, has to be known.
        let is_left = matches!(case.hang, Hang::Go(_)) && text("kind") == "left_listening";
        let named = !is_left || text("summary").starts_with("TestCause ");
        if text("cause") == case.cause && lifted && named {
            right += 1;
        } else {
            wrong.push(format!("{name}: {verdict}"));
        }
    }
    if right == 0 && wrong.is_empty() {
        return Err(skip("no case is chosen"));
    }
    report.note(format!(
        "confusion table (cause, verdict, number); {right} right"
    ));
    for ((cause, verdict), number) in &table {
        let mark = if cause == verdict { "" } else { "  <-- wrong" };
        report.note(format!("  {cause:20} {verdict:20} {number:3}{mark}"));
    }
    ensure!(wrong.is_empty(), "{}", wrong.join(" | "));
    Ok(())
}

/// At 5 % of a CPU, with an event of a test every 20 s, for three minutes, or in the short form
/// for longer than the stall window: it is left alone.
fn slow_under_a_quota(settings: &Settings, report: &mut Report) -> Result<()> {
    let package = Package::of(settings, VERSION, &SOURCES)?;
    let go = package.root.join("bin/go");
    let go = go.to_str().context("not UTF-8")?;
    // Built before: a compiler at 5 % would take longer than all else.
    let mut build = Command::new(go);
    build.args(["test", "-count=1", "-run", "^$"]);
    let built = package.go(&mut build).output().context("go test")?;
    ensure!(
        built.status.success(),
        "{}",
        String::from_utf8_lossy(&built.stderr)
    );
    let words = words(&[go, "test", "-count=1", "-v", "-run", "TestCause"]);
    let mut run = wrapped::wrapped(settings, &["--cpu-quota", "5%"], &words)?;
    let ticks = if settings.full { "9" } else { "4" };
    let run = package.go(&mut run);
    run.env("CAUSE", "ticks").env("TICKS", ticks);
    let end = Gohang::spawn_command(run)?.wait(std::time::Duration::from_secs(400))?;
    report.note(end.stderr_line());
    end.expect_success()?;
    Ok(())
}
