//! `gohang replay` of a recording of a real run.
//!
//! `data/stall.rec` is 1.5 s of four spinning goroutines in a group with 20 ms
//! in 100 ms, `data/stall.json` the report of the same run. A change of the
//! records' ABI or of the recording's format needs new ones, as root:
//!
//! ```sh
//! G=/sys/fs/cgroup/cpu/gohang-recorded; mkdir $G
//! echo 100000 > $G/cpu.cfs_period_us; echo 20000 > $G/cpu.cfs_quota_us
//! cp target/go/workloads/stall-1.24.11-stripped /tmp/stall
//! (echo $BASHPID > $G/cgroup.procs; exec /tmp/stall spin 4) & P=$!; sleep 0.5
//! target/release/gohang trace -p $P -d 1500ms -o json \
//!     --record gohang-user/tests/data/stall.rec > gohang-user/tests/data/stall.json
//! wait; rmdir $G
//! ```

use std::path::{Path, PathBuf};
use std::process::Command;

use gohang::source::recording::{FRAME_HEADER, HEADER};
use gohang::source::{Ending, Recorded, Source as _};
use serde_json::Value;

fn data(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/data")
        .join(name)
}

fn recording() -> Vec<u8> {
    std::fs::read(data("stall.rec")).expect("committed")
}

/// The report of the run.
fn live() -> Value {
    document(&std::fs::read_to_string(data("stall.json")).expect("committed"))
}

/// Records of the run, and how many of them are delivered episodes of its one process; the
/// others are requests to yield and stops of the world.
fn records() -> (u64, u64) {
    let live = live();
    let number = |at: &str| live.pointer(at).and_then(Value::as_u64).expect("a number");
    let seen = number("/loss/seen");
    let episodes = number("/processes/0/delivery/count");
    assert!(episodes > 5, "the run has too little in it");
    assert!(seen > episodes, "it has no chain in it");
    (seen, episodes)
}

/// Exit code, stdout and stderr.
fn replay(file: &Path, more: &[&str]) -> (i32, String, String) {
    let output = Command::new(env!("CARGO_BIN_EXE_gohang"))
        .arg("replay")
        .arg(file)
        .args(more)
        .output()
        .expect("gohang runs");
    let text = |bytes| String::from_utf8(bytes).expect("UTF-8");
    (
        output.status.code().expect("not killed"),
        text(output.stdout),
        text(output.stderr),
    )
}

/// A file with these bytes, until dropped.
fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().expect("a file");
    std::fs::write(file.path(), bytes).expect("written");
    file
}

fn document(text: &str) -> Value {
    let mut document: Value = serde_json::from_str(text).expect("one JSON document");
    // The replaying gohang's, which may be a later one.
    document["gohang_version"].take();
    document
}

#[test]
fn the_report_is_that_of_the_run() {
    let (code, stdout, stderr) = replay(&data("stall.rec"), &["-o", "json"]);
    assert_eq!(code, 0, "{stderr}");
    assert_eq!(document(&stdout), live());
    assert!(
        stderr.contains(&format!("loss: seen {} =", records().0)),
        "{stderr}"
    );
}

#[test]
fn other_forms_and_thresholds_are_those_of_the_replay() {
    let (code, stdout, stderr) = replay(
        &data("stall.rec"),
        &["-o", "jsonl", "--events", "--threshold", "1us"],
    );
    assert_eq!(code, 0, "{stderr}");
    let lines: Vec<Value> = stdout
        .lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    let of = |kind: &str| lines.iter().filter(|line| line["type"] == kind).count();
    let (seen, episodes) = records();
    assert_eq!((of("episode") as u64, of("end")), (episodes, 1));
    let chain = of("request") + of("stop");
    assert_eq!(chain as u64, seen - episodes);
    assert!(of("alert") > 0);
    for line in lines.iter().filter(|line| line["type"] == "episode") {
        assert_eq!(line["cgroup"], "/gohang-recorded");
    }
    let (code, stdout, stderr) = replay(&data("stall.rec"), &["--by", "thread"]);
    assert_eq!(code, 0, "{stderr}");
    for word in ["stall (pid", "go1.24.11", "quota 0.20 CPU", "thread"] {
        assert!(stdout.contains(word), "{word}: {stdout}");
    }
    let folder = tempfile::tempdir().expect("a folder");
    let out = folder.path().join("report");
    let (code, stdout, _) = replay(
        &data("stall.rec"),
        &["-o", "json", "--out", out.to_str().expect("UTF-8")],
    );
    assert_eq!((code, stdout.as_str()), (0, ""));
    assert!(std::fs::metadata(&out).expect("written").len() > 1000);
}

/// Exit code 2, one line that has all of the words, nothing on stdout.
fn refused(file: &Path, words: &[&str]) {
    let (code, stdout, stderr) = replay(file, &["-o", "json"]);
    assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
    for word in words {
        assert!(stderr.contains(word), "{word}: {stderr}");
    }
}

#[test]
fn what_is_no_recording_of_this_version_is_refused_with_advice() {
    let foreign = ["is not a recording", "trace --record"];
    refused(&data("stall.json"), &foreign);
    refused(file(b"").path(), &foreign);
    refused(file(&[0; 4096]).path(), &foreign);
    refused(&data("absent.rec"), &["absent.rec", "No such file"]);
    refused(&data(""), &["cannot be read", "directory"]);
    let mut bytes = recording();
    bytes[8] ^= 0x40;
    refused(
        file(&bytes).path(),
        &["has format", "the gohang that recorded it"],
    );
    bytes[8] ^= 0x40;
    bytes[10] ^= 0x40;
    refused(
        file(&bytes).path(),
        &["have ABI", "the gohang that recorded it"],
    );
}

/// Ends of all frames, the header's first.
fn ends(bytes: &[u8]) -> Vec<usize> {
    let mut ends = vec![HEADER];
    let mut at = HEADER;
    while at < bytes.len() {
        let length: [u8; 4] = bytes[at..at + 4].try_into().expect("4 bytes");
        at += FRAME_HEADER + u32::from_ne_bytes(length) as usize;
        ends.push(at);
    }
    assert_eq!(at, bytes.len(), "the recording is whole");
    ends
}

#[test]
fn truncated_at_any_byte_it_is_read_to_its_last_whole_frame() {
    let bytes = recording();
    let ends = ends(&bytes);
    for cut in 0..bytes.len() {
        let opened = Recorded::open(&bytes[..cut]);
        if cut < ends[1] {
            assert!(opened.is_err(), "{cut}");
            continue;
        }
        let mut source = opened.expect("it begins");
        let mut items = Vec::new();
        while source.ending().is_none() {
            source.drain(&mut items).expect("a slice can be read");
        }
        let last = ends.iter().rfind(|end| **end <= cut).expect("the header's");
        assert_eq!(source.ending(), Some(&Ending::Cut { at: *last as u64 }));
    }
}

#[test]
fn of_a_truncated_one_there_is_a_report_and_an_error() {
    let bytes = recording();
    let ends = ends(&bytes);
    for cut in [1, 8, HEADER - 1, HEADER, HEADER + 3, ends[1] - 1] {
        refused(file(&bytes[..cut]).path(), &["record"]);
    }
    for cut in [
        ends[1],
        ends[1] + 1,
        ends[5] + 7,
        bytes.len() / 2,
        ends[ends.len() - 2],
        bytes.len() - 1,
    ] {
        let (code, stdout, stderr) = replay(file(&bytes[..cut]).path(), &["-o", "json"]);
        assert_eq!(code, 1, "{cut}: {stderr}");
        let last = ends.iter().rfind(|end| **end <= cut).expect("the header's");
        for word in ["not whole", &format!("at byte {last};"), "record again"] {
            assert!(stderr.contains(word), "{word}: {stderr}");
        }
        assert!(!stderr.contains("please report"), "{stderr}");
        assert_eq!(document(&stdout)["kernel"], live()["kernel"]);
    }
    // The totals of the first second are in the middle: cut after them, there
    // are figures.
    let (_, stdout, stderr) = replay(file(&bytes[..bytes.len() - 1]).path(), &["-o", "json"]);
    assert!(stderr.contains("those of the first 1."), "{stderr}");
    let report = document(&stdout);
    let count = report["processes"][0]["delivery"]["count"].as_u64();
    assert!(count > Some(0) && count < Some(records().1), "{count:?}");
    assert_eq!(report["processes"][0]["limit"]["owner"], "/gohang-recorded");
}

#[test]
fn a_damaged_one_says_where() {
    let mut bytes = recording();
    let at = ends(&bytes)[6];
    bytes[at + 4] = 0xee;
    let (code, stdout, stderr) = replay(file(&bytes).path(), &[]);
    assert_eq!(code, 1, "{stderr}");
    assert!(
        stderr.contains(&format!("damaged at byte {at} (no frame has kind 238)")),
        "{stderr}"
    );
    assert!(stdout.contains("stall (pid"), "{stdout}");
}

/// What a gate's entry in the document says.
fn gates(stdout: &str) -> Vec<(bool, u64, Value)> {
    document(stdout)["gates"]
        .as_array()
        .expect("a list")
        .iter()
        .map(|gate| {
            (
                gate["failed"].as_bool().expect("a bool"),
                gate["checked"].as_u64().expect("a number"),
                gate["violations"].clone(),
            )
        })
        .collect()
}

#[test]
fn gates_decide_the_exit_code_and_are_told() {
    let live = live();
    let process = &live["processes"][0];
    let p99 = process["delivery"]["p99_ns"].as_u64().expect("a number");
    let stalls = process["stall"]["count"].as_u64().expect("a number");
    assert!(stalls > 0 && p99 > 1000);
    let rec = data("stall.rec");
    // None of them fails: at its very limit, a figure is not beyond it.
    let equal = format!("delivery.p99>{p99}ns");
    let fine = ["-o", "json", "--fail-on", &equal, "--fail-on", "masked"];
    let (code, stdout, stderr) = replay(&rec, &fine);
    assert_eq!(code, 0, "{stderr}");
    assert!(!stderr.contains("gate"), "{stderr}");
    assert_eq!(
        gates(&stdout),
        vec![(false, 1, Value::Array(vec![])); 2],
        "{stdout}"
    );
    // Three of four fail; all of the report is there.
    let below = format!("delivery.p99>={p99}ns");
    let failing = [
        "-o",
        "json",
        "--threshold",
        "1us",
        "--fail-on",
        &below,
        "--fail-on",
        "slow-delivery:warning",
        "--fail-on",
        "stall.count<1",
        "--fail-on",
        "stall.share>1%",
    ];
    let (code, stdout, stderr) = replay(&rec, &failing);
    assert_eq!(code, 1, "{stderr}");
    let got = gates(&stdout);
    let failed: Vec<bool> = got.iter().map(|gate| gate.0).collect();
    assert_eq!(failed, [true, true, false, true]);
    assert_eq!(got[0].2[0]["value_ns"], p99);
    assert_eq!(got[0].2[0]["pid"], process["pid"]);
    assert_eq!(got[1].2[0]["severity"], "warning");
    assert_eq!(document(&stdout)["processes"], live["processes"]);
    let lines: Vec<&str> = stderr
        .lines()
        .filter(|line| line.starts_with("gohang: gate failed: "))
        .collect();
    assert_eq!(lines.len(), 3, "{stderr}");
    let pid = process["pid"].to_string();
    for (line, expr) in
        lines
            .iter()
            .zip([below.as_str(), "slow-delivery:warning", "stall.share>1%"])
    {
        assert!(
            line.contains(&format!("{expr}: process {pid} (stall) ")),
            "{line}"
        );
    }
    // Whatever the form.
    for form in ["text", "jsonl"] {
        let (code, _, stderr) = replay(&rec, &["-o", form, "--fail-on", "stall.count>0"]);
        assert_eq!(code, 1, "{stderr}");
        assert!(
            stderr.contains(&format!("(stall) has {stalls}\n")),
            "{stderr}"
        );
    }
}

#[test]
fn a_gate_that_makes_no_sense_is_wrong_usage() {
    for (expr, word) in [
        ("nonsense", "slow-delivery"),
        ("delivery.p98>1ms", "delivery.{"),
        ("delivery.p99>5", "with its unit"),
    ] {
        let (code, stdout, stderr) = replay(&data("stall.rec"), &["--fail-on", expr]);
        assert_eq!((code, stdout.as_str()), (2, ""), "{stderr}");
        assert!(stderr.contains(word) && stderr.contains(expr), "{stderr}");
    }
}
