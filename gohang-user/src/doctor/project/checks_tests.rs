use super::super::report::{FoundBy, GoTool, Module, ModuleMode};
use super::*;
use crate::golang::Gomaxprocs;

const MINUTE: u64 = 60_000_000_000;

/// A project with nothing to change.
fn sound() -> Project {
    Project {
        dir: "/x".into(),
        command: Vec::new(),
        go: Some(GoTool {
            path: "/go/bin/go".into(),
            found_by: FoundBy::Path,
            version: "go1.27.3".into(),
            goroot: "/go".into(),
        }),
        go_error: None,
        module: Module {
            mode: ModuleMode::Module,
            needs_modules: true,
            ..Module::default()
        },
        gotoolchain: "auto".into(),
        goflags: String::new(),
        godebug: None,
        gomaxprocs_variable: None,
        gomaxprocs: Some(Gomaxprocs {
            value: 2,
            because: Because::Quota,
            quota: QuotaUse::Heeded,
            updates: true,
        }),
        quota_cpus: Some(1.5),
        proxies: vec![proxy(Some(true))],
        test_timeout: TestTimeout {
            limit_ns: Some(5 * MINUTE),
            given_by: GivenBy::Command,
        },
        job_limit: Some(JobLimit {
            limit_ns: 10 * MINUTE,
            given_by: "--job-limit".into(),
        }),
        test_files: 3,
        servers: Vec::new(),
        findings: Vec::new(),
    }
}

fn proxy(reachable: Option<bool>) -> ProxyEntry {
    ProxyEntry {
        entry: "https://a.example".into(),
        through: None,
        reachable,
        error: (reachable == Some(false)).then(|| "refused".into()),
        took_ns: reachable.map(|_| 1_000_000),
        falls_through: false,
    }
}

/// The findings about a project whose `go.mod` and environment are these.
fn of(project: &Project, go_mod: &str, environ: &str) -> Vec<Finding> {
    let version = project
        .go
        .as_ref()
        .map(|go| GoVersion::parse(&go.version).expect("a version"));
    findings(
        project,
        &Facts {
            version: version.as_ref(),
            go_mod: &GoMod::parse(go_mod),
            environ: environ.as_bytes(),
            cached: &|name| name == "go1.99.9",
        },
    )
}

fn ids(findings: &[Finding]) -> Vec<&str> {
    findings.iter().map(|finding| &*finding.id).collect()
}

/// What one change of the sound project gives.
fn changed(change: impl FnOnce(&mut Project)) -> Vec<Finding> {
    let mut project = sound();
    change(&mut project);
    of(&project, "go 1.27", "")
}

#[test]
fn a_sound_project_has_nothing_to_change() {
    assert_eq!(
        of(&sound(), "go 1.27\ntoolchain go1.27.1", "GOMAXPROCS=2\0"),
        []
    );
}

#[test]
fn the_toolchain_that_is_asked_for() {
    let mut project = sound();
    for (mode, go_mod, want) in [
        ("auto", "go 1.28", Some("toolchain_fetched")),
        (
            "auto",
            "go 1.26\ntoolchain go1.28.0",
            Some("toolchain_fetched"),
        ),
        ("auto", "go 1.27.4", Some("toolchain_fetched")),
        ("auto", "go 1.27.3", None),
        ("auto", "go 1.27rc1\ntoolchain default", None),
        ("auto", "go 1.99.9", None),
        ("auto", "", None),
        ("local", "go 1.28", Some("toolchain_too_old")),
        // With local the toolchain line does not count.
        ("local", "go 1.26\ntoolchain go1.28.0", None),
    ] {
        project.gotoolchain = mode.into();
        let found = of(&project, go_mod, "");
        assert_eq!(ids(&found), Vec::from_iter(want), "{mode} {go_mod}");
    }
    let fetched = |mode: &str| {
        let mut project = sound();
        project.gotoolchain = mode.into();
        of(&project, "go 1.28.1", "")[0].what.clone()
    };
    assert!(fetched("auto").contains("go1.28.1") && fetched("auto").contains("GOPROXY"));
    assert!(fetched("go1.27.3+path").contains("along PATH"));
    // Before 1.21 there was no such rule.
    let mut old = sound();
    old.go.as_mut().expect("a go").version = "go1.20.6".into();
    assert_eq!(of(&old, "go 1.28", ""), []);
}

#[test]
fn proxies_that_do_not_answer() {
    let found = changed(|own| own.proxies[0] = proxy(Some(false)));
    assert_eq!(ids(&found), ["proxy_unreachable"]);
    assert_eq!(found[0].severity, crate::doctor::Severity::Warning);
    assert!(
        found[0].what.contains("refused") && found[0].what.contains("1.0 ms"),
        "{found:?}"
    );
    assert_eq!(changed(|own| own.proxies[0] = proxy(None)), []);
    // It is of no account where nothing has to be fetched.
    let found = changed(|own| {
        own.proxies[0] = proxy(Some(false));
        own.module.needs_modules = false;
    });
    assert_eq!(found[0].severity, crate::doctor::Severity::Info);
}

#[test]
fn preemption_that_is_turned_off() {
    let found = of(&sound(), "go 1.27", "GODEBUG=asyncpreemptoff=1\0");
    assert_eq!(ids(&found), ["async_preemption_off"]);
    assert_eq!(of(&sound(), "go 1.27", "GODEBUG=asyncpreemptoff=0\0"), []);
}

#[test]
fn more_threads_than_quota() {
    let with = |value: u32, quota: Option<f64>, used: QuotaUse| {
        changed(|own| {
            own.quota_cpus = quota;
            own.gomaxprocs = Some(Gomaxprocs {
                value,
                because: Because::Affinity,
                quota: used,
                updates: false,
            });
        })
    };
    let found = with(8, Some(1.5), QuotaUse::TooOld);
    assert_eq!(ids(&found), ["gomaxprocs_above_quota"]);
    assert_eq!(found[0].advice.as_deref(), Some("GOMAXPROCS=2"));
    assert!(found[0].what.contains("before 1.25"));
    assert!(
        with(8, Some(1.5), QuotaUse::Heeded)[0]
            .what
            .contains("above")
    );
    assert_eq!(with(8, None, QuotaUse::TooOld), []);
    assert_eq!(with(2, Some(0.5), QuotaUse::Heeded), []);
    assert_eq!(with(2, Some(2.0), QuotaUse::TooOld), []);
    assert_eq!(
        ids(&with(3, Some(2.0), QuotaUse::TooOld)),
        ["gomaxprocs_above_quota"]
    );
}

#[test]
fn timeouts_and_the_jobs_limit() {
    let with = |limit_ns: Option<u64>, given_by: GivenBy, job: Option<u64>| {
        let found = changed(|own| {
            own.test_timeout = TestTimeout { limit_ns, given_by };
            own.job_limit = job.map(|limit_ns| JobLimit {
                limit_ns,
                given_by: "CI_JOB_TIMEOUT".into(),
            });
        });
        ids(&found).first().map(|id| (*id).to_owned())
    };
    let (ten, hour) = (Some(10 * MINUTE), Some(60 * MINUTE));
    for (limit, given_by, job, want) in [
        (ten, GivenBy::Command, hour, None),
        (ten, GivenBy::Default, hour, None),
        (ten, GivenBy::Command, None, None),
        (ten, GivenBy::Default, None, Some("default_test_timeout")),
        (ten, GivenBy::Default, ten, Some("test_timeout_beyond_job")),
        (hour, GivenBy::Goflags, ten, Some("test_timeout_beyond_job")),
        (None, GivenBy::Command, hour, Some("no_test_timeout")),
        (None, GivenBy::Default, None, Some("no_test_timeout")),
        (None, GivenBy::Unknown, ten, None),
    ] {
        assert_eq!(
            with(limit, given_by, job).as_deref(),
            want,
            "{limit:?} {given_by:?} {job:?}"
        );
    }
}

#[test]
fn servers_are_named_up_to_a_number() {
    let server = |line: u32| TestServer {
        file: "a_test.go".into(),
        line,
        call: "http.ListenAndServe".into(),
        address: ":8080".into(),
    };
    let found = changed(|own| own.servers = (1..=7).map(server).collect());
    assert_eq!(ids(&found), ["test_server_on_fixed_port"]);
    let text = &found[0].what;
    assert!(
        text.contains("a_test.go:5 http.ListenAndServe(:8080), 2 more"),
        "{text}"
    );
    assert!(!text.contains("a_test.go:6"));
}

#[test]
fn without_go_the_rest_is_told() {
    let found = changed(|own| {
        own.go = None;
        own.go_error = Some("no go along PATH".into());
        own.test_timeout.limit_ns = None;
    });
    assert_eq!(ids(&found), ["no_go", "no_test_timeout"]);
}
