//! Evidence kept, and read back.

use std::path::Path;

use super::*;
use crate::bundle;
use crate::run::evidence::{
    DumpText, EndedTest, Fetched, GoFacts, Process, RunningTest, Step, StepOutcome, TestOutcome,
};
use crate::run::explain::explain;

fn evidence() -> Evidence {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/dumps");
    let mut evidence = Evidence {
        command: ["/usr/bin/go", "test", "--token", "hunter2"]
            .map(str::to_owned)
            .to_vec(),
        host: "build-7".into(),
        decided_ns: 40_000_000_000,
        ..Evidence::default()
    };
    evidence.started.wall_ns = 1_700_000_000_000_000_000;
    evidence.dumps = vec![DumpText {
        package: "example.com/hang".into(),
        text: std::fs::read_to_string(folder.join("go1.27.3-timeout.txt")).unwrap(),
        ..DumpText::default()
    }];
    evidence.tests.running = vec![RunningTest {
        package: "example.com/hang".into(),
        test: "TestHang<&>\u{1b}".into(),
        ran_ns: 31_500_000_000,
        paused: false,
    }];
    let ended = |package: &str, test: &str, outcome| EndedTest {
        package: package.into(),
        test: test.into(),
        outcome,
        took_ns: Some(250_000_000),
        output: match outcome {
            TestOutcome::Failed => "a_test.go:5: on build-7\n".into(),
            _ => String::new(),
        },
    };
    evidence.tests.ended = vec![
        ended("example.com/hang", "TestFine", TestOutcome::Passed),
        ended("example.com/hang", "TestBad", TestOutcome::Failed),
        ended("example.com/hang", "TestNot", TestOutcome::Skipped),
        ended("example.com/hang", "", TestOutcome::Failed),
        ended("example.com/other", "", TestOutcome::Passed),
    ];
    evidence.tests.ended_total = 5;
    evidence.processes = vec![Process {
        pid: 7,
        comm: "hang.test".into(),
        leaf: true,
        go: Some(GoFacts {
            version: "go1.27.3".into(),
            answers_quit: true,
            ..GoFacts::default()
        }),
        environment: [
            (
                "GOPROXY".to_owned(),
                "https://me:pw99@proxy.corp/x".to_owned(),
            ),
            (
                "HTTPS_PROXY".to_owned(),
                "http://inner.corp:3128".to_owned(),
            ),
        ]
        .into(),
        ..Process::default()
    }];
    evidence.place.files = vec![
        ("/cpu/gohang-run-1/cpu.stat".into(), "nr_periods 7\n".into()),
        (
            format!("/{}/memory.max", "very-long-name/".repeat(12)),
            "max\n".into(),
        ),
    ];
    evidence.steps = vec![Step {
        outcome: StepOutcome::Failed,
        detail: "denied".into(),
        ..Step::default()
    }];
    evidence.fetched = vec![Fetched {
        pid: 7,
        url: "http://127.0.0.1:6060/debug/flight".into(),
        body: b"go 1.25 trace\0\xff s3cr3t-value".to_vec(),
        ..Fetched::default()
    }];
    evidence.tail.text = "on build-7: Authorization: Bearer abc.def.ghi\ndone\n".into();
    evidence
}

fn options(folder: &Path) -> KeepOptions {
    KeepOptions {
        folder: Some(folder.to_owned()),
        size_cap_bytes: 1 << 20,
        environment: vec![("CI_TOKEN".into(), "s3cr3t-value".into())],
        ..KeepOptions::default()
    }
}

#[test]
fn a_hang_is_kept_and_read_back() {
    let folder = tempfile::tempdir().unwrap();
    let mut bundler = Bundler::new(options(folder.path()));
    let evidence = evidence();
    // Before the goroutines are known.
    let mut early = evidence.clone();
    early.dumps.clear();
    let judged = bundler.judge(&early).unwrap();
    let path = judged.verdict.unwrap();
    assert_eq!(
        path.file_name().unwrap(),
        "gohang-go-test-20231114T221400Z-VERDICT.md"
    );
    assert!(
        std::fs::read_to_string(&path)
            .unwrap()
            .contains("not known yet")
    );
    let judged = bundler.judge(&evidence).unwrap();
    assert_eq!(judged.verdict.as_deref(), Some(&*path));
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.starts_with("verdict: deadlock (channel), certain: "),
        "{text}"
    );
    let kept = bundler.keep(&evidence).unwrap();
    let bundle = bundle::read(&kept.bundle.unwrap()).unwrap();
    assert!(bundle.is_whole(), "{:?}", bundle.problems);
    let names: Vec<&str> = bundle.members.keys().map(String::as_str).collect();
    for name in [
        "VERDICT.md",
        "verdict.json",
        "manifest.json",
        "goroutines.txt",
        "dumps/0-hang.txt",
        "timeline.json",
        "output.txt",
        "tests.txt",
        "proc/7.json",
        "cgroup/cpu/gohang-run-1/cpu.stat",
        "cgroup/1-memory.max",
        "fetched/7-127.0.0.1_6060/debug/flight",
        "evidence.json",
    ] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    assert_eq!(bundle.member("VERDICT.md").unwrap(), text.as_bytes());
    let opened = open(&bundle);
    assert_eq!(opened.verdict, Some(explain(&evidence)));
    assert_eq!(
        (opened.go.as_slice(), opened.collectors.len()),
        (&["go1.27.3".to_owned()][..], 1)
    );
    let text = open_text(&bundle, &opened);
    assert!(
        text.contains("flush failed in 0 ns: denied") && !text.contains('\u{1b}'),
        "{text}"
    );
    // Nothing but the two is left.
    assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
}

#[test]
fn what_is_redacted_is_nowhere_in_it() {
    let folder = tempfile::tempdir().unwrap();
    let mut evidence = evidence();
    evidence.tail.text.push_str("token is s3cr3t-value\n");
    let mut options = options(folder.path());
    options.redact = true;
    let mut bundler = Bundler::new(options);
    let judged = bundler.judge(&evidence).unwrap();
    let kept = bundler.keep(&evidence).unwrap();
    let bundle = bundle::read(&kept.bundle.unwrap()).unwrap();
    let mut texts: Vec<String> = bundle
        .members
        .values()
        .map(|content| String::from_utf8_lossy(content).into_owned())
        .collect();
    texts.extend(judged.lines);
    texts.push(std::fs::read_to_string(judged.verdict.unwrap()).unwrap());
    for secret in [
        "s3cr3t-value",
        "hunter2",
        "pw99",
        "abc.def.ghi",
        "build-7",
        "proxy.corp",
        "inner.corp",
    ] {
        for text in &texts {
            assert!(!text.contains(secret), "{secret} in {text}");
        }
    }
    assert!(bundle.manifest.as_ref().unwrap().redacted);
    let lacking = String::from_utf8_lossy(bundle.member("verdict.json").unwrap());
    assert!(lacking.contains("it is not redacted"), "{lacking}");
    let goroutines = String::from_utf8_lossy(bundle.member("goroutines.txt").unwrap());
    assert!(goroutines.contains("example.com/hang.wait"), "{goroutines}");
}

#[test]
fn a_folder_that_cannot_be_written_to_leaves_the_verdict() {
    let folder = tempfile::tempdir().unwrap();
    let mut options = options(&folder.path().join("none"));
    options.junit = Some(folder.path().join("also/none.xml"));
    let mut bundler = Bundler::new(options);
    for judged in [bundler.judge(&evidence()), bundler.keep(&evidence())] {
        let judged = judged.unwrap();
        assert!(
            judged.lines[0].starts_with("verdict: deadlock"),
            "{judged:?}"
        );
        let warned = judged
            .lines
            .iter()
            .any(|line| line.contains("--bundle-dir"));
        assert!(
            warned && judged.verdict.is_none() && judged.bundle.is_none(),
            "{judged:?}"
        );
    }
}

#[test]
fn test_results_keep_what_has_ended() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("junit.xml");
    let mut bundler = Bundler::new(KeepOptions {
        junit: Some(path.clone()),
        ..KeepOptions::default()
    });
    let evidence = evidence();
    bundler.keep(&evidence).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(
        text.contains("<testsuites tests=\"5\" failures=\"1\" errors=\"1\">"),
        "{text}"
    );
    assert!(
        text.contains("name=\"TestFine\" time=\"0.250\"/>"),
        "{text}"
    );
    let hung = "name=\"TestHang&lt;&amp;&gt;\\x1b\" time=\"31.500\">";
    assert!(text.contains(hung), "{text}");
    assert!(
        text.contains("<error type=\"hang\" message=\"verdict: deadlock"),
        "{text}"
    );
    // It is XML: every element is closed.
    let mut reader = quick_xml::Reader::from_str(&text);
    let mut elements = 0;
    loop {
        match reader.read_event().unwrap() {
            quick_xml::events::Event::Eof => break,
            quick_xml::events::Event::Start(_) | quick_xml::events::Event::Empty(_) => {
                elements += 1
            }
            _ => {}
        }
    }
    assert_eq!(elements, 1 + 2 + 5 + 3);
    // One that ended by itself has no errors.
    bundler.ended(&evidence.tests).unwrap();
    let text = std::fs::read_to_string(&path).unwrap();
    assert!(!text.contains("<error"), "{text}");
}

#[test]
fn github_gets_one_error_a_test_within_its_limits() {
    let folder = tempfile::tempdir().unwrap();
    let summary = folder.path().join("summary");
    let github = GitHub {
        summary: Some(summary.clone()),
    };
    let mut evidence = evidence();
    let one = evidence.tests.running[0].clone();
    evidence.tests.running = vec![one; 30];
    let verdict = explain(&evidence);
    let text = github.annotations(&verdict);
    assert_eq!(text.lines().count(), 10);
    assert!(
        text.lines()
            .all(|line| line.starts_with("::error title=TestHang"))
    );
    assert!(text.contains("%0Anext: "), "{text}");
    github.summarize(&verdict).unwrap();
    std::fs::write(&summary, vec![b'x'; (1 << 20) - 300]).unwrap();
    github.summarize(&verdict).unwrap();
    let size = std::fs::metadata(&summary).unwrap().len();
    assert!((1 << 20) - 300 < size && size <= 1 << 20, "{size}");
}

#[test]
fn two_bundles_are_compared() {
    let folder = tempfile::tempdir().unwrap();
    let keep = |evidence: &Evidence| {
        let kept = Bundler::new(options(folder.path())).keep(evidence).unwrap();
        bundle::read(&kept.bundle.unwrap()).unwrap()
    };
    let a = keep(&evidence());
    let mut evidence = evidence();
    let same = diff(&a, &keep(&evidence));
    assert_eq!((same.same_hang, same.fields.len()), (Some(true), 0));
    evidence.dumps[0].text = evidence.dumps[0].text.replace("hang.wait", "hang.other");
    evidence.kernel = "6.12".into();
    let other = diff(&a, &keep(&evidence));
    assert_eq!(other.same_hang, Some(false));
    let names: Vec<&str> = other
        .fields
        .iter()
        .map(|field| field.name.as_str())
        .collect();
    assert_eq!(names, ["summary", "kernel"]);
    assert_eq!(other.goroutines.len(), 2);
    let text = diff_text(&other);
    assert!(
        text.starts_with("not the same hang (")
            && text.contains("chan receive at example.com/hang.other"),
        "{text}"
    );
}
