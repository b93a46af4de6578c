//! What goes to stdout, by the form asked for.

use std::io::{self, IsTerminal as _, Write as _};

use gohang::event::Episode;
use gohang::report::{Alert, Report};
use gohang::sink::interval::Intervals;
use gohang::sink::{json, jsonl, loss_lines, text};

use super::super::{Exit, Failure};
use super::args::{By, Output as Form};
use super::plan::Plan;
use super::writer::{Sent, Writer};

/// The output of a trace.
pub(super) struct Output {
    form: Form,
    text: text::Options,
    writer: Option<Writer>,
    buffer: Vec<u8>,
    /// Episodes in `buffer`.
    episodes: u64,
    dropped: u64,
    intervals: Intervals,
    live: text::Live,
}

/// A chunk of this size goes to the writer at once.
const CHUNK: usize = 256 << 10;

impl Output {
    pub fn new(plan: &Plan, writer: Writer) -> Self {
        let terminal = io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let by = match plan.by {
            By::Process => text::By::Process,
            By::Thread => text::By::Thread,
            By::Cgroup => text::By::Cgroup,
        };
        Self {
            form: plan.output,
            text: text::Options {
                by,
                colour,
                ..text::Options::default()
            },
            writer: Some(writer),
            buffer: Vec::new(),
            episodes: 0,
            dropped: 0,
            intervals: Intervals::default(),
            live: text::Live::new(terminal),
        }
    }

    /// Episodes that could not be written.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// Whether the reader is gone.
    pub fn is_closed(&self) -> bool {
        self.writer.as_ref().is_none_or(Writer::has_failed)
    }

    /// An episode, with the path of its quota group.
    pub fn episode(&mut self, episode: &Episode, cgroup: Option<&str>) {
        match self.form {
            Form::Jsonl => jsonl::write_episode(&mut self.buffer, episode, cgroup),
            Form::Text => text::write_episode(&mut self.buffer, episode, cgroup),
            Form::Json => return,
        }
        self.episodes += 1;
        if self.buffer.len() >= CHUNK {
            self.flush();
        }
    }

    /// An alert, as it is raised.
    pub fn alert(&mut self, alert: &Alert) {
        match self.form {
            Form::Jsonl => jsonl::write_alert(&mut self.buffer, alert),
            // On stderr, so that the report on stdout stays whole; it lists
            // them all again at the end.
            Form::Text => {
                let _ = writeln!(io::stderr(), "gohang: {}", text::alert_line(alert));
            }
            Form::Json => {}
        }
    }

    /// The figures so far.
    pub fn interval(&mut self, report: &Report) {
        let interval = self.intervals.next(report);
        match self.form {
            Form::Jsonl => jsonl::write_interval(&mut self.buffer, &interval),
            Form::Text => self.live.write(&mut self.buffer, &interval),
            Form::Json => {}
        }
    }

    /// Hands on what has been formatted.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let episodes = std::mem::take(&mut self.episodes);
        let chunk = std::mem::take(&mut self.buffer);
        let sent = self
            .writer
            .as_ref()
            .map_or(Sent::Dropped, |writer| writer.offer(chunk));
        if sent == Sent::Dropped {
            self.dropped += episodes;
        }
    }

    /// The report: the last thing on stdout; then the loss lines on stderr.
    pub fn end(mut self, report: &Report) -> Result<Exit, Failure> {
        let mut last = Vec::new();
        match self.form {
            Form::Jsonl => jsonl::write_end(&mut last, report),
            Form::Json => json::write_report(&mut last, report)?,
            Form::Text => text::write_report(&mut last, report, &self.text),
        }
        let mut result = Ok(());
        if let Some(writer) = self.writer.take() {
            // What is left in the queue goes out first, however slow the reader.
            writer.insist(last);
            result = writer.finish();
        }
        for line in loss_lines(report) {
            let _ = writeln!(io::stderr(), "gohang: {line}");
        }
        match result {
            Ok(()) => Ok(Exit::Ok),
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Ok),
            Err(error) => Err(anyhow::Error::new(error)
                .context("cannot write the output")
                .into()),
        }
    }
}
