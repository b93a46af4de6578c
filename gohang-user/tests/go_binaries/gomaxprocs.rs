//! `GOMAXPROCS` as computed against what programs print.

use std::fs::{self, File};
use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use gohang::cgroup::{CgroupLayout, OwnGroup, OwnGroups};
use gohang::golang::{BuildInfo, FileImage, Gomaxprocs, LeafQuota, QuotaUse, inspect_image};
use gohang::process::{ProcRoot, allowed_cpus};
use rustix::process::geteuid;

use super::paused::Paused;
use super::toolchain::{Options, Toolchain, toolchains};

/// Says its value; with an argument over and over again, and is busy between.
const SOURCE: &str = "package main\nimport (\"os\"; \"runtime\"; \"time\")\n\
    func main() {\n\
    println(runtime.GOMAXPROCS(0))\n\
    for len(os.Args) > 1 {\n\
    for start := time.Now(); time.Since(start) < 50*time.Millisecond; {}\n\
    println(runtime.GOMAXPROCS(0)) } }\n";

/// CPU time of the group in each 100 ms, in milliseconds.
const QUOTAS_MS: [Option<u64>; 7] = [
    None,
    Some(50),
    Some(100),
    Some(150),
    Some(210),
    Some(400),
    Some(1_210),
];
const PERIOD_NS: u64 = 100_000_000;
const MS: u64 = 1_000_000;

/// The CPUs that a program is told of.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Cpus {
    /// Those of a real mask: the first ones of the machine.
    Real(usize),
    /// The kernel's answer is replaced, so that quotas above two CPUs matter on a small
    /// machine, too.
    Told(u32),
}

const CPUS: [Cpus; 4] = [Cpus::Real(1), Cpus::Real(2), Cpus::Told(3), Cpus::Told(8)];

/// What the environment says.
const ENVIRONMENTS: [&[(&str, &str)]; 6] = [
    &[],
    &[("GOMAXPROCS", "5")],
    &[("GOMAXPROCS", "+4"), ("GODEBUG", "updatemaxprocs=0")],
    &[("GOMAXPROCS", "0"), ("GODEBUG", "containermaxprocs=1")],
    &[("GODEBUG", "containermaxprocs=-")],
    &[(
        "GODEBUG",
        "containermaxprocs=0,containermaxprocs=+1,gctrace=0",
    )],
];

/// A program and what its file says.
struct Program {
    path: PathBuf,
    build: BuildInfo,
    go_line: String,
}

/// The program of each tool chain under a `go.mod` of before and after the quota counted,
/// as far as the tool chain takes it.
fn programs() -> Vec<Program> {
    let dir = Path::new(env!("CARGO_TARGET_TMPDIR")).join("gomaxprocs");
    let build = |go: &Toolchain, go_line: &str| {
        let dir = dir.join(&go.version).join(go_line);
        fs::create_dir_all(&dir).unwrap();
        let options = Options {
            go_line: Some(go_line),
            ..Options::default()
        };
        let path = go.build(&dir, "gomaxprocs", SOURCE, options);
        let image = FileImage::new(File::open(&path).unwrap()).unwrap();
        let build = inspect_image(image).unwrap().unwrap().build;
        Program {
            path,
            build,
            go_line: go_line.to_owned(),
        }
    };
    let lines = |go: &Toolchain| ["1.18".to_owned(), format!("1.{}", go.minor())];
    toolchains()
        .iter()
        .flat_map(|go| lines(go).map(|line| build(go, &line)))
        .collect()
}

/// Where groups can be made, if they can.
fn groups() -> Option<OwnGroups> {
    if !geteuid().is_root() {
        println!("skipped: only root may make groups");
        return None;
    }
    let proc = ProcRoot::default();
    let layout = CgroupLayout::read(&proc).unwrap();
    match OwnGroups::new(&layout, &proc) {
        Ok(groups) => Some(groups),
        Err(error) => {
            println!("skipped: {error}");
            None
        }
    }
}

/// Starts the program in the group, with the environment and nothing else, stopped.
fn start(program: &Program, args: &[&str], env: &[(&str, &str)], group: &OwnGroup) -> Paused {
    let mut command = Command::new(&program.path);
    command.args(args).env_clear().envs(env.iter().copied());
    let paused = Paused::start(&mut command);
    group.add_process(paused.pid()).unwrap();
    paused
}

/// What is computed for the process as it stands.
fn compute(program: &Program, pid: u32, cpus: u32) -> Gomaxprocs {
    let proc = ProcRoot::default();
    let build = &program.build;
    let leaf = LeafQuota::read(&proc, pid, &build.version).unwrap();
    let environ = proc.read_pid_file(pid, "environ").unwrap();
    Gomaxprocs::compute(&build.version, &build.info, &environ, cpus, leaf.limit)
}

fn restrict(pid: u32, cpus: usize) {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    for task in tasks {
        let tid = task.unwrap().file_name().to_str().unwrap().parse().unwrap();
        // SAFETY: an array of integers, for which zeros are a value.
        let mut set: libc::cpu_set_t = unsafe { std::mem::zeroed() };
        for cpu in 0..cpus {
            // SAFETY: `cpu` is below the number of CPUs that the set has room for.
            unsafe { libc::CPU_SET(cpu, &mut set) };
        }
        // SAFETY: the kernel reads the set, whose size it is given.
        let done = unsafe { libc::sched_setaffinity(tid, size_of_val(&set), &raw const set) };
        assert_eq!(done, 0, "{}", std::io::Error::last_os_error());
    }
}

fn own(env: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    env.iter().map(owned).collect()
}

fn borrowed(env: &[(String, String)]) -> Vec<(&str, &str)> {
    env.iter()
        .map(|(name, value)| (&**name, &**value))
        .collect()
}

/// The environment in which the runtime (1.25 and later) does not look at its CPUs again:
/// only its first question is answered for the kernel, and sysmon, whose first look comes
/// within microseconds of the start on a busy machine, would ask once more.
fn without_updates(env: &[(&str, &str)]) -> Vec<(String, String)> {
    let mut env = own(env);
    let mut settings = env
        .iter_mut()
        .filter(|(name, _)| name == "GODEBUG")
        .peekable();
    if settings.peek().is_none() {
        drop(settings);
        env.push(("GODEBUG".to_owned(), "updatemaxprocs=0".to_owned()));
        return env;
    }
    settings.for_each(|(_, value)| value.push_str(",updatemaxprocs=0"));
    env
}

#[test]
fn every_cell_is_what_the_program_prints() {
    let (programs, Some(groups)) = (programs(), groups()) else {
        return;
    };
    let there = std::thread::available_parallelism().unwrap().get();
    let mut group = groups.create("matrix").unwrap();
    let (mut cells, mut by_quota, mut values) = (0, 0, std::collections::BTreeSet::new());
    for quota in QUOTAS_MS {
        group.set_quota(quota.map(|ms| ms * MS), PERIOD_NS).unwrap();
        for program in &programs {
            for cpus in CPUS {
                if let Cpus::Real(count) = cpus
                    && count > there
                {
                    println!("skipped: {count} CPUs, of which there are {there}");
                    continue;
                }
                for env in ENVIRONMENTS {
                    let env = match cpus {
                        Cpus::Real(_) => own(env),
                        Cpus::Told(_) => without_updates(env),
                    };
                    let env = borrowed(&env);
                    let mut paused = start(program, &[], &env, &group);
                    let told = match cpus {
                        Cpus::Real(count) => {
                            restrict(paused.pid(), count);
                            allowed_cpus(paused.pid()).unwrap()
                        }
                        Cpus::Told(count) => count,
                    };
                    let computed = compute(program, paused.pid(), told);
                    match cpus {
                        Cpus::Real(_) => paused.resume(),
                        Cpus::Told(count) => paused.resume_with_cpus(count),
                    }
                    let printed = paused.output();
                    assert_eq!(
                        computed.value.to_string(),
                        printed.trim(),
                        "{} go {} {quota:?} {cpus:?} {env:?}: {computed:?}",
                        program.build.version,
                        program.go_line,
                    );
                    cells += 1;
                    by_quota += u32::from(computed.because == gohang::golang::Because::Quota);
                    values.insert(computed.value);
                }
            }
        }
    }
    group.remove(Duration::from_secs(5)).unwrap();
    println!("{cells} cells agree, {by_quota} of them by quota; values {values:?}");
    let each = QUOTAS_MS.len() * ENVIRONMENTS.len();
    let real = usize::from(there >= 2) + 1;
    assert_eq!(cells, programs.len() * each * (real + 2));
}

/// The runtime heeds its own group alone, whatever limits those above it.
#[test]
fn a_limit_above_the_group_is_not_seen() {
    let (programs, Some(groups)) = (programs(), groups()) else {
        return;
    };
    let mut group = groups.create("above").unwrap();
    group.set_quota(Some(300 * MS), PERIOD_NS).unwrap();
    let below = group.dir().join("below");
    fs::create_dir(&below).unwrap();
    for program in &programs {
        let mut paused = start(program, &[], &[], &group);
        fs::write(below.join("cgroup.procs"), paused.pid().to_string()).unwrap();
        let computed = compute(program, paused.pid(), 8);
        paused.resume_with_cpus(8);
        assert_eq!(paused.output().trim(), "8", "{}", program.build.version);
        assert_eq!(computed.value, 8, "{}", program.build.version);
    }
    fs::remove_dir(&below).unwrap();
    group.remove(Duration::from_secs(5)).unwrap();
}

/// What changes after the start is followed where it is said to be.
#[test]
fn changes_are_followed_where_the_runtime_looks_again() {
    let (programs, Some(groups)) = (programs(), groups()) else {
        return;
    };
    if std::thread::available_parallelism().unwrap().get() < 2 {
        println!("skipped: a mask of two CPUs, of which there is one");
        return;
    }
    let mut group = groups.create("later").unwrap();
    let mut followed = 0;
    let envs: [&[(&str, &str)]; 3] = [
        &[],
        &[("GOMAXPROCS", "1")],
        &[("GODEBUG", "updatemaxprocs=0")],
    ];
    for program in programs.iter().filter(|program| {
        // One that never looks again, and all that may.
        program.build.version.minor() >= Some(24)
    }) {
        for env in envs {
            let mut paused = start(program, &["on"], env, &group);
            restrict(paused.pid(), 1);
            let computed = compute(program, paused.pid(), 1);
            let mut lines = BufReader::new(paused.stderr()).lines();
            paused.resume();
            let mut next = || lines.next().unwrap().unwrap();
            assert_eq!(next(), "1");
            restrict(paused.pid(), 2);
            let begin = std::time::Instant::now();
            // Up to once a second; much longer where nothing is to come than where it is.
            let limit = Duration::from_secs(if computed.updates { 20 } else { 2 });
            let mut changed = false;
            while begin.elapsed() < limit && !changed {
                changed = next() == "2";
            }
            assert_eq!(
                changed, computed.updates,
                "{} go {} {env:?}: {computed:?}",
                program.build.version, program.go_line
            );
            followed += u32::from(changed);
            if program.go_line == "1.18" && computed.quota != QuotaUse::TooOld {
                assert_eq!(computed.quota, QuotaUse::OffBuiltIn);
            }
        }
    }
    println!("{followed} programs followed their mask");
    group.remove(Duration::from_secs(5)).unwrap();
}
