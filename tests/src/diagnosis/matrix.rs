//! The matrix as a whole: every workload, version and form.

use anyhow::{Result, ensure};

use super::cell::{Outcome, run_sick, run_twin};
use super::program::Programs;
use super::table::{FormName, Program, Row, Table};
use crate::run::{Report, Settings};

/// What a twin gave, and what a workload.
struct Cell {
    column: String,
    outcome: Outcome,
    headlines: Vec<String>,
    twin: Result<u64>,
}

/// A matrix to be filled.
pub struct Matrix<'a> {
    settings: &'a Settings,
    table: &'a Table,
    programs: Programs,
}

/// A version and a form.
type Column = (String, Option<FormName>);

impl<'a> Matrix<'a> {
    /// One whose programs are these.
    pub fn new(settings: &'a Settings, table: &'a Table, programs: Programs) -> Self {
        Self {
            settings,
            table,
            programs,
        }
    }

    /// The columns of a row: in the long form every version in every form of the row's, in
    /// the short one some versions, plain.
    fn columns(&self, row: &Row) -> Vec<Column> {
        if !self.settings.full {
            let versions = self.table.short_versions.iter();
            return versions.map(|version| (version.clone(), None)).collect();
        }
        let mut columns = Vec::new();
        for version in &self.table.versions {
            let forms = row.forms.iter().copied().map(Some);
            columns.extend(
                std::iter::once(None)
                    .chain(forms)
                    .map(|form| (version.clone(), form)),
            );
        }
        columns
    }

    /// Runs the rows of a program, prints them, and says what is wrong.
    ///
    /// # Errors
    /// When a cell is missing, has the wrong first rule or one that is not allowed, or when a
    /// twin raised anything.
    pub fn run(&mut self, program: Program, report: &mut Report) -> Result<()> {
        let table = self.table;
        let (mut told, mut pending, mut silent) = (0, 0, 0);
        let mut wrong = Vec::new();
        for row in table.rows.iter().filter(|row| row.program == program) {
            let expected = match &row.pending {
                None => row.first.clone(),
                Some(why) => format!("{}, pending: {why}", row.first),
            };
            report.note(format!("{} -> {expected}", row.name));
            let columns = self.columns(row);
            for (version, form) in columns {
                let cell = self.cell(row, &version, form);
                let twin = match &cell.twin {
                    Ok(episodes) => {
                        silent += 1;
                        format!("silent ({episodes} signals)")
                    }
                    Err(e) => format!("NOT SILENT: {e:#}"),
                };
                report.note(format!(
                    "  {:18} {}; twin {twin}",
                    cell.column, cell.outcome
                ));
                match &cell.outcome {
                    Outcome::Told(_) => told += 1,
                    Outcome::Pending(_) | Outcome::ToldEarly(_) => pending += 1,
                    _ => {}
                }
                if !cell.outcome.is_accepted() {
                    for headline in &cell.headlines {
                        report.note(format!("    {headline}"));
                    }
                }
                if cell.twin.is_err() || !cell.outcome.is_accepted() {
                    wrong.push(format!("{} {}", row.name, cell.column));
                }
            }
        }
        report.note(format!(
            "{told} cells told, {pending} pending, {} wrong; {silent} twins silent",
            wrong.len()
        ));
        ensure!(told + pending > 0, "there is no such row");
        ensure!(wrong.is_empty(), "wrong: {}", wrong.join(", "));
        Ok(())
    }

    fn cell(&mut self, row: &Row, version: &str, form: Option<FormName>) -> Cell {
        let column = match form {
            None => version.to_owned(),
            Some(form) => format!("{version} {form:?}").to_lowercase(),
        };
        let built = match self.programs.get(row.program, version, form) {
            Ok(built) => built,
            Err(e) => {
                return Cell {
                    column,
                    outcome: Outcome::Missing(format!("{e:#}")),
                    headlines: Vec::new(),
                    twin: Err(e.context("it was not built")),
                };
            }
        };
        let (outcome, headlines) = run_sick(self.settings, row, &built, version);
        let twin = run_twin(self.settings, row, &built, version);
        Cell {
            column,
            outcome,
            headlines,
            twin,
        }
    }
}
