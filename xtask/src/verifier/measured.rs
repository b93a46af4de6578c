//! What the verifier took on one kernel.

use std::fmt::{self, Write as _};

use super::log::{self, Figures, Run};
use super::table::{Cell, Column};

/// gohang's exit status where the kernel cannot do what is asked for.
const UNABLE: i32 = 3;

/// What was measured on one kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Measured {
    /// The forms that the kernel can do.
    runs: Vec<Run>,
}

impl Measured {
    /// Reads what a machine handed back.
    ///
    /// # Errors
    /// It cannot be understood, gohang failed in a form, or can do none.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut runs = log::parse(text)?;
        for run in &runs {
            let problem = match run.status {
                Some(UNABLE) => continue,
                Some(0) if run.programs.is_empty() => "loaded nothing".to_owned(),
                Some(0) => continue,
                Some(status) => format!("exit status {status}"),
                None => "it did not end".to_owned(),
            };
            return Err(format!("{}: {problem}: {}", run.form, run.said.join(" | ")));
        }
        runs.retain(|run| run.status == Some(0));
        if runs.is_empty() {
            return Err("gohang was not started, or can do none of the forms".to_owned());
        }
        Ok(Self { runs })
    }

    /// The part of it that the table has.
    pub fn column(&self, package: &str) -> Column {
        let programs = |run: &Run| {
            let cells = run.programs.iter();
            cells
                .map(|(name, figures)| (name.clone(), Cell::from(figures)))
                .collect()
        };
        Column {
            package: package.to_owned(),
            forms: self
                .runs
                .iter()
                .map(|run| (run.form.clone(), programs(run)))
                .collect(),
        }
    }
}

/// A table a form, with sums.
impl fmt::Display for Measured {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for Run { form, programs, .. } in &self.runs {
            writeln!(
                f,
                "{form:<32} {:>12} {:>8} {:>8} {:>10} {:>10}  stack",
                "instructions", "states", "at once", "of one", "time, ms"
            )?;
            let mut sum = Figures::default();
            for (name, figures) in programs {
                write_row(f, name, figures)?;
                sum.instructions += figures.instructions;
                sum.total_states += figures.total_states;
                sum.peak_states = sum.peak_states.max(figures.peak_states);
                sum.most_states = sum.most_states.max(figures.most_states);
                sum.time_us += figures.time_us;
            }
            write_row(f, "all", &sum)?;
        }
        Ok(())
    }
}

fn write_row(f: &mut fmt::Formatter<'_>, name: &str, figures: &Figures) -> fmt::Result {
    let Figures {
        instructions,
        total_states,
        peak_states,
        most_states,
        time_us,
        stack,
    } = figures;
    let mut row = String::new();
    write!(
        row,
        "  {name:<30} {instructions:>12} {total_states:>8} {peak_states:>8} {most_states:>10} \
         {:>6}.{:03}  {stack}",
        time_us / 1000,
        time_us % 1000
    )?;
    writeln!(f, "{}", row.trim_end())
}

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
\tverification time 1500 usec
\tstack depth 16
\tprocessed 40 insns (limit 1000000) max_states_per_insn 2 total_states 7 peak_states 5 mark_read 1
";

    fn text(status: &str) -> String {
        format!(
            "form a\nprogram x\n{LOG}program y\n{LOG}exit 0\n\
             form b\nprogram x\n{LOG}exit {status}\nsaid error: this kernel cannot\n"
        )
    }

    #[test]
    fn forms_that_the_kernel_cannot_do_are_left_out() {
        let measured = Measured::read(&text("3")).expect("one form");
        let column = measured.column("p 1");
        assert_eq!(column.package, "p 1");
        let cell = Cell {
            instructions: 40,
            total_states: 7,
            peak_states: 5,
        };
        assert_eq!(column.forms.keys().collect::<Vec<_>>(), ["a"]);
        assert_eq!(column.forms["a"]["x"], cell);
        assert_eq!(column.forms["a"].len(), 2);
    }

    #[test]
    fn failures_are_told_with_what_gohang_said() {
        let error = Measured::read(&text("1")).expect_err("it failed");
        assert_eq!(error, "b: exit status 1: error: this kernel cannot");
        let cut = text("3").replace("exit 3\n", "");
        let error = Measured::read(&cut).expect_err("it did not end");
        assert!(error.starts_with("b: it did not end"), "{error}");
        let empty = Measured::read("form a\nexit 0\n").expect_err("no program");
        assert!(empty.starts_with("a: loaded nothing"), "{empty}");
        assert!(Measured::read("form a\nexit 3\n").is_err(), "no form");
        assert!(Measured::read("").is_err(), "no start");
    }

    #[test]
    fn sums_stand_below() {
        let shown = Measured::read(&text("3")).expect("one form").to_string();
        let words = |line: &str| {
            line.split_whitespace()
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        let last = words(shown.lines().last().expect("lines"));
        assert_eq!(last, ["all", "80", "14", "5", "2", "3.000"]);
        let row = words(shown.lines().nth(1).expect("a program"));
        assert_eq!(row, ["x", "40", "7", "5", "2", "1.500", "16"]);
    }
}
