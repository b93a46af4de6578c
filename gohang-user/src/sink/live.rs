//! Figures while tracing: a line a process, since the last look and overall.
//! On a terminal they are redrawn in place, elsewhere they are appended.

use std::collections::HashMap;

use super::interval::{Interval, IntervalProcess};
use super::loss::loss_line;
use super::text::layout::{Align, Style, Table, cut, usable_width};
use crate::process::escape;
use crate::report::{Process, Report};
use crate::units::{duration, duration_or_dash, percent, rate};

/// Size of a terminal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TerminalSize {
    /// Columns.
    pub columns: usize,
    /// Lines.
    pub lines: usize,
}

/// The live view of one trace.
#[derive(Debug)]
pub struct Live {
    style: Style,
    drawn: usize,
}

impl Live {
    /// A view that has drawn nothing yet.
    #[must_use]
    pub fn new(colour: bool) -> Self {
        Self {
            style: Style { colour },
            drawn: 0,
        }
    }

    /// What to write for an interval: `report` is the one that ends it. With a
    /// terminal's size the last frame is replaced, without one lines are added.
    #[must_use]
    pub fn frame(
        &mut self,
        interval: &Interval,
        report: &Report,
        terminal: Option<TerminalSize>,
    ) -> String {
        let width = usable_width(terminal.map(|size| size.columns));
        let mut lines = self.lines(interval, report, width);
        let mut out = String::new();
        if let Some(size) = terminal {
            // The cursor stands below the frame: one line must stay free, and no
            // line may wrap, or the way back up would be wrong.
            let room = size.lines.saturating_sub(1).max(1);
            if lines.len() > room {
                let hidden = lines.len() - (room - 1);
                lines.truncate(room - 1);
                lines.push(format!("... {hidden} lines more"));
            }
            if self.drawn > 0 {
                out.push_str(&format!("\x1b[{}F\x1b[J", self.drawn));
            }
            self.drawn = lines.len();
            lines = lines.iter().map(|line| cut(line, size.columns)).collect();
        }
        if let Some(first) = lines.first_mut() {
            *first = self.style.title(first);
        }
        for line in lines {
            out.push_str(&line);
            out.push('\n');
        }
        out
    }

    /// Takes the last frame from the terminal, so that the report stands there
    /// instead; empty if nothing was drawn in place.
    #[must_use]
    pub fn erase(&mut self) -> String {
        match std::mem::take(&mut self.drawn) {
            0 => String::new(),
            lines => format!("\x1b[{lines}F\x1b[J"),
        }
    }

    fn lines(&self, interval: &Interval, report: &Report, width: usize) -> Vec<String> {
        let overall: HashMap<(u32, u64), &Process> = report
            .processes
            .iter()
            .map(|p| ((p.pid, p.start_ns), p))
            .collect();
        let mut table = Table::new(&[
            ("process", Align::Left),
            ("sent/s", Align::Right),
            ("pending", Align::Right),
            ("median", Align::Right),
            ("p99", Align::Right),
            ("longest", Align::Right),
            ("quota", Align::Right),
            ("queue", Align::Right),
            ("| all", Align::Right),
            ("p99", Align::Right),
            ("longest", Align::Right),
            ("quota", Align::Right),
        ]);
        for process in &interval.processes {
            let all = overall.get(&(process.pid, process.start_ns));
            table.row(row(process, interval.length_ns, all.copied()));
        }
        let mut lines = vec![format!(
            "{}: the last {} | since the start",
            duration(report.duration_ns),
            duration(interval.length_ns)
        )];
        lines.extend(table.lines(0, width, Style { colour: false }));
        if interval.processes.is_empty() {
            lines.push("no process yet".to_owned());
        }
        if interval.loss.lost() > 0 {
            lines.push(loss_line(&interval.loss));
        }
        lines
    }
}

fn row(process: &IntervalProcess, length_ns: u64, all: Option<&Process>) -> [String; 12] {
    let share = |share: Option<f64>| share.map_or_else(|| "-".to_owned(), percent);
    // What is still pending was sent at some time, not in this interval.
    let sends = process.outcomes.values().sum::<u64>() + process.coalesced;
    [
        format!("{} {}", process.pid, escape(&process.comm)),
        rate(sends, length_ns).unwrap_or_else(|| "-".to_owned()),
        process.pending.to_string(),
        duration_or_dash(process.p50_ns),
        duration_or_dash(process.p99_ns),
        duration_or_dash(process.max_ns),
        share(process.stall_share()),
        share(process.runqueue_share()),
        format!("| {}", all.map_or(0, |process| process.episodes)),
        duration_or_dash(all.and_then(|process| process.delivery.p99_ns)),
        duration_or_dash(all.and_then(|process| process.delivery.max_ns)),
        share(all.and_then(Process::stall_share)),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sink::sample;

    fn interval() -> (Interval, Report) {
        let report = sample::report();
        (
            Interval::between(None, &report).expect("a first one"),
            report,
        )
    }

    #[test]
    fn elsewhere_lines_are_appended() {
        let (interval, report) = interval();
        let mut live = Live::new(false);
        let frame = live.frame(&interval, &report, None);
        assert_eq!(
            frame,
            "\
8.20 s: the last 8.20 s | since the start
process      sent/s  pending  median    p99  longest  quota  queue  | all    p99  longest  quota
1234 server      12        0  6.9 us  88 ms    88 ms   78 %    2 %   | 93  88 ms    88 ms   78 %
99 idle           0        0       -      -        -      -      -    | 0      -        -      -
"
        );
        assert_eq!(live.frame(&interval, &report, None), frame);
        assert_eq!(live.erase(), "");
    }

    #[test]
    fn a_terminal_is_redrawn_in_place() {
        let (interval, report) = interval();
        let mut live = Live::new(false);
        let size = Some(TerminalSize {
            columns: 50,
            lines: 24,
        });
        let first = live.frame(&interval, &report, size);
        assert!(!first.contains('\x1b'));
        assert_eq!(first.lines().count(), 4);
        assert!(
            first.lines().all(|line| line.chars().count() <= 50),
            "{first}"
        );
        assert_eq!(
            live.frame(&interval, &report, size),
            format!("\x1b[4F\x1b[J{first}")
        );
        let low = live.frame(
            &interval,
            &report,
            Some(TerminalSize {
                columns: 90,
                lines: 4,
            }),
        );
        assert!(low.ends_with("\n... 2 lines more\n"), "{low}");
        assert_eq!(live.erase(), "\x1b[3F\x1b[J");
        assert_eq!(live.erase(), "");
    }

    #[test]
    fn loss_and_hostile_names_are_shown_harmlessly() {
        let (mut interval, report) = interval();
        interval.loss.ring_full = 5;
        interval.processes[0].comm = "\x1b[2J".to_owned();
        let frame = Live::new(false).frame(&interval, &report, None);
        assert!(
            frame.contains("ring full 5") && frame.contains("1234 \\x1b[2J"),
            "{frame}"
        );
        interval.processes.clear();
        assert!(
            Live::new(false)
                .frame(&interval, &report, None)
                .contains("no process yet")
        );
    }
}
