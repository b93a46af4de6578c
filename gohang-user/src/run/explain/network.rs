//! Waiting for an answer from the network.

use super::case::Case;
use super::cause::Cause;
use super::finding::{Confidence, Finding};
use super::words;
use crate::golang::dump::Goroutine;
use crate::run::evidence::{Process, Socket};

/// Functions in which a Go program connects to something or waits for its answer.
const OUTWARD: [&str; 8] = [
    "net.(*Dialer).",
    "net.(*sysDialer).",
    "net.(*Resolver).",
    "net/http.(*Transport).",
    "net/http.(*persistConn).roundTrip",
    "net/http.(*Client).",
    "crypto/tls.(*Conn).clientHandshake",
    "google.golang.org/grpc.",
];
/// A read of a connection, whoever began it.
const READS: [&str; 3] = [
    "net.(*conn).Read",
    "net.(*netFD).Read",
    "crypto/tls.(*Conn).Read",
];
/// Serving is not asking.
const SERVES: [&str; 2] = ["net/http.(*conn).serve", "net/http.(*Server)."];
/// Variables that say where modules come from.
const PROXIES: [&str; 5] = [
    "GOPROXY",
    "GOSUMDB",
    "HTTPS_PROXY",
    "https_proxy",
    "HTTP_PROXY",
];
/// Parts of lines in which `go` tells of its trouble with the network.
const SAID: [&str; 7] = [
    "dial tcp",
    "proxyconnect",
    "i/o timeout",
    "no such host",
    "tls handshake timeout",
    ": get \"http",
    "connection refused",
];

pub(super) fn find(case: &Case<'_>) -> Option<Finding> {
    modules(case)
        .or_else(|| goroutine(case))
        .or_else(|| socket(case))
}

/// `go` itself, before any test runs: it asks for modules.
fn modules(case: &Case<'_>) -> Option<Finding> {
    let go = case.evidence.processes.iter().find(|process| {
        process.leaf && process.comm == "go" && process.go.as_ref().is_some_and(|go| !go.is_test)
    })?;
    let own = connection(case, |socket| holds(socket, go));
    let asking = case.goroutines().find(|goroutine| is_outward(goroutine));
    let said = said(case);
    if own.is_none() && asking.is_none() && said.is_none() {
        return None;
    }
    let proxies = PROXIES.iter().filter_map(|name| {
        let value = go.environment.get(*name)?;
        Some(format!("{name}={value}"))
    });
    let proxies: Vec<String> = proxies.collect();
    let host = own.map(|socket| socket.remote.clone());
    let from = match (go.environment.get("GOPROXY"), &host) {
        (Some(proxy), _) => format!("GOPROXY={proxy}"),
        (None, Some(host)) => host.clone(),
        (None, None) => "its module proxy".to_owned(),
    };
    let confidence = if own.is_some() || asking.is_some() {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let summary = format!("go waits for modules, and {from} does not answer");
    let probe = go.environment.get("GOPROXY").and_then(|proxy| {
        let first = proxy.split([',', '|']).find(|part| part.contains("://"))?;
        Some(format!("curl -m 5 -v {}", words::quoted(first)))
    });
    Some(
        Finding::new(Cause::Network, confidence, summary)
            .kind("modules")
            .because(own.map(connection_words))
            .because(asking.map(words::goroutine))
            .because(said)
            .because(proxies)
            .next(probe)
            .next([
                "GOPROXY=direct or another proxy; or go mod download beforehand, and GOFLAGS=-mod=mod GOPROXY=off".to_owned(),
            ]),
    )
}

/// A goroutine that asks somebody else.
fn goroutine(case: &Case<'_>) -> Option<Finding> {
    let asking = case
        .focus()
        .into_iter()
        .find(|goroutine| is_outward(goroutine) || reads(goroutine));
    // A test that waits for the goroutine that asks.
    let asking = asking.or_else(|| case.workers().find(|goroutine| is_outward(goroutine)))?;
    let leaves = case.leaves();
    let own = connection(case, |socket| leaves.iter().any(|leaf| holds(socket, leaf)));
    let to = own.map_or_else(String::new, |socket| format!(" from {}", socket.remote));
    // A program may well be its own server: then that one is to blame, and has its own rule.
    let is_own = own.is_some_and(|socket| serves_itself(case, socket));
    let confidence = match (own, is_own) {
        (_, true) => Confidence::Likely,
        (Some(_), false) => Confidence::Certain,
        (None, false) => Confidence::Likely,
    };
    let summary = match case.test() {
        Some((_, test)) => format!("{test} waits for an answer{to} that does not come"),
        None => format!("a goroutine waits for an answer{to} that does not come"),
    };
    let probe = own.map(|socket| probe(&socket.remote));
    Some(
        Finding::new(Cause::Network, confidence, summary)
            .kind("connection")
            .because([words::goroutine(asking)])
            .because(own.map(connection_words))
            .next(probe)
            .next([
                "give it a limit of time (context.WithTimeout, http.Client.Timeout, SetDeadline)"
                    .to_owned(),
            ]),
    )
}

/// Without goroutines: what the kernel knows of its connections.
fn socket(case: &Case<'_>) -> Option<Finding> {
    let leaves = case.leaves();
    let of_leaf = |socket: &Socket| leaves.iter().any(|leaf| holds(socket, leaf));
    // One that connects waits for that. One that is there waits if a thread is in it.
    let connecting = case.sockets("SYN-SENT").find(|socket| of_leaf(socket));
    let read = case.threads().find_map(|(process, thread)| {
        let on = thread.blocked_on.as_ref()?;
        let inode = on.target.strip_prefix("socket:[")?.strip_suffix(']')?;
        let inode: u64 = inode.parse().ok()?;
        let socket = case
            .evidence
            .sockets
            .iter()
            .find(|socket| socket.inode == inode)?;
        let is_leaf = leaves.iter().any(|leaf| leaf.pid == process.pid);
        (is_leaf && is_inet(socket) && !is_listening(socket)).then_some(socket)
    });
    let known = connecting.is_some() || read.is_some();
    let of_quiet = || {
        let is_idle = case.busy().is_none() && case.dumps.is_empty();
        connection(case, of_leaf).filter(|_| is_idle)
    };
    let socket = connecting.or(read).or_else(of_quiet)?;
    let confidence = if known {
        Confidence::Certain
    } else {
        Confidence::Likely
    };
    let who = socket
        .holders
        .iter()
        .find_map(|(pid, _)| case.process(*pid));
    let who = who.map_or_else(
        || "it".to_owned(),
        |process| format!("{} (pid {})", process.comm, process.pid),
    );
    let summary = format!(
        "{who} waits for an answer from {} that does not come",
        socket.remote
    );
    Some(
        Finding::new(Cause::Network, confidence, summary)
            .kind("connection")
            .because([connection_words(socket)])
            .next([probe(&socket.remote)]),
    )
}

fn is_inet(socket: &Socket) -> bool {
    socket.protocol.starts_with("tcp") || socket.protocol.starts_with("udp")
}

fn is_listening(socket: &Socket) -> bool {
    socket.state.eq_ignore_ascii_case("LISTEN") || socket.state.eq_ignore_ascii_case("UNCONN")
}

fn holds(socket: &Socket, process: &Process) -> bool {
    socket.holders.iter().any(|(pid, _)| *pid == process.pid)
}

/// A connection outward, one that is being made before others.
fn connection<'a>(case: &Case<'a>, of: impl Fn(&Socket) -> bool) -> Option<&'a Socket> {
    let all = case.evidence.sockets.iter();
    let fits = all.filter(|socket| is_inet(socket) && !is_listening(socket) && of(socket));
    // What came to a listener of its own was not begun by it.
    let outward = fits.filter(|socket| {
        !case.sockets("LISTEN").any(|listener| {
            port_of(&listener.local) == port_of(&socket.local)
                && listener
                    .holders
                    .iter()
                    .any(|holder| socket.holders.iter().any(|other| other.0 == holder.0))
        })
    });
    outward.max_by_key(|socket| socket.state.eq_ignore_ascii_case("SYN-SENT"))
}

fn serves_itself(case: &Case<'_>, socket: &Socket) -> bool {
    case.sockets("LISTEN").any(|listener| {
        port_of(&listener.local) == port_of(&socket.remote) && is_local(&socket.remote)
    })
}

fn is_local(address: &str) -> bool {
    address.starts_with("127.") || address.starts_with("[::1]")
}

fn port_of(address: &str) -> Option<&str> {
    address.rsplit_once(':').map(|(_, port)| port)
}

fn connection_words(socket: &Socket) -> String {
    let state = match socket.state.to_ascii_uppercase().as_str() {
        "SYN-SENT" => "is not answered (SYN-SENT)".to_owned(),
        state => format!("is {state}, and nothing has come"),
    };
    format!(
        "the {} connection from {} to {} {state}",
        socket.protocol, socket.local, socket.remote
    )
}

fn probe(address: &str) -> String {
    match address.rsplit_once(':') {
        Some((host, port)) => {
            let host = host.trim_matches(['[', ']']);
            format!(
                "nc -vz -w 5 {} {}",
                words::quoted(host),
                words::quoted(port)
            )
        }
        None => format!("ping -c 3 {}", words::quoted(address)),
    }
}

fn is_outward(goroutine: &Goroutine) -> bool {
    let has = |names: &[&str]| {
        let mut frames = goroutine.frames.iter();
        frames.any(|frame| names.iter().any(|name| frame.function.starts_with(name)))
    };
    has(&OUTWARD) && !has(&SERVES)
}

fn reads(goroutine: &Goroutine) -> bool {
    let has = |names: &[&str]| {
        let mut frames = goroutine.frames.iter();
        frames.any(|frame| names.iter().any(|name| frame.function.starts_with(name)))
    };
    has(&READS) && !has(&SERVES)
}

fn said(case: &Case<'_>) -> Option<String> {
    let tail = case.evidence.tail.text.lines().rev().take(20);
    let line = tail.into_iter().find(|line| {
        let lower = line.to_lowercase();
        SAID.iter().any(|said| lower.contains(said))
    })?;
    Some(format!("it printed: {}", line.trim()))
}
