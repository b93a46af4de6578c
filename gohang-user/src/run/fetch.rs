//! What programs serve of themselves, which leaves them running: goroutines and the heap's
//! profile (`net/http/pprof`), and what else is asked for, as a flight recording.

use std::collections::BTreeSet;
use std::fs::File;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use super::evidence::{DumpText, Evidence, Fetched, Origin};
use crate::golang::{Elf, FileImage, Symbols};

/// What is asked for first.
const GOROUTINES: &str = "/debug/pprof/goroutine?debug=2";
/// What is asked for next, of those that serve the first.
const HEAP: &str = "/debug/pprof/heap";
/// Most addresses that are asked.
const MAX_TARGETS: usize = 16;
/// A function of every program that serves the first (`net/http/pprof/pprof.go`).
const SERVES_GOROUTINES: &str = "net/http/pprof.Index";
/// A function of every program that serves anything by HTTP (`net/http/server.go`).
const SERVES: &str = "net/http.(*conn).serve";
/// How long a connection may take, and each read of what is quick.
const PATIENCE: Duration = Duration::from_secs(1);
/// Most bytes of an answer.
const MAX_ANSWER: u64 = 32 << 20;
/// How long is waited at a time.
const LOOK: Duration = Duration::from_millis(1);

/// An address to ask, and who listens there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Target {
    pid: u32,
    address: SocketAddr,
}

/// What one request has brought, with the goroutines in it.
type Told = (Fetched, Option<DumpText>);

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Everything that was asked for.
    pub fetched: Vec<Fetched>,
    /// What has goroutines in it.
    pub dumps: Vec<DumpText>,
    /// All have answered, or did not want to.
    pub complete: bool,
}

/// Where the Go programs of the command listen, in gohang's own network namespace: those that
/// can serve their goroutines or, if `more` is wanted of them, anything by HTTP. To others a
/// connection may be the very thing that they wait for.
pub(super) fn targets(evidence: &Evidence, more: bool) -> Vec<Target> {
    let listening = evidence
        .sockets
        .iter()
        .filter(|socket| socket.state == "LISTEN");
    let holders: BTreeSet<u32> = listening
        .flat_map(|socket| socket.holders.iter().map(|(pid, _)| *pid))
        .collect();
    let name = if more { SERVES } else { SERVES_GOROUTINES };
    let leaves: BTreeSet<u32> = evidence
        .processes
        .iter()
        .filter(|process| process.leaf && holders.contains(&process.pid))
        .map(|process| process.pid)
        .filter(|&pid| shares_network(pid) && has_function(pid, name))
        .collect();
    let mut all = Vec::new();
    for socket in &evidence.sockets {
        let holder = socket.holders.iter().find(|(pid, _)| leaves.contains(pid));
        let address = reachable(&socket.local);
        let listens = socket.state == "LISTEN" && socket.protocol.starts_with("tcp");
        if let (Some(&(pid, _)), Some(address), true) = (holder, address, listens) {
            all.push(Target { pid, address });
        }
    }
    all.truncate(MAX_TARGETS);
    all
}

/// Whether a process's program has a function of this name; not, if that cannot be told.
fn has_function(pid: u32, name: &str) -> bool {
    let found = || {
        let program = File::open(format!("/proc/{pid}/exe")).ok()?;
        let image = FileImage::new(program).ok()?;
        let symbols = Symbols::open(Elf::parse(image).ok()?).ok()?;
        symbols.find(&[name]).ok()?.into_iter().next()?
    };
    found().is_some()
}

fn shares_network(pid: u32) -> bool {
    let namespace = |pid: &str| std::fs::read_link(format!("/proc/{pid}/ns/net")).ok();
    let own = namespace("self");
    own.is_some() && own == namespace(&pid.to_string())
}

/// The address that leads to a listener.
fn reachable(local: &str) -> Option<SocketAddr> {
    let mut address: SocketAddr = local.parse().ok()?;
    if address.ip().is_unspecified() {
        address.set_ip(match address.ip() {
            IpAddr::V4(_) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(_) => Ipv6Addr::LOCALHOST.into(),
        });
    }
    Some(address)
}

/// Asks all of them at once, each in a thread of its own, for at most `limit`; each for `paths`
/// too. `meanwhile` is called often until it is done.
pub(super) fn all(
    targets: Vec<Target>,
    paths: &[String],
    limit: Duration,
    mut meanwhile: impl FnMut() -> io::Result<()>,
) -> io::Result<Found> {
    let end = Instant::now() + limit;
    let (tell, told) = channel();
    for target in targets {
        let (tell, paths) = (tell.clone(), paths.to_vec());
        let thread = std::thread::Builder::new().name("fetch".into());
        thread.spawn(move || ask_all(&target, paths, end, &tell))?;
    }
    drop(tell);
    let mut found = Found::default();
    loop {
        match told.recv_timeout(LOOK) {
            Ok((fetched, dump)) => {
                found.fetched.push(fetched);
                found.dumps.extend(dump);
            }
            Err(RecvTimeoutError::Disconnected) => {
                found.complete = true;
                return Ok(found);
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() >= end => return Ok(found),
            Err(RecvTimeoutError::Timeout) => meanwhile()?,
        }
    }
}

/// Asks one for one thing after the other, until nobody waits for it any more.
fn ask_all(target: &Target, paths: Vec<String>, end: Instant, tell: &Sender<Told>) {
    let (fetched, body) = fetch(target, GOROUTINES, PATIENCE, end);
    let text = String::from_utf8_lossy(&body).into_owned();
    let dump = DumpText {
        origin: Origin::Pprof,
        pid: Some(target.pid),
        package: String::new(),
        text,
    };
    let dump = Some(dump).filter(|dump| !dump.parse().goroutines.is_empty());
    let serves = dump.is_some();
    let mut told = tell.send((fetched, dump));
    let heap = serves.then(|| (HEAP.to_owned(), PATIENCE));
    // A recording has to be finished first.
    let rest = paths.into_iter().map(|path| (path, Duration::MAX));
    for (path, patience) in heap.into_iter().chain(rest) {
        if told.is_err() {
            return;
        }
        let (mut fetched, body) = fetch(target, &path, patience, end);
        fetched.body = body;
        told = tell.send((fetched, None));
    }
}

/// What came of asking, and the answer, where it is what was asked for.
fn fetch(target: &Target, path: &str, patience: Duration, end: Instant) -> (Fetched, Vec<u8>) {
    // No time at all would be no limit.
    let left = end.saturating_duration_since(Instant::now());
    let patience = patience.min(left).max(LOOK);
    let mut fetched = Fetched {
        pid: target.pid,
        url: format!("http://{}{path}", target.address),
        ..Fetched::default()
    };
    let mut kept = Vec::new();
    match ask(target.address, path, patience, end).map(|raw| parse(&raw)) {
        Err(error) => fetched.error = Some(error.to_string()),
        Ok(None) => fetched.error = Some("the answer is not HTTP".to_owned()),
        Ok(Some((status, body))) => {
            fetched.status = Some(status);
            fetched.bytes = body.len() as u64;
            if status == 200 {
                kept = body;
            }
        }
    }
    (fetched, kept)
}

/// One request of HTTP 1.0, of which the answer ends with the connection.
fn ask(address: SocketAddr, path: &str, patience: Duration, end: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(patience))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {path} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = vec![0; 64 << 10];
    while Instant::now() < end && (answer.len() as u64) < MAX_ANSWER {
        match stream.read(&mut piece) {
            Ok(0) => return Ok(answer),
            Ok(length) => answer.extend_from_slice(&piece[..length]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

/// Status and body.
fn parse(answer: &[u8]) -> Option<(u16, Vec<u8>)> {
    let blank = answer.windows(4).position(|part| part == b"\r\n\r\n")?;
    let head = std::str::from_utf8(&answer[..blank]).ok()?;
    let first = head.lines().next()?;
    let rest = first.strip_prefix("HTTP/1.")?;
    let status = rest.split(' ').nth(1)?.parse().ok()?;
    Some((status, answer[blank + 4..].to_vec()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::run::evidence::{Process, Socket};
    use proptest::prelude::*;
    use std::net::TcpListener;

    /// Answers requests for what is in `answers`; the first that is not there for ever.
    fn serve(answers: &'static [(&str, &str)]) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut request = [0; 512];
                let length = stream.read(&mut request).unwrap();
                let request = String::from_utf8_lossy(&request[..length]).into_owned();
                let path = request.strip_prefix("GET ").unwrap();
                let (path, rest) = path.split_once(' ').unwrap();
                assert!(rest.starts_with("HTTP/1.0\r\n") && rest.ends_with("\r\n\r\n"));
                match answers.iter().find(|(of, _)| *of == path) {
                    Some((_, answer)) => stream.write_all(answer.as_bytes()).unwrap(),
                    None => std::thread::sleep(Duration::from_secs(60)),
                }
            }
        });
        Target { pid: 7, address }
    }

    const GOOD: &str = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\n\
                        goroutine 1 [running]:\nmain.main()\n\t/a/b.go:5 +0x1d\n";
    const NOT_FOUND: &str = "HTTP/1.1 404 Not Found\r\n\r\nno goroutine 1 here\n";

    #[test]
    fn goroutines_are_fetched_and_others_do_not_hold_it_up() {
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let targets = vec![
            serve(&[(GOROUTINES, GOOD), (HEAP, NOT_FOUND)]),
            serve(&[(GOROUTINES, NOT_FOUND)]),
            serve(&[(GOROUTINES, "SSH-2.0-x\r\n")]),
            serve(&[]),
            Target {
                pid: 8,
                address: closed,
            },
        ];
        let begun = Instant::now();
        let found = all(targets, &[], Duration::from_secs(30), || Ok(())).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(found.complete);
        // One is asked for its heap as well.
        assert_eq!(found.fetched.len(), 6);
        assert_eq!(found.dumps.len(), 1);
        assert_eq!(found.dumps[0].parse().goroutines[0].header.id, 1);
        let statuses: Vec<_> = found.fetched.iter().filter_map(|f| f.status).collect();
        assert!(statuses.contains(&200) && statuses.contains(&404));
        assert_eq!(
            found.fetched.iter().filter(|f| f.error.is_some()).count(),
            3
        );
        assert!(found.fetched.iter().all(|f| f.body.is_empty()));
        let limit = Duration::from_millis(50);
        let none = all(vec![serve(&[])], &[], limit, || Ok(())).unwrap();
        assert!(!none.complete && none.fetched.is_empty());
    }

    #[test]
    fn what_else_is_asked_for_is_fetched_from_all() {
        let targets = vec![
            serve(&[
                (GOROUTINES, GOOD),
                (HEAP, "HTTP/1.0 200 OK\r\n\r\n\x1f"),
                ("/flight", "HTTP/1.0 200 OK\r\n\r\ngo 1.25 trace\0\0\0"),
            ]),
            serve(&[
                (GOROUTINES, NOT_FOUND),
                ("/flight", "HTTP/1.0 200 OK\r\n\r\ngo 1.26 trace\0\0\0"),
            ]),
        ];
        let paths = ["/flight".to_owned()];
        let found = all(targets, &paths, Duration::from_secs(30), || Ok(())).unwrap();
        let mut bodies: Vec<_> = found.fetched.iter().map(|f| f.body.as_slice()).collect();
        bodies.sort_unstable();
        let want: [&[u8]; 5] = [
            b"",
            b"",
            b"\x1f",
            b"go 1.25 trace\0\0\0",
            b"go 1.26 trace\0\0\0",
        ];
        assert_eq!(bodies, want);
        assert_eq!(found.dumps.len(), 1);
    }

    #[test]
    fn who_does_not_serve_is_not_asked() {
        let mut evidence = Evidence::default();
        let me = std::process::id();
        evidence.processes = vec![Process {
            pid: me,
            leaf: true,
            ..Process::default()
        }];
        evidence.sockets = vec![Socket {
            protocol: "tcp".to_owned(),
            state: "LISTEN".to_owned(),
            local: "127.0.0.1:1".to_owned(),
            holders: vec![(me, 3)],
            ..Socket::default()
        }];
        assert!(targets(&evidence, false).is_empty());
        assert!(targets(&evidence, true).is_empty());
        assert!(!has_function(u32::MAX, SERVES));
    }

    #[test]
    fn listeners_on_all_addresses_are_reached_locally() {
        assert_eq!(reachable("0.0.0.0:80"), "127.0.0.1:80".parse().ok());
        assert_eq!(reachable("[::]:80"), "[::1]:80".parse().ok());
        assert_eq!(reachable("10.0.0.1:80"), "10.0.0.1:80".parse().ok());
        assert_eq!(reachable("/run/x"), None);
    }

    proptest! {
        #[test]
        fn parsing_never_panics(answer in "(HTTP/1\\.[01] .{0,20}\r\n)?.{0,40}(\r\n\r\n)?.{0,10}") {
            let _ = (parse(answer.as_bytes()), reachable(&answer));
        }
    }
}
