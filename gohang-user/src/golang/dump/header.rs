//! The first line of a goroutine.

/// `goroutine 7 gp=0xc000002 m=3 mp=0x1 [chan receive (leaked), 5 minutes, locked to thread] {k: v}:`
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Header {
    /// The goroutine's id.
    pub id: u64,
    /// The thread of the runtime that it is on, by the runtime's number; `None` if that is not
    /// told (it is from Go 1.22 on, at the higher traceback levels), or it is on none.
    pub m: Option<u64>,
    /// What it does: `running`, `runnable`, `syscall`, or what it waits for, as `chan receive`.
    pub status: String,
    /// For how long, in whole minutes, if it is at least one.
    pub minutes: Option<u64>,
    /// It is locked to its thread.
    pub locked: bool,
    /// Found to be leaked (Go 1.26).
    pub leaked: bool,
    /// Being scanned by the collector.
    pub scan: bool,
    /// Durably blocked, in a `testing/synctest` bubble.
    pub durable: bool,
    /// The bubble's number.
    pub bubble: Option<u64>,
    /// Its profiler labels, as they are printed (Go 1.27).
    pub labels: Option<String>,
}

impl Header {
    /// Reads a line; `None` when it is not of this form.
    #[must_use]
    pub fn parse(line: &str) -> Option<Self> {
        let rest = line.strip_prefix("goroutine ")?.strip_suffix(':')?;
        let (before, rest) = rest.split_once(" [")?;
        let mut words = before.split(' ');
        let mut header = Self {
            id: words.next()?.parse().ok()?,
            ..Self::default()
        };
        for word in words {
            let (name, value) = word.split_once('=')?;
            match name {
                "gp" | "mp" => {}
                "m" => header.m = value.parse().ok(),
                _ => return None,
            }
        }
        let inside = header.take_labels(rest)?;
        header.take_status(inside);
        Some(header)
    }

    /// What stands in the brackets; labels, which may hold brackets, come behind them.
    fn take_labels<'a>(&mut self, rest: &'a str) -> Option<&'a str> {
        if let Some(inside) = rest.strip_suffix(']') {
            return Some(inside);
        }
        let (inside, labels) = rest.split_once("] {")?;
        self.labels = Some(labels.strip_suffix('}')?.to_owned());
        Some(inside)
    }

    fn take_status(&mut self, inside: &str) {
        let mut rest = inside;
        // What is known is peeled off from the right; wait reasons hold commas and brackets of
        // their own.
        while let Some((before, last)) = rest.rsplit_once(", ") {
            let minutes = last.strip_suffix(" minutes").map(str::parse);
            let bubble = last.strip_prefix("synctest bubble ").map(str::parse);
            match (minutes, bubble) {
                (Some(Ok(minutes)), _) => self.minutes = Some(minutes),
                (_, Some(Ok(bubble))) => self.bubble = Some(bubble),
                _ if last == "locked to thread" => self.locked = true,
                _ => break,
            }
            rest = before;
        }
        let marks = [" (leaked)", " (scan)", " (durable)"];
        while let Some(mark) = marks.iter().position(|mark| rest.ends_with(mark)) {
            [&mut self.leaked, &mut self.scan, &mut self.durable]
                .into_iter()
                .zip(0..)
                .filter(|(_, index)| *index == mark)
                .for_each(|(flag, _)| *flag = true);
            rest = &rest[..rest.len() - marks[mark].len()];
        }
        self.status = rest.to_owned();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn header(id: u64, status: &str) -> Header {
        Header {
            id,
            status: status.into(),
            ..Header::default()
        }
    }

    #[test]
    fn all_forms() {
        for (line, want) in [
            ("goroutine 1 [running]:", header(1, "running")),
            (
                "goroutine 18 [chan receive, 12 minutes]:",
                Header {
                    minutes: Some(12),
                    ..header(18, "chan receive")
                },
            ),
            (
                "goroutine 7 gp=0xc000002 m=3 mp=0x500 [syscall, 2 minutes, locked to thread]:",
                Header {
                    m: Some(3),
                    minutes: Some(2),
                    locked: true,
                    ..header(7, "syscall")
                },
            ),
            (
                "goroutine 2 gp=0xc0 m=nil [force gc (idle)]:",
                header(2, "force gc (idle)"),
            ),
            (
                "goroutine 9 [chan receive (nil chan)]:",
                header(9, "chan receive (nil chan)"),
            ),
            (
                "goroutine 9 [select (no cases)]:",
                header(9, "select (no cases)"),
            ),
            (
                "goroutine 20 [chan receive (durable), synctest bubble 5]:",
                Header {
                    durable: true,
                    bubble: Some(5),
                    ..header(20, "chan receive")
                },
            ),
            (
                "goroutine 21 [chan send (leaked) (scan), 3 minutes]:",
                Header {
                    leaked: true,
                    scan: true,
                    minutes: Some(3),
                    ..header(21, "chan send")
                },
            ),
            (
                "goroutine 3 [running] {a: x, b: [y]:}:",
                Header {
                    labels: Some("a: x, b: [y]:".into()),
                    ..header(3, "running")
                },
            ),
            (
                "goroutine 0 gp=0x5 m=0 mp=0x6 [idle]:",
                Header {
                    m: Some(0),
                    ..header(0, "idle")
                },
            ),
            (
                "goroutine 4 [waiting for cgo callback]:",
                header(4, "waiting for cgo callback"),
            ),
        ] {
            assert_eq!(Header::parse(line), Some(want), "{line}");
        }
        for line in [
            "",
            "goroutine",
            "goroutine 1",
            "goroutine x [running]:",
            "goroutine 1 [running]",
            "goroutine 1 x=5 [running]:",
            "goroutine running on other thread; stack unavailable",
            "goroutine profile: total 5:",
        ] {
            assert_eq!(Header::parse(line), None, "{line}");
        }
    }

    proptest! {
        #[test]
        fn parsing_never_panics(line in "goroutine [0-9]{0,3}( (gp|m|mp)=.{0,3})? \\[.{0,30}\\]?.{0,12}:?|.*") {
            let _ = Header::parse(&line);
        }
    }
}
