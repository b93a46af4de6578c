//! Results of a `go test` for CI systems.

use anyhow::{Result, ensure};

use super::go_test::Package;
use crate::go::VERSIONS;
use crate::run::{Report, Settings, Test};

/// The package with the tests.
const SOURCES: [(&str, &str); 2] = [
    ("go.mod", include_str!("../../../workloads/results/go.mod")),
    (
        "results_test.go",
        include_str!("../../../workloads/results/results_test.go"),
    ),
];
/// What its tests print, as XML has it.
const FAILED: &str = "a ]]&gt; &lt;b&gt; &amp;amp; \\x02red\\x00\u{fffd}\n";
const PART: &str = ": why\n</failure>";
const SKIPPED: &str = ": needs a &quot;root&quot;\"/>";

/// The tests of this file.
pub fn tests() -> Vec<Test> {
    vec![Test {
        name: "run::junit",
        body: junit,
    }]
}

/// Tests that end have what they printed, the one that hangs has the verdict, in every form of
/// output that tells of tests.
fn junit(settings: &Settings, report: &mut Report) -> Result<()> {
    let package = Package::of(settings, VERSIONS[2], &SOURCES)?;
    let folder = tempfile::tempdir()?;
    let file = folder.path().join("junit.xml");
    let file = file.to_string_lossy();
    let hung = (
        "<testsuites tests=\"5\" failures=\"2\" errors=\"1\">",
        &[
            "<error type=\"hang\" message=\"verdict: deadlock",
            "chan receive",
            "<system-out>so far\n</system-out>",
        ][..],
    );
    let ended = (
        "<testsuites tests=\"5\" failures=\"2\" errors=\"0\">",
        &["name=\"TestHangs\" time=\"0.000\"/>"][..],
    );
    let mut forms = vec![
        ("-json", "1", 124, hung),
        ("-v", "", 1, ended),
        ("-json", "", 1, ended),
    ];
    if settings.full {
        forms.push(("-v", "1", 124, hung));
    }
    for (form, hang, code, (counts, more)) in forms {
        let options = ["--junit", &file, "--idle-timeout", "3s"];
        let end = package.test(settings, &options, &[form], hang)?;
        ensure!(
            end.status.code() == Some(code),
            "{}: {}",
            end.status,
            end.stderr_line()
        );
        let text = std::fs::read_to_string(&*file)?;
        report.note(format!("{form} {hang}: {} bytes", text.len()));
        let own = "<testcase classname=\"";
        ensure!(text.matches(own).count() == 5, "{text}");
        let want = [counts, FAILED, PART, SKIPPED];
        for words in want.iter().copied().chain(more.iter().copied()) {
            ensure!(text.contains(words), "{form}: no {words:?}: {text}");
        }
        ensure!(!text.contains("of no interest"), "{text}");
        std::fs::remove_file(&*file)?;
    }
    Ok(())
}
