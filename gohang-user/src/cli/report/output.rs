//! What goes to stdout, by the form asked for.

use std::io::{self, IsTerminal as _, Write as _};

use anyhow::Context as _;
use gohang::event::{Episode, Request, Stop};
use gohang::process::escape;
use gohang::report::{Alert, Report};
use gohang::sink::episode_text::episode_line;
use gohang::sink::interval::Interval;
use gohang::sink::live::{Live, TerminalSize};
use gohang::sink::text::{self, TextOptions, layout};
use gohang::sink::{json, jsonl, loss};

use super::super::{Exit, Failure};
use super::args::{By, Output as Form};
use super::display::Display;
use super::writer::{Sent, Writer};

/// What a command prints.
pub struct Output {
    form: Form,
    text: TextOptions,
    terminal: bool,
    writer: Option<Writer>,
    /// Waits for a slow reader instead of dropping.
    patient: bool,
    buffer: Vec<u8>,
    /// Episodes, requests and stops in `buffer`.
    records: u64,
    dropped: u64,
    /// Begin of the window, for episodes as text.
    start_ns: u64,
    before: Option<Report>,
    live: Live,
}

/// A chunk of this size goes to the writer at once.
const CHUNK: usize = 256 << 10;

/// The terminal's size, if stdout is one.
fn terminal_size() -> Option<TerminalSize> {
    let mut size = libc::winsize {
        ws_row: 0,
        ws_col: 0,
        ws_xpixel: 0,
        ws_ypixel: 0,
    };
    // SAFETY: TIOCGWINSZ writes a winsize.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) };
    (done == 0 && size.ws_col > 0).then(|| TerminalSize {
        columns: usize::from(size.ws_col),
        lines: usize::from(size.ws_row),
    })
}

impl Output {
    pub fn new(display: &Display, writer: Writer, patient: bool) -> Self {
        let terminal = display.to_stdout() && io::stdout().is_terminal();
        let colour = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
        let by = match display.by {
            By::Process => text::By::Process,
            By::Thread => text::By::Thread,
            By::Cgroup => text::By::Cgroup,
        };
        let columns = terminal
            .then(terminal_size)
            .flatten()
            .map(|size| size.columns);
        Self {
            form: display.form,
            text: TextOptions {
                by,
                colour,
                width: layout::usable_width(columns),
                slow_ns: display.thresholds.slow.as_nanos() as u64,
            },
            terminal,
            writer: Some(writer),
            patient,
            buffer: Vec::new(),
            records: 0,
            dropped: 0,
            start_ns: 0,
            before: None,
            live: Live::new(colour),
        }
    }

    /// The window has opened.
    pub fn begin(&mut self, start_ns: u64) {
        self.start_ns = start_ns;
    }

    /// Episodes, requests and stops that could not be written.
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
            Form::Text => {
                let line = episode_line(episode, self.start_ns, cgroup);
                self.buffer.extend_from_slice(line.as_bytes());
                self.buffer.push(b'\n');
            }
            Form::Json => return,
        }
        self.line();
    }

    /// A record's line stands in the buffer.
    fn line(&mut self) {
        self.records += 1;
        if self.buffer.len() >= CHUNK {
            self.flush();
        }
    }

    /// A request to yield: a line of JSON, nothing as text.
    pub fn request(&mut self, request: &Request) {
        if self.form == Form::Jsonl {
            jsonl::write_request(&mut self.buffer, request);
            self.line();
        }
    }

    /// A stop of the world: a line of JSON, nothing as text.
    pub fn stop(&mut self, stop: &Stop) {
        if self.form == Form::Jsonl {
            jsonl::write_stop(&mut self.buffer, stop);
            self.line();
        }
    }

    /// An alert, as it is raised.
    pub fn alert(&mut self, alert: &Alert) {
        match self.form {
            Form::Jsonl => jsonl::write_alert(&mut self.buffer, alert),
            // On stderr, so that stdout stays the report; it lists them all
            // again.
            Form::Text => {
                let tid = alert
                    .tid
                    .map_or_else(String::new, |tid| format!(" thread {tid}"));
                let headline = escape(&alert.headline);
                let _ = writeln!(
                    io::stderr(),
                    "gohang: {}: process {}{tid}: {headline}",
                    alert.rule,
                    alert.pid
                );
            }
            Form::Json => {}
        }
    }

    /// The figures so far.
    pub fn interval(&mut self, report: Report) -> Result<(), Failure> {
        let interval = Interval::between(self.before.as_ref(), &report)
            .context("the figures of two intervals contradict each other")?;
        match self.form {
            Form::Jsonl => jsonl::write_interval(&mut self.buffer, &interval),
            Form::Text => {
                let size = self.terminal.then(terminal_size).flatten();
                let frame = self.live.frame(&interval, &report, size);
                self.buffer.extend_from_slice(frame.as_bytes());
            }
            Form::Json => {}
        }
        self.before = Some(report);
        Ok(())
    }

    /// Hands on what has been formatted.
    pub fn flush(&mut self) {
        if self.buffer.is_empty() {
            return;
        }
        let episodes = std::mem::take(&mut self.records);
        let chunk = std::mem::take(&mut self.buffer);
        let sent = match &self.writer {
            Some(writer) if self.patient => writer.insist(chunk),
            Some(writer) => writer.offer(chunk),
            None => Sent::Dropped,
        };
        if sent == Sent::Dropped {
            self.dropped += episodes;
        }
    }

    /// The report: the last thing on stdout; then the loss lines on stderr.
    pub fn end(mut self, report: &Report, complete: bool) -> Result<Exit, Failure> {
        let mut last = Vec::new();
        match self.form {
            Form::Jsonl => jsonl::write_end(&mut last, report),
            Form::Json => json::write_report(&mut last, report)?,
            Form::Text => {
                if self.terminal {
                    last.extend_from_slice(self.live.erase().as_bytes());
                }
                last.extend_from_slice(text::report(report, &self.text).as_bytes());
            }
        }
        let mut result = Ok(());
        if let Some(writer) = self.writer.take() {
            // What is left in the queue goes out first, however slow the reader.
            writer.insist(last);
            result = writer.finish();
        }
        let lines = if complete {
            loss::loss_lines(report)
        } else {
            vec![loss::loss_line(&report.loss)]
        };
        for line in lines {
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
