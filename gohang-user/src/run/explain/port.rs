//! An address that is taken, or a server that was left listening.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::wait::Wait;
use super::words;
use crate::golang::dump::Goroutine;
use crate::run::evidence::Socket;

/// What programs say of it.
const SAID: [&str; 3] = [
    "address already in use",
    "only one usage of each socket address",
    "eaddrinuse",
];
/// Functions in which a server waits for somebody to come.
const ACCEPTS: [&str; 5] = [
    "net.(*TCPListener).Accept",
    "net.(*TCPListener).accept",
    "net.(*UnixListener).Accept",
    "net.(*UnixListener).accept",
    "net/http.(*Server).Serve",
];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    taken(case)
        .or_else(|| left_listening(case))
        .or_else(|| serving(case))
}

/// It said so.
fn taken(case: &Case<'_>) -> Option<Finding> {
    let mut tail = case.evidence.tail.text.lines().rev();
    let line = tail.find(|line| {
        let lower = line.to_lowercase();
        SAID.iter().any(|said| lower.contains(said))
    })?;
    let port = port_in(line);
    let holder = port.and_then(|port| {
        case.sockets("LISTEN")
            .find(|socket| port_of(&socket.local) == Some(port))
    });
    let who = holder.map(|socket| listener_words(case, socket));
    let address = port.map_or_else(|| "the address".to_owned(), |port| format!("port {port}"));
    let by_whom = if holder.is_some() {
        "by a process of its own"
    } else {
        "by another program"
    };
    let look = match port {
        Some(port) => format!("ss -ltnp 'sport = :{port}'"),
        None => "ss -ltnp".to_owned(),
    };
    let summary = format!("{address} is taken {by_whom}, and it waits for it");
    // It may have said so and gone on: nobody waits for an address in a lock.
    let in_lock = |goroutine: &&Goroutine| Wait::of(goroutine) == Wait::Lock;
    let confidence = match case.focus().iter().any(in_lock) {
        true => Confidence::Possible,
        false => Confidence::Certain,
    };
    Some(
        Finding::new(Cause::Port, confidence, summary)
            .kind("taken")
            .because([format!("it printed: {}", line.trim())])
            .because(who)
            .next([
                look,
                "listen on port 0 and ask which one it became".to_owned(),
            ]),
    )
}

/// A goroutine waits for somebody to connect, and others for its end.
fn left_listening(case: &Case<'_>) -> Option<Finding> {
    let server = case.goroutines().find(|goroutine| accepts(goroutine))?;
    let listener = case.sockets("LISTEN").next();
    let address = listener.map_or_else(String::new, |socket| format!(" on {}", socket.local));
    let focus = case.focus();
    let itself = focus
        .iter()
        .any(|goroutine| goroutine.header.id == server.header.id);
    // Who waits for something other than a lock, and started the server, waits for its end.
    let waiting = focus.iter().copied().find(|goroutine| {
        goroutine.header.id != server.header.id
            && matches!(Wait::of(goroutine), Wait::Channel | Wait::Group)
    });
    let started = |goroutine: &&Goroutine| {
        let by = server.created_by.as_ref();
        by.and_then(|by| by.goroutine) == Some(goroutine.header.id)
    };
    let starter = focus.iter().copied().find(started);
    let confidence = match (waiting, starter) {
        _ if case.quota_is_ruled_out() && itself => Confidence::Certain,
        (_, Some(_)) => Confidence::Certain,
        _ if itself => Confidence::Certain,
        (Some(_), None) => Confidence::Likely,
        (None, None) => return None,
    };
    // Who stands in a lock does so whether there is a server or not.
    if starter
        .or(waiting)
        .is_some_and(|goroutine| Wait::of(goroutine) == Wait::Lock)
    {
        return None;
    }
    let who = match case.test() {
        Some((_, test)) => format!("{test} left a server listening{address}"),
        None => format!("a server listens{address}, and nobody closes it"),
    };
    Some(
        Finding::new(Cause::Port, confidence, who)
            .kind("left_listening")
            .because([words::goroutine(server)])
            .because(server.created_by.as_ref().map(|by| {
                format!("it was started in {}", words::place(&by.frame))
            }))
            .because(starter.or(waiting).map(words::goroutine))
            .because(listener.map(|socket| listener_words(case, socket)))
            .next([
                "close the listener where the test ends (t.Cleanup, defer listener.Close(), Server.Shutdown)".to_owned(),
            ]),
    )
}

/// Without goroutines: a process that listens and waits.
fn serving(case: &Case<'_>) -> Option<Finding> {
    if !case.dumps.is_empty() || case.busy().is_some() {
        return None;
    }
    let leaves = case.leaves();
    let of_leaf = |socket: &&Socket| {
        let mut holders = socket.holders.iter();
        holders.any(|(pid, _)| leaves.iter().any(|leaf| leaf.pid == *pid))
    };
    let listener = case.sockets("LISTEN").find(of_leaf)?;
    let accepts = case.threads().any(|(_, thread)| {
        let on = thread.blocked_on.as_ref();
        on.is_some_and(|on| on.target == format!("socket:[{}]", listener.inode))
    });
    let confidence = if accepts {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let summary = format!("a server listens on {}, and nobody ends it", listener.local);
    Some(
        Finding::new(Cause::Port, confidence, summary)
            .kind("left_listening")
            .because([listener_words(case, listener)])
            .next(["end the server when its work is done, or give the run a --timeout".to_owned()]),
    )
}

fn accepts(goroutine: &Goroutine) -> bool {
    let mut frames = goroutine.frames.iter();
    frames.any(|frame| ACCEPTS.contains(&frame.function.as_str()))
}

fn listener_words(case: &Case<'_>, socket: &Socket) -> String {
    let holder = socket
        .holders
        .iter()
        .find_map(|(pid, fd)| Some((case.process(*pid)?, *fd)));
    match holder {
        Some((process, fd)) => format!(
            "{} (pid {}) listens on {} with descriptor {fd}",
            process.comm, process.pid, socket.local
        ),
        None => format!("something listens on {}", socket.local),
    }
}

fn port_of(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(_, port)| port)
}

/// The port that a line tells of: digits behind the last colon that has digits behind it and
/// belongs to an address.
fn port_in(line: &str) -> Option<&str> {
    let mut found = None;
    for (at, _) in line.match_indices(':') {
        let rest = &line[at + 1..];
        let length = rest
            .find(|c: char| !c.is_ascii_digit())
            .unwrap_or(rest.len());
        let port = &rest[..length];
        // `file.go:12: listen tcp 127.0.0.1:8080: bind: address already in use`.
        if port.parse::<u16>().is_ok_and(|port| port > 0) && !line[..at].ends_with(".go") {
            found = Some(port);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn ports_in_lines() {
        for (line, want) in [
            (
                "listen tcp 127.0.0.1:8080: bind: address already in use",
                Some("8080"),
            ),
            (
                "x_test.go:12: listen tcp :9: bind: address already in use",
                Some("9"),
            ),
            ("OSError: [Errno 98] Address already in use", None),
            ("listen unix /tmp/s: bind: address already in use", None),
            ("a:0 b:70000", None),
        ] {
            assert_eq!(port_in(line), want, "{line}");
        }
    }

    proptest! {
        #[test]
        fn any_line_is_taken(line in "\\PC{0,60}|[a-z:0-9. ]{0,40}") {
            let _ = port_in(&line);
        }
    }
}
