use std::collections::HashMap;
use std::fs::{self, File};
use std::io::Write;
use std::os::fd::BorrowedFd;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

use super::*;

const MODERN: Asks = Asks {
    has_cap_bpf: true,
    memlock: false,
};

fn set(capabilities: &[Capability]) -> CapsHashSet {
    capabilities.iter().copied().collect()
}

fn missing_with(asks: Asks, effective: &[Capability]) -> Vec<Capability> {
    let missing = Missing::from(
        asks,
        &set(effective),
        false,
        false,
        "/usr/bin/gohang".into(),
    );
    missing.needed.iter().map(|need| need.capability).collect()
}

#[test]
fn asks_for_what_is_not_held() {
    use Capability::*;
    assert_eq!(
        missing_with(MODERN, &[]),
        [CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]
    );
    assert_eq!(
        missing_with(MODERN, &[CAP_BPF, CAP_SYS_PTRACE, CAP_KILL]),
        [CAP_PERFMON, CAP_DAC_READ_SEARCH]
    );
    // CAP_SYS_ADMIN is not everything.
    assert_eq!(
        missing_with(MODERN, &[CAP_SYS_ADMIN]),
        [CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH]
    );
    assert_eq!(
        missing_with(MODERN, &[CAP_SYS_ADMIN, CAP_SYS_PTRACE, CAP_DAC_OVERRIDE]),
        []
    );
    let old = Asks {
        has_cap_bpf: false,
        memlock: true,
    };
    assert_eq!(
        missing_with(old, &[CAP_BPF]),
        [
            CAP_SYS_ADMIN,
            CAP_SYS_PTRACE,
            CAP_DAC_READ_SEARCH,
            CAP_SYS_RESOURCE
        ]
    );
    assert_eq!(
        missing_with(
            Asks {
                memlock: true,
                ..MODERN
            },
            &[CAP_SYS_ADMIN]
        ),
        [CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH, CAP_SYS_RESOURCE]
    );
}

#[test]
fn says_what_is_missing_and_what_to_do() {
    use Capability::*;
    let text = |effective: &[Capability], root, user_namespace, program: &str| {
        Missing::from(
            MODERN,
            &set(effective),
            root,
            user_namespace,
            program.into(),
        )
        .to_string()
    };
    let held = [CAP_BPF, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH];
    assert_eq!(
        text(&held, false, false, "/opt/my tools/gohang"),
        "not permitted to trace; missing:\n  \
         CAP_PERFMON: lets the kernel programs read kernel memory, and attaches them to \
         tracepoints\n\
         run as root, or: setcap cap_bpf,cap_perfmon,cap_sys_ptrace,cap_dac_read_search+ep \
         '/opt/my tools/gohang'"
    );
    let stripped = text(&held, true, false, "/gohang");
    assert!(
        stripped.ends_with(
            "start the container with: --cap-add BPF --cap-add PERFMON --cap-add SYS_PTRACE \
             --cap-add DAC_READ_SEARCH"
        ),
        "{stripped}"
    );
    assert!(!stripped.contains("run as root"), "{stripped}");
    let all = [CAP_BPF, CAP_PERFMON, CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH];
    assert_eq!(
        text(&all, false, false, "/gohang"),
        "no capability is missing"
    );
    let namespaced = text(&all, true, true, "/gohang");
    assert!(namespaced.contains("CAP_BPF") && namespaced.contains("user namespace"));
}

#[test]
fn quotes_paths() {
    assert_eq!(quoted("/usr/bin/gohang-1.0"), "/usr/bin/gohang-1.0");
    assert_eq!(quoted("/it's $HOME"), r"'/it'\''s $HOME'");
    assert_eq!(quoted("/a\x1b[2J"), r"/a\u{1b}[2J");
    assert_eq!(quoted(""), "''");
}

#[test]
fn agrees_with_the_kernels_own_account() {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let effective = u64::from_str_radix(&lines(&status)["CapEff"], 16).unwrap();
    for capability in caps::all() {
        let held = effective & capability.bitmask() != 0;
        assert_eq!(
            has(capability).unwrap(),
            held && !in_user_namespace().unwrap()
        );
    }
    let named = missing().unwrap();
    assert_eq!(named.program, std::env::current_exe().unwrap());
    for need in named.needed {
        assert!(!has(need.capability).unwrap(), "{need:?}");
    }
}

#[test]
fn refuses_to_drop_with_threads() {
    let (sender, receiver) = std::sync::mpsc::channel::<()>();
    let other = std::thread::spawn(move || receiver.recv());
    let before = caps::read(None, CapSet::Effective).unwrap();
    let error = keep_only(&[]).unwrap_err();
    assert!(
        matches!(error, PrivilegeError::Threads { threads: 2.. }),
        "{error}"
    );
    assert_eq!(caps::read(None, CapSet::Effective).unwrap(), before);
    drop(sender);
    other.join().unwrap().unwrap_err();
}

/// The lines of `/proc/PID/status`, by name.
fn lines(status: &str) -> HashMap<String, String> {
    status
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(name, value)| (name.to_owned(), value.trim().to_owned()))
        .collect()
}

/// Runs `act` in a forked child, which has one thread, and gives its text and what
/// `/proc/self/status` says in the program that the child executes next.
fn in_child(act: impl Fn() -> String + Send + Sync + 'static) -> (String, HashMap<String, String>) {
    let mut command = Command::new("cat");
    command.arg("/proc/self/status");
    let report = move || {
        let text = act();
        // Not `io::stdout`: another thread may have held its lock at the fork.
        // SAFETY: the child's standard output is open, and stays so during this call.
        let stdout = unsafe { BorrowedFd::borrow_raw(1) };
        File::from(stdout.try_clone_to_owned()?).write_all(format!("{text}\n=\n").as_bytes())
    };
    // SAFETY: after the fork this allocates, which glibc allows, and takes no lock of ours.
    unsafe { command.pre_exec(report) };
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = String::from_utf8(output.stdout).unwrap();
    let (text, status) = text.split_once("\n=\n").expect("the child's report");
    (text.to_owned(), lines(status))
}

/// Whether this can be tested; tells why not.
fn privileged() -> bool {
    if number(&read(STATUS).unwrap(), "Uid").unwrap() != 0 {
        eprintln!("skipped: only root can try this");
        return false;
    }
    let all = [
        Capability::CAP_SETPCAP,
        Capability::CAP_SETUID,
        Capability::CAP_SETGID,
        Capability::CAP_BPF,
        Capability::CAP_SYS_PTRACE,
        Capability::CAP_DAC_READ_SEARCH,
    ];
    let lacking = all.iter().find(|&&capability| !has(capability).unwrap());
    if let Some(capability) = lacking {
        eprintln!("skipped: {capability} is needed to try this");
    }
    lacking.is_none()
}

#[test]
fn keeps_only_what_is_named() {
    if !privileged() {
        return;
    }
    const KEEP: [Capability; 2] = [Capability::CAP_BPF, Capability::CAP_SYS_PTRACE];
    let wanted = format!("{:016x}", KEEP.iter().map(Capability::bitmask).sum::<u64>());
    let (text, after_exec) = in_child(|| {
        let setup = caps::raise(None, CapSet::Inheritable, Capability::CAP_KILL)
            .and_then(|()| caps::raise(None, CapSet::Ambient, Capability::CAP_KILL));
        let kept = keep_only(&KEEP);
        format!(
            "{setup:?} {kept:?}\n{}",
            fs::read_to_string(STATUS).unwrap_or_default()
        )
    });
    let (results, before_exec) = text.split_once('\n').unwrap();
    assert_eq!(results, "Ok(()) Ok(Kept { bounding: true })");
    for (when, status) in [("before", lines(before_exec)), ("after", after_exec)] {
        let none = "0000000000000000";
        for (name, value) in [
            ("CapEff", wanted.as_str()),
            ("CapPrm", &wanted),
            ("CapBnd", &wanted),
            ("CapInh", none),
            ("CapAmb", none),
            ("NoNewPrivs", "1"),
        ] {
            assert_eq!(status[name], value, "{name} {when} exec");
        }
    }
}

#[test]
fn leaves_the_bounding_set_without_cap_setpcap() {
    if !privileged() {
        return;
    }
    let bounding = lines(&fs::read_to_string(STATUS).unwrap())["CapBnd"].clone();
    let (text, after_exec) = in_child(|| {
        let setup = caps::drop(None, CapSet::Effective, Capability::CAP_SETPCAP);
        let kept = keep_only(&[Capability::CAP_BPF, Capability::CAP_SETPCAP]);
        format!("{setup:?} {kept:?} {:?}", has(Capability::CAP_SETPCAP))
    });
    assert_eq!(text, "Ok(()) Ok(Kept { bounding: false }) Ok(false)");
    assert_eq!(after_exec["CapBnd"], bounding);
    // uid 0 would get the whole bounding set back at exec, but for no_new_privs.
    let left = Capability::CAP_BPF.bitmask() | Capability::CAP_SETPCAP.bitmask();
    assert_eq!(after_exec["CapPrm"], format!("{left:016x}"));
}

/// A process of another user, ended with the test.
struct Stranger(Child);

impl Stranger {
    /// uid and gid of nobody on most systems; any but root's do.
    const ID: u32 = 65534;

    fn start() -> Self {
        let mut command = Command::new("cat");
        command
            .uid(Self::ID)
            .gid(Self::ID)
            .env("STRANGER", "1")
            .stdin(Stdio::piped());
        Self(command.spawn().unwrap())
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let ended = self.0.kill().and_then(|()| self.0.wait());
        assert!(ended.is_ok(), "{ended:?}");
    }
}

#[test]
fn the_capabilities_asked_for_are_the_ones_that_open_proc() {
    if !privileged() {
        return;
    }
    use Capability::{CAP_DAC_READ_SEARCH, CAP_SYS_PTRACE};
    let stranger = Stranger::start();
    let proc = Path::new("/proc").join(stranger.0.id().to_string());
    for (keep, exe, environ) in [
        (&[][..], false, false),
        (&[CAP_DAC_READ_SEARCH], false, false),
        (&[CAP_SYS_PTRACE], true, false),
        (&[CAP_SYS_PTRACE, CAP_DAC_READ_SEARCH], true, true),
    ] {
        let path = proc.clone();
        let (text, _) = in_child(move || {
            let kept = keep_only(keep).is_ok();
            let exe = File::open(path.join("exe")).is_ok();
            let environ = fs::read(path.join("environ")).is_ok_and(|environ| !environ.is_empty());
            format!("{kept} {exe} {environ}")
        });
        assert_eq!(text, format!("true {exe} {environ}"), "{keep:?}");
    }
}

#[test]
fn raises_the_limit_on_locked_memory_as_far_as_it_may() {
    const HARD: u64 = 1 << 20;
    let may = has(Capability::CAP_SYS_RESOURCE).unwrap();
    let (text, _) = in_child(|| {
        let low = libc::rlimit {
            rlim_cur: 1 << 16,
            rlim_max: HARD,
        };
        let setup = kernel::set_memlock(&low);
        let old = KernelRelease::parse("5.10.0").map(|kernel| raise_memlock(&kernel));
        let limit = kernel::memlock().map(|limit| limit.rlim_cur);
        format!("{setup:?} {old:?} {limit:?}")
    });
    let (raised, limit) = match may {
        true => (Memlock::Unlimited, libc::RLIM_INFINITY),
        false => (Memlock::HardLimit(HARD), HARD),
    };
    assert_eq!(text, format!("Ok(()) Some(Ok({raised:?})) Ok({limit})"));
    let new = KernelRelease::parse("5.11.0").unwrap();
    assert_eq!(raise_memlock(&new).unwrap(), Memlock::NotNeeded);
}
