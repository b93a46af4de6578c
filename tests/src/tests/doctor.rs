//! `gohang doctor`: what it says of the machine against the files themselves, and of Go
//! projects against the go command itself.

mod no_proxy;

use std::ffi::OsStr;
use std::fs;
use std::net::TcpListener;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::go::VERSIONS;
use crate::group::{Group, Version};
use crate::product::{Finished, Gohang};
use crate::run::{Report, Settings, Test, skip};

const LIMIT: Duration = Duration::from_secs(120);

/// A test that leaves nothing behind.
const SOUND_TEST: &str = "package x\nimport (\"net/http/httptest\"; \"testing\")\n\
    func TestX(t *testing.T) { s := httptest.NewServer(nil); defer s.Close() }\n";
/// One that does.
const SERVER_TEST: &str = "package x\nimport (\"net/http\"; \"testing\")\n\
    func TestX(t *testing.T) {\n\tgo http.ListenAndServe(\"127.0.0.1:18080\", nil)\n}\n";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![
        Test {
            name: "doctor::machine",
            body: machine,
        },
        Test {
            name: "doctor::sound_project",
            body: sound_project,
        },
        Test {
            name: "doctor::project_with_everything_wrong",
            body: everything_wrong,
        },
        Test {
            name: "doctor::toolchain",
            body: toolchain,
        },
        Test {
            name: "doctor::built_in_godebug",
            body: built_in_godebug,
        },
        Test {
            name: "doctor::quota",
            body: quota,
        },
        Test {
            name: "doctor::no_proxy",
            body: no_proxy::no_proxy,
        },
        Test {
            name: "doctor::bad_projects",
            body: bad_projects,
        },
    ]
}

/// A project in a folder of its own, and the tool chain that it is looked at with.
struct Project {
    dir: tempfile::TempDir,
    root: PathBuf,
}

impl Project {
    /// With a go command that only says what it is and where, where there is no tool chain: what
    /// is looked at is the machine's part.
    fn told(version: &str, go_mod: &str, test: &str) -> Result<Self> {
        let dir = tempfile::tempdir().context("no temporary folder")?;
        let root = dir.path().join("go");
        fs::create_dir_all(root.join("bin"))?;
        let env = serde_json::json!({
            "GOVERSION": format!("go{version}"),
            "GOROOT": &root,
            "GOMOD": dir.path().join("go.mod"),
            "GOPROXY": "off",
            "GOENV": "off",
        });
        let program = root.join("bin/go");
        fs::write(&program, format!("#!/bin/sh\ncat <<'END'\n{env}\nEND\n"))?;
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755))?;
        Self::filled(dir, root, go_mod, test)
    }

    fn filled(dir: tempfile::TempDir, root: PathBuf, go_mod: &str, test: &str) -> Result<Self> {
        fs::write(dir.path().join("go.mod"), go_mod)?;
        fs::write(dir.path().join("x.go"), "package x\n")?;
        fs::write(dir.path().join("x_test.go"), test)?;
        Ok(Self { dir, root })
    }

    fn new(settings: &Settings, version: &str, go_mod: &str, test: &str) -> Result<Self> {
        let Some(root) = &settings.go_root else {
            return Err(skip("no --go-root given"));
        };
        let root = root.join(version);
        if !root.join("bin/go").is_file() {
            return Err(skip(format!("no {}", root.join("bin/go").display())));
        }
        let dir = tempfile::tempdir().context("no temporary folder")?;
        Self::filled(dir, root, go_mod, test)
    }

    /// A command in the project's folder, with the tool chain first along `PATH` and nothing
    /// else of Go in the environment.
    fn command(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(program);
        let path = std::env::var_os("PATH").unwrap_or_default();
        let folders = std::iter::once(self.root.join("bin")).chain(std::env::split_paths(&path));
        command
            .current_dir(self.dir.path())
            .env_clear()
            .env("PATH", std::env::join_paths(folders)?)
            .env("HOME", self.dir.path())
            .env("GOROOT", &self.root)
            .env("GOPROXY", "off")
            .env("GOENV", "off");
        Ok(command)
    }

    /// What `doctor -o json` says of it with these arguments and variables.
    fn doctor(
        &self,
        settings: &Settings,
        args: &[&str],
        env: &[(&str, &str)],
    ) -> Result<(Finished, Value)> {
        let mut command = self.command(settings.gohang()?)?;
        command.args(["doctor", "-o", "json"]).args(args);
        command.envs(env.iter().copied());
        look(&mut command)
    }

    /// What the go command prints.
    fn go(&self, args: &[&str], env: &[(&str, &str)]) -> Result<std::process::Output> {
        let mut command = self.command(&self.root.join("bin/go"))?;
        command.args(args).env("GOTOOLCHAIN", "local");
        command.envs(env.iter().copied());
        command.output().context("cannot run go")
    }
}

/// Runs it and reads its document.
fn look(command: &mut Command) -> Result<(Finished, Value)> {
    let end = Gohang::spawn_command(command)?.wait(LIMIT)?;
    let found = serde_json::from_slice(&end.stdout)
        .with_context(|| format!("not one document: {}", end.stderr_line()))?;
    Ok((end, found))
}

/// The names of the project's findings of a severity.
fn ids(found: &Value, severity: &str) -> Vec<String> {
    let all = found["project"]["findings"].as_array();
    all.into_iter()
        .flatten()
        .filter(|finding| finding["severity"] == severity)
        .filter_map(|finding| finding["id"].as_str().map(Into::into))
        .collect()
}

/// Settings of the kernel, as its files have them.
fn machine(settings: &Settings, report: &mut Report) -> Result<()> {
    let mut command = Command::new(settings.gohang()?);
    let (_, found) = look(command.args(["doctor", "-o", "json"]))?;
    let own = &found["scheduler"];
    report.note(own.to_string());
    let read = |path: &str| fs::read_to_string(path).ok();
    let slice = read("/proc/sys/kernel/sched_cfs_bandwidth_slice_us")
        .and_then(|text| text.trim().parse::<u64>().ok());
    ensure!(
        own["cfs_bandwidth_slice_ns"].as_u64() == slice.map(|us| us * 1_000),
        "the slice is {slice:?} us"
    );
    let psi = match fs::read("/proc/pressure/cpu") {
        Ok(_) => "on",
        Err(e) if e.raw_os_error() == Some(libc::EOPNOTSUPP) => "off",
        Err(_) => "absent",
    };
    ensure!(own["psi"] == psi, "PSI is {psi}");
    let stat = read("/proc/stat").context("no /proc/stat")?;
    let cpus = stat
        .lines()
        .filter(|line| line.starts_with("cpu") && !line.starts_with("cpu "))
        .count();
    ensure!(own["online_cpus"] == cpus, "{cpus} CPUs are online");
    // Where the kernel tells its configuration.
    let release = read("/proc/sys/kernel/osrelease").unwrap_or_default();
    let configured = Command::new("zcat").arg("/proc/config.gz").output();
    let config = configured
        .ok()
        .filter(|out| out.status.success())
        .map(|out| String::from_utf8_lossy(&out.stdout).into_owned())
        .or_else(|| read(&format!("/boot/config-{}", release.trim())));
    if let Some(config) = config {
        let hz = config
            .lines()
            .find_map(|line| line.strip_prefix("CONFIG_HZ="))
            .context("no CONFIG_HZ")?;
        report.note(format!("CONFIG_HZ={hz}"));
        ensure!(own["hz"].as_u64() == hz.parse().ok(), "CONFIG_HZ={hz}");
    }
    let hierarchy = settings.hierarchy()?;
    let controllers = found["cgroup"]["controllers"].as_array().context("none")?;
    let cpu = controllers
        .iter()
        .find(|own| own["controller"] == "cpu")
        .context("no cpu controller")?;
    report.note(cpu.to_string());
    let version = match hierarchy.version {
        Version::V1 => 1,
        Version::V2 => 2,
    };
    ensure!(cpu["version"] == version, "it is of version {version}");
    Ok(())
}

/// Nothing to change: no finding, exit code 0, and the facts as the go command has them.
fn sound_project(settings: &Settings, report: &mut Report) -> Result<()> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let proxy = format!("http://{},direct", listener.local_addr()?);
    for version in VERSIONS {
        let minor = version.rsplit_once('.').map_or(version, |(minor, _)| minor);
        let go_mod =
            format!("module example.org/x\n\ngo {minor}\n\nrequire example.org/y v1.0.0\n");
        let project = Project::new(settings, version, &go_mod, SOUND_TEST)?;
        let args = [
            "--job-limit",
            "30m",
            "--",
            "go",
            "test",
            "-timeout=9m",
            "./...",
        ];
        let env = [("GOPROXY", proxy.as_str()), ("GOMAXPROCS", "1")];
        let (end, found) = project.doctor(settings, &args, &env)?;
        let own = &found["project"];
        let entry = &own["proxies"][0];
        report.note(format!("go{version}: {}, proxy {entry}", end.status));
        ensure!(end.status.code() == Some(0), "{}", own["findings"]);
        ensure!(
            own["findings"] == serde_json::json!([]),
            "{}",
            own["findings"]
        );
        ensure!(
            own["go"]["version"] == format!("go{version}"),
            "{}",
            own["go"]
        );
        ensure!(own["go"]["found_by"] == "path", "{}", own["go"]);
        let goroot = project.go(&["env", "GOROOT"], &[])?.stdout;
        let goroot = String::from_utf8_lossy(&goroot).trim().to_owned();
        ensure!(own["go"]["goroot"] == goroot, "GOROOT is {goroot}");
        ensure!(
            own["module"]["mode"] == "module"
                && own["module"]["path"] == "example.org/x"
                && own["module"]["go_line"] == minor,
            "{}",
            own["module"]
        );
        ensure!(
            entry["reachable"] == true && entry["error"].is_null(),
            "{entry}"
        );
        ensure!(
            own["proxies"][1]["reachable"].is_null(),
            "direct is not asked"
        );
        ensure!(
            own["test_timeout"]["limit_ns"] == 540_000_000_000_u64,
            "9 min"
        );
        ensure!(own["gomaxprocs"]["value"] == 1, "{}", own["gomaxprocs"]);
        ensure!(own["test_files"] == 1 && own["servers"] == serde_json::json!([]));
    }
    Ok(())
}

/// Each thing that is wrong is a finding, and the text tells them too.
fn everything_wrong(settings: &Settings, report: &mut Report) -> Result<()> {
    // A port on which nobody listens: the listener is closed at once.
    let dead = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
    let proxy = format!("http://user:secret@{dead},direct");
    let go_mod = "module example.org/x\n\ngo 1.99\n\nrequire example.org/y v1.0.0\n";
    for version in VERSIONS {
        let project = Project::new(settings, version, go_mod, SERVER_TEST)?;
        let env = [
            ("GOPROXY", proxy.as_str()),
            ("GOTOOLCHAIN", "local"),
            ("GODEBUG", "asyncpreemptoff=1"),
            ("GOFLAGS", "-timeout=2h"),
            ("CI_JOB_TIMEOUT", "3600"),
        ];
        let (end, found) = project.doctor(settings, &["."], &env)?;
        let warnings = ids(&found, "warning");
        report.note(format!("go{version}: {} {warnings:?}", end.status));
        ensure!(end.status.code() == Some(1), "it exits with {}", end.status);
        let want = [
            "toolchain_too_old",
            "proxy_unreachable",
            "async_preemption_off",
            "test_timeout_beyond_job",
            "test_server_on_fixed_port",
        ];
        ensure!(warnings == want, "in place of {want:?}");
        let own = &found["project"];
        let server = &own["servers"][0];
        ensure!(
            server["file"] == "x_test.go" && server["line"] == 4,
            "{server}"
        );
        let entry = &own["proxies"][0];
        ensure!(
            entry["reachable"] == false
                && entry["error"]
                    .as_str()
                    .is_some_and(|e| e.contains("refused"))
                && entry["took_ns"]
                    .as_u64()
                    .is_some_and(|ns| ns < 2_000_000_000),
            "{entry}"
        );
        let mut command = project.command(settings.gohang()?)?;
        let command = command.args(["doctor", "."]).envs(env);
        let end = Gohang::spawn_command(command)?.wait(LIMIT)?;
        let text = String::from_utf8(end.stdout).context("not UTF-8")?;
        for word in want
            .iter()
            .chain(&["x_test.go:4", "httptest.NewServer", "***@"])
        {
            ensure!(text.contains(word), "the text lacks {word}:\n{text}");
        }
        ensure!(!text.contains("secret"), "a password is shown");
    }
    Ok(())
}

/// Where the go command would refuse to build, doctor says so, and where not, not.
fn toolchain(settings: &Settings, report: &mut Report) -> Result<()> {
    for version in VERSIONS {
        for (line, local) in [
            (version.to_owned(), "sound"),
            ("1.99".to_owned(), "refused"),
            ("1.20".to_owned(), "sound"),
        ] {
            let go_mod = format!("module example.org/x\n\ngo {line}\n");
            let project = Project::new(settings, version, &go_mod, SOUND_TEST)?;
            let built = project.go(&["list", "."], &[])?;
            ensure!(
                built.status.success() == (local == "sound"),
                "go {line} with go{version}: {}",
                String::from_utf8_lossy(&built.stderr)
            );
            let env = [("GOTOOLCHAIN", "local")];
            let (_, found) = project.doctor(settings, &["."], &env)?;
            let refused = ids(&found, "warning").contains(&"toolchain_too_old".to_owned());
            report.note(format!("go{version}, line {line}: {local}"));
            ensure!(
                refused == (local == "refused"),
                "{}",
                found["project"]["findings"]
            );
            let (_, found) = project.doctor(settings, &["."], &[("GOTOOLCHAIN", "auto")])?;
            let fetched = ids(&found, "info").contains(&"toolchain_fetched".to_owned());
            ensure!(
                fetched == (local == "refused"),
                "{}",
                found["project"]["findings"]
            );
        }
    }
    Ok(())
}

/// What is built into programs, as the go command says it.
fn built_in_godebug(settings: &Settings, report: &mut Report) -> Result<()> {
    let key = "containermaxprocs=";
    for go_mod in [
        "go 1.18\n",
        "go 1.24.0\n",
        "go 1.25\n",
        "go 1.27.0\n",
        "go 1.27\ngodebug default=go1.24\n",
        "go 1.24\ngodebug default=go1.25\n",
        "go 1.24\ngodebug containermaxprocs=1\n",
        "go 1.26\ngodebug (\n\tcontainermaxprocs=0\n)\n",
        "",
    ] {
        let text = format!("module example.org/x\n{go_mod}");
        let project = Project::new(settings, "1.27.3", &text, SOUND_TEST)?;
        fs::write(
            project.dir.path().join("x.go"),
            "package main\nfunc main() {}\n",
        )?;
        fs::remove_file(project.dir.path().join("x_test.go"))?;
        let listed = project.go(&["list", "-f", "{{.DefaultGODEBUG}}", "."], &[])?;
        if !listed.status.success() {
            bail!("{}", String::from_utf8_lossy(&listed.stderr));
        }
        // The last one counts.
        let last = |list: &str| {
            let own = list.trim().rsplit(',').find(|own| own.starts_with(key));
            own.map_or("1".to_owned(), |own| own[key.len()..].to_owned())
        };
        let real = last(&String::from_utf8_lossy(&listed.stdout));
        let (_, found) = project.doctor(settings, &["."], &[])?;
        let own = found["project"]["module"]["default_godebug"].as_str();
        let own = last(own.context("no default_godebug")?);
        report.note(format!("{go_mod:?}: {key}{real}"));
        ensure!(own == real, "{go_mod:?}: {own} in place of {real}");
    }
    Ok(())
}

/// A quota that more threads run against than it has CPUs.
fn quota(settings: &Settings, report: &mut Report) -> Result<()> {
    let hierarchy = settings.hierarchy()?;
    let group = Group::new(&hierarchy, Some((150_000, 100_000)))?;
    let go_mod = "module example.org/x\n\ngo 1.24\n";
    for (version, maxprocs, fires) in [
        ("1.24.11", "8", true),
        ("1.24.11", "2", false),
        ("1.27.3", "8", true),
        ("1.27.3", "2", false),
    ] {
        let project = match settings.go_root {
            Some(_) => Project::new(settings, version, go_mod, SOUND_TEST)?,
            None => Project::told(version, go_mod, SOUND_TEST)?,
        };
        let mut command = project.command(settings.gohang()?)?;
        command
            .args(["doctor", "-o", "json", "."])
            .env("GOMAXPROCS", maxprocs);
        group.admit(&mut command)?;
        let (_, found) = look(&mut command)?;
        let own = &found["project"];
        report.note(format!(
            "go{version} {}, {} CPUs",
            own["gomaxprocs"], own["quota_cpus"]
        ));
        ensure!(own["quota_cpus"] == 1.5, "a quota of 1.5");
        let warned = ids(&found, "warning").contains(&"gomaxprocs_above_quota".to_owned());
        ensure!(warned == fires, "{}", own["findings"]);
    }
    Ok(())
}

/// No such folder, no Go, a damaged module: one clear message, and the rest is told.
fn bad_projects(settings: &Settings, report: &mut Report) -> Result<()> {
    let gohang = settings.gohang()?;
    for args in [
        &["doctor", "/nonexistent/x"][..],
        &["doctor", "/etc/passwd"],
        &["doctor", "--job-limit", "5m"],
    ] {
        let end = Gohang::spawn_command(Command::new(gohang).args(args))?.wait(LIMIT)?;
        report.note(format!("{args:?}: {} {}", end.status, end.stderr_line()));
        ensure!(end.status.code() == Some(2), "it exits with {}", end.status);
        ensure!(end.stdout.is_empty() && end.stderr.lines().count() == 1);
    }
    let dir = tempfile::tempdir()?;
    fs::write(dir.path().join("x_test.go"), SERVER_TEST)?;
    // A name that a terminal would act upon, and that is no text.
    let hostile = OsStr::from_bytes(b"\x1b[31m\n\xc2\x9b\xff_test.go");
    fs::write(dir.path().join(hostile), SERVER_TEST)?;
    for path in ["/nonexistent", ""] {
        let mut command = Command::new(gohang);
        command.args(["doctor", "-o", "json"]).arg(dir.path());
        let (end, found) = look(command.env_clear().env("PATH", path))?;
        let warnings = ids(&found, "warning");
        report.note(format!("without Go: {} {warnings:?}", end.status));
        ensure!(end.status.code() == Some(1));
        ensure!(
            warnings == ["no_go", "test_server_on_fixed_port"],
            "{warnings:?}"
        );
        let servers = found["project"]["servers"].as_array().context("a list")?;
        ensure!(servers.len() == 2, "{servers:?}");
        let hex: String = hostile
            .as_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let back = |own: &Value| own["file"]["bytes_hex"] == *hex;
        ensure!(servers.iter().any(back), "{hex} is not in {servers:?}");
    }
    let mut command = Command::new(gohang);
    command.arg("doctor").arg(dir.path());
    let end = Gohang::spawn_command(&mut command)?.wait(LIMIT)?;
    let text = String::from_utf8(end.stdout).context("not UTF-8")?;
    let harmful = |c: char| c.is_control() && c != '\n' && c != '\t';
    ensure!(!text.contains(harmful), "control bytes reach the terminal");
    ensure!(text.contains("_test.go:4"), "{text}");
    Ok(())
}
