use super::*;

const OUTPUT: &str = "test a ... ok (1.0 s)\ntest b ... skipped: no fprobe\n\
                      1 passed, 0 failed, 1 skipped\n";

fn image() -> Image {
    Image {
        kernel: kernels::KERNELS[0],
        vmlinuz: PathBuf::new(),
        package: "p 1".into(),
    }
}

fn results(output: &str, status: Option<i32>) -> Results {
    Results {
        output: output.into(),
        status,
        problem: status.is_none().then(|| "it handed nothing back".into()),
        hung: false,
        booted_again: None,
        took: Duration::ZERO,
        folder: PathBuf::new(),
    }
}

fn row(kernel: &str, name: &str) -> Row {
    Row {
        kernel: kernel.into(),
        skip: Skip {
            name: name.into(),
            reason: "no fprobe".into(),
        },
    }
}

fn problems(output: &str, status: Option<i32>, tests: &[&str], rows: &[Row]) -> Vec<String> {
    let tests: Vec<String> = tests.iter().map(|name| (*name).to_owned()).collect();
    judge(&image(), &results(output, status), &tests, rows).problems
}

#[test]
fn expected_results_are_no_problem() {
    // Other kernels' rows, and rows of tests that were not to run, say nothing here.
    let rows = [row("5.10", "b"), row("6.1", "a"), row("5.10", "c")];
    assert!(problems(OUTPUT, Some(0), &["a", "b"], &rows).is_empty());
}

#[test]
fn skips_are_compared_both_ways() {
    let unexpected = problems(OUTPUT, Some(0), &["a", "b"], &[]);
    assert_eq!(unexpected, ["unexpected skip: b: no fprobe"]);
    let rows = [row("5.10", "a"), row("5.10", "b")];
    let missing = problems(OUTPUT, Some(0), &["a", "b"], &rows);
    assert_eq!(missing, ["expected skip did not happen: a: no fprobe"]);
}

#[test]
fn exit_status_and_tests_must_agree() {
    let rows = [row("5.10", "b")];
    let status = problems(OUTPUT, Some(101), &["a", "b"], &rows);
    assert!(status[0].contains("101"), "{status:?}");
    assert_eq!(
        problems(OUTPUT, None, &["a", "b"], &rows),
        ["it handed nothing back"]
    );
    let lost = problems("test a ... ok\n", Some(0), &["a"], &[]);
    assert!(lost[0].contains("last line"), "{lost:?}");
}

#[test]
fn a_machine_without_tests_is_not_asked_for_their_sum() {
    assert!(problems("", Some(0), &[], &[]).is_empty());
    assert_eq!(problems("", None, &[], &[]).len(), 1);
}

#[test]
fn the_short_form_has_its_time() {
    let (two, long) = (NonZeroUsize::new(2), SHORT_LIMIT + Duration::from_secs(1));
    assert!(overtime(true, two, long).is_some());
    assert!(overtime(true, two, SHORT_LIMIT).is_none());
    assert!(overtime(true, NonZeroUsize::new(1), long).is_none());
    assert!(overtime(false, two, long).is_none());
}

#[test]
fn what_was_to_run_is_what_ran() {
    let rows = [row("5.10", "b")];
    let both = problems(OUTPUT, Some(0), &["b", "c"], &rows);
    assert_eq!(both, ["c did not run", "a ran unasked"]);
}
