//! What a machine hands back: the verifier's own words on each program, by form.

use std::collections::BTreeMap;

/// What the verifier said of a program.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Figures {
    /// Instructions that it processed, each as often as it came by.
    pub instructions: u64,
    /// States that it kept to compare with later ones.
    pub total_states: u64,
    /// Most states at a time.
    pub peak_states: u64,
    /// Most states of one instruction.
    pub most_states: u64,
    /// How long it took, µs of the machine's clock.
    pub time_us: u64,
    /// Bytes of stack: one number for the program and for each function in it, or the most
    /// that they take together.
    pub stack: String,
}

/// Programs by name.
pub type Programs = BTreeMap<String, Figures>;

/// One start of gohang.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Run {
    /// The form that was asked for.
    pub form: String,
    /// Its exit status; none if the machine did not get to its end.
    pub status: Option<i32>,
    /// What it loaded.
    pub programs: Programs,
    /// What it printed to stderr.
    pub said: Vec<String>,
}

/// Reads lines `form NAME`, each followed by lines `program NAME` with the verifier's own
/// after a tab, `exit STATUS`, and `said TEXT`.
///
/// # Errors
/// A line is none of these or not in its place, a program has no figures, or other ones
/// than when it was loaded before.
pub fn parse(text: &str) -> Result<Vec<Run>, String> {
    let mut runs: Vec<Run> = Vec::new();
    let mut lines = text.lines().peekable();
    while let Some(line) = lines.next() {
        let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
        if word == "form" {
            runs.push(Run {
                form: rest.to_owned(),
                status: None,
                programs: Programs::new(),
                said: Vec::new(),
            });
            continue;
        }
        let run = runs
            .last_mut()
            .ok_or_else(|| format!("before any form: {line:?}"))?;
        match word {
            "program" => {
                let mut log = Vec::new();
                while let Some(said) = lines.next_if(|line| line.starts_with('\t')) {
                    log.push(&said[1..]);
                }
                let figures =
                    figures(&log).map_err(|err| format!("{}, {rest}: {err}", run.form))?;
                let figures_before = run.programs.insert(rest.to_owned(), figures.clone());
                if figures_before.is_some_and(|before| !before.is_same_work(&figures)) {
                    return Err(format!(
                        "{}, {rest}: loaded twice, and not the same",
                        run.form
                    ));
                }
            }
            "exit" => {
                let status = rest.parse();
                run.status = Some(status.map_err(|_| format!("no exit status: {line:?}"))?);
            }
            "said" => run.said.push(rest.to_owned()),
            _ => return Err(format!("not understood: {line:?}")),
        }
    }
    Ok(runs)
}

impl Figures {
    /// Whether the verifier did the same, in whatever time.
    fn is_same_work(&self, other: &Self) -> bool {
        let timeless = |figures: &Self| Self {
            time_us: 0,
            ..figures.clone()
        };
        timeless(self) == timeless(other)
    }
}

/// Figures from the verifier's lines (`print_verification_stats`, kernel/bpf/verifier.c);
/// lines that are not of the statistics are passed over.
fn figures(log: &[&str]) -> Result<Figures, String> {
    let rest = |start: &str| log.iter().find_map(|line| line.strip_prefix(start));
    let sums = rest("processed ").ok_or_else(|| format!("no instructions in {log:?}"))?;
    let words: Vec<&str> = sums.split_whitespace().collect();
    let number = |text: Option<&&str>| text.and_then(|text| text.parse::<u64>().ok());
    let after = |name: &str| {
        let at = words.iter().position(|word| *word == name);
        let value = number(at.and_then(|at| words.get(at + 1)));
        value.ok_or_else(|| format!("no {name} in {sums:?}"))
    };
    let time = rest("verification time ").and_then(|rest| rest.strip_suffix(" usec"));
    let instructions = number(words.first()).filter(|_| words.get(1) == Some(&"insns"));
    Ok(Figures {
        instructions: instructions.ok_or_else(|| format!("no instructions in {sums:?}"))?,
        total_states: after("total_states")?,
        peak_states: after("peak_states")?,
        most_states: after("max_states_per_insn")?,
        time_us: number(time.as_ref()).ok_or_else(|| format!("no time in {log:?}"))?,
        stack: rest("stack depth ")
            .ok_or_else(|| format!("no stack depth in {log:?}"))?
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const PROGRAM: &str = "\
program sched_waking
\tverification time 5210 usec
\tstack depth 216+0+16
\tprocessed 4801 insns (limit 1000000) max_states_per_insn 4 total_states 311 peak_states 190 mark_read 61
";

    fn waking() -> Figures {
        Figures {
            instructions: 4801,
            total_states: 311,
            peak_states: 190,
            most_states: 4,
            time_us: 5210,
            stack: "216+0+16".into(),
        }
    }

    #[test]
    fn runs_have_programs_a_status_and_words() {
        let text = format!("form a\n{PROGRAM}exit 0\nform b\nexit 3\nsaid error: no such step\n");
        let runs = parse(&text).expect("valid");
        let [a, b] = &runs[..] else {
            panic!("two runs: {runs:?}");
        };
        assert_eq!((a.form.as_str(), a.status), ("a", Some(0)));
        assert_eq!(
            a.programs,
            Programs::from([("sched_waking".into(), waking())])
        );
        assert_eq!((b.form.as_str(), b.status), ("b", Some(3)));
        assert_eq!(b.said, ["error: no such step"]);
        assert!(b.programs.is_empty());
    }

    #[test]
    fn other_words_of_the_verifier_are_passed_over() {
        let log = "\tfunc 'x' arg0 has btf_id 7 type STRUCT 'task_struct'\n\tverification";
        let text = PROGRAM.replacen("\tverification", log, 1);
        let runs = parse(&format!("form a\n{text}")).expect("valid");
        assert_eq!(runs[0].programs["sched_waking"], waking());
        assert_eq!(runs[0].status, None, "it did not end");
    }

    /// A kernel that counts by function too.
    #[test]
    fn newer_kernels_say_more() {
        let log = "\
program sched_waking
\tverification time 5210 usec
\tstack depth max 232
\tsubprog 0 (sched_waking) main insns_self 36 insns_total 4801 stack 216
\tsubprog 1 (look_at_all) static insns_self 4765 insns_total 4765 stack 16
\tprocessed 4801 insns (limit 1000000) max_states_per_insn 4 total_states 311 peak_states 190 mark_read 0
";
        let runs = parse(&format!("form a\n{log}exit 0\n")).expect("valid");
        let expected = Figures {
            stack: "max 232".into(),
            ..waking()
        };
        assert_eq!(runs[0].programs["sched_waking"], expected);
    }

    #[test]
    fn a_program_loaded_again_must_be_the_same() {
        let slower = PROGRAM.replace("5210", "9999");
        assert!(parse(&format!("form a\n{PROGRAM}{slower}")).is_ok());
        let other = PROGRAM.replace("4801", "4802");
        let error = parse(&format!("form a\n{PROGRAM}{other}")).expect_err("differs");
        assert!(error.contains("sched_waking"), "{error}");
    }

    #[test]
    fn what_is_missing_is_named() {
        for (gone, name) in [
            ("processed 4801 insns", "instructions"),
            ("total_states 311", "total_states"),
            ("peak_states 190", "peak_states"),
            ("max_states_per_insn 4", "max_states_per_insn"),
            ("verification time", "time"),
            ("stack depth", "stack depth"),
        ] {
            let text = format!("form a\n{}", PROGRAM.replace(gone, "something"));
            let error = parse(&text).expect_err(gone);
            assert!(error.contains(name), "{error}");
        }
    }

    #[test]
    fn other_lines_are_refused() {
        for text in [
            "exit 0",
            "form a\nexit x",
            "form a\nkilled",
            "form a\n\tlog",
        ] {
            assert!(parse(text).is_err(), "{text:?}");
        }
    }
}
