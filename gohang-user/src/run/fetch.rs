//! Goroutines from programs that serve them (`net/http/pprof`), which leaves them running.

use std::collections::BTreeSet;
use std::io::{self, Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::{Duration, Instant};

use super::evidence::{DumpText, Evidence, Fetched, Origin};

/// What is asked for.
const PATH: &str = "/debug/pprof/goroutine?debug=2";
/// Most addresses that are asked.
const MAX_TARGETS: usize = 16;
/// How long a connection may take, and each read.
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

/// What came of it.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Every address that was asked.
    pub fetched: Vec<Fetched>,
    /// What has goroutines in it.
    pub dumps: Vec<DumpText>,
    /// All have answered, or did not want to.
    pub complete: bool,
}

/// Where the Go programs of the command listen, in gohang's own network namespace.
pub(super) fn targets(evidence: &Evidence) -> Vec<Target> {
    let leaves: BTreeSet<u32> = evidence
        .processes
        .iter()
        .filter(|process| process.leaf && shares_network(process.pid))
        .map(|process| process.pid)
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

/// Asks all of them at once, each in a thread of its own, for at most `limit`. `meanwhile` is
/// called often until it is done.
pub(super) fn all(
    targets: Vec<Target>,
    limit: Duration,
    mut meanwhile: impl FnMut() -> io::Result<()>,
) -> io::Result<Found> {
    let end = Instant::now() + limit;
    let (tell, told) = channel();
    for target in targets {
        let tell = tell.clone();
        let thread = std::thread::Builder::new().name("fetch".into());
        thread.spawn(move || {
            let answer = ask(target.address, end);
            // Nobody waits any more.
            let _ = tell.send((target, answer));
        })?;
    }
    drop(tell);
    let mut found = Found::default();
    loop {
        match told.recv_timeout(LOOK) {
            Ok((target, answer)) => take(&mut found, &target, answer),
            Err(RecvTimeoutError::Disconnected) => {
                found.complete = true;
                return Ok(found);
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() >= end => return Ok(found),
            Err(RecvTimeoutError::Timeout) => meanwhile()?,
        }
    }
}

fn take(found: &mut Found, target: &Target, answer: io::Result<Vec<u8>>) {
    let mut fetched = Fetched {
        pid: target.pid,
        url: format!("http://{}{PATH}", target.address),
        ..Fetched::default()
    };
    match answer.map(|raw| parse(&raw)) {
        Err(error) => fetched.error = Some(error.to_string()),
        Ok(None) => fetched.error = Some("the answer is not HTTP".to_owned()),
        Ok(Some((status, body))) => {
            fetched.status = Some(status);
            fetched.bytes = body.len() as u64;
            let dump = DumpText {
                origin: Origin::Pprof,
                pid: Some(target.pid),
                package: String::new(),
                text: String::from_utf8_lossy(&body).into_owned(),
            };
            if status == 200 && !dump.parse().goroutines.is_empty() {
                found.dumps.push(dump);
            }
        }
    }
    found.fetched.push(fetched);
}

/// One request of HTTP 1.0, of which the answer ends with the connection.
fn ask(address: SocketAddr, end: Instant) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let request = format!("GET {PATH} HTTP/1.0\r\nHost: {address}\r\nConnection: close\r\n\r\n");
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
    use proptest::prelude::*;
    use std::net::TcpListener;

    /// Answers one request, or none.
    fn serve(answer: Option<&'static str>) -> Target {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().unwrap();
            let mut request = [0; 512];
            let length = stream.read(&mut request).unwrap();
            assert!(request[..length].starts_with(b"GET /debug/pprof/goroutine?debug=2 HTTP"));
            match answer {
                Some(answer) => stream.write_all(answer.as_bytes()).unwrap(),
                None => std::thread::sleep(Duration::from_secs(60)),
            }
        });
        Target { pid: 7, address }
    }

    #[test]
    fn goroutines_are_fetched_and_others_do_not_hold_it_up() {
        let good = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\ngoroutine 1 [running]:\n\
                    main.main()\n\t/a/b.go:5 +0x1d\n";
        let closed = {
            let listener = TcpListener::bind("127.0.0.1:0").unwrap();
            listener.local_addr().unwrap()
        };
        let targets = vec![
            serve(Some(good)),
            serve(Some("HTTP/1.1 404 Not Found\r\n\r\nno goroutine 1 here\n")),
            serve(Some("SSH-2.0-x\r\n")),
            serve(None),
            Target {
                pid: 8,
                address: closed,
            },
        ];
        let begun = Instant::now();
        let found = all(targets, Duration::from_secs(30), || Ok(())).unwrap();
        assert!(begun.elapsed() < Duration::from_secs(20));
        assert!(found.complete);
        assert_eq!(found.fetched.len(), 5);
        assert_eq!(found.dumps.len(), 1);
        assert_eq!(found.dumps[0].parse().goroutines[0].header.id, 1);
        let statuses: Vec<_> = found.fetched.iter().filter_map(|f| f.status).collect();
        assert!(statuses.contains(&200) && statuses.contains(&404));
        assert_eq!(
            found.fetched.iter().filter(|f| f.error.is_some()).count(),
            3
        );
        let none = all(vec![serve(None)], Duration::from_millis(50), || Ok(())).unwrap();
        assert!(!none.complete && none.fetched.is_empty());
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
