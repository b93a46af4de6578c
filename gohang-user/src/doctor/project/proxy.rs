//! Whether the entries of `GOPROXY` answer.
//!
//! A TCP connection is made, and nothing sent: to the proxy's host, or to the HTTP proxy
//! that the environment asks for.

use std::io;
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::no_proxy::bypasses;

/// An entry of `GOPROXY`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ProxyEntry {
    /// As it stands in `GOPROXY`, a password left out.
    pub entry: String,
    /// The HTTP proxy of the environment through which it is asked; null without one.
    pub through: Option<String>,
    /// Whether it answers; null for what is not asked: `direct` and `off`.
    pub reachable: Option<bool>,
    /// Why it does not.
    pub error: Option<String>,
    /// How long that took, in nanoseconds; null for what is not asked.
    pub took_ns: Option<u64>,
    /// The go command goes on to the next entry after any error (`|`), not only when the
    /// module is not there (`,`).
    pub falls_through: bool,
}

/// Connects to a host and port within a time.
pub(super) type Connect = Arc<dyn Fn(&str, u16, Duration) -> io::Result<()> + Send + Sync>;

/// Looks up the name and connects to the first address that answers.
pub(super) fn connect() -> Connect {
    Arc::new(|host, port, limit| {
        let begin = Instant::now();
        let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
        for address in (host, port).to_socket_addrs()? {
            let left = limit.saturating_sub(begin.elapsed());
            if left.is_zero() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            match TcpStream::connect_timeout(&address, left) {
                Ok(_) => return Ok(()),
                Err(error) => last = error,
            }
        }
        Err(last)
    })
}

/// Asks every entry, all at once. `variable` is the environment.
pub(super) fn ask(
    goproxy: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    limit: Duration,
    connect: &Connect,
) -> Vec<ProxyEntry> {
    let begin = Instant::now();
    let mut pending = Vec::new();
    for (text, falls_through) in split(goproxy) {
        let mut entry = ProxyEntry {
            entry: text.to_owned(),
            through: None,
            reachable: None,
            error: None,
            took_ns: None,
            falls_through,
        };
        let answer = match text {
            "direct" | "off" | "noproxy" => None,
            text => {
                let (shown, target) = target(text, variable, &mut entry.through);
                entry.entry = shown;
                Some(start(target, limit, connect))
            }
        };
        pending.push((entry, answer));
    }
    let finish = |(mut entry, answer): (ProxyEntry, Option<Answer>)| {
        let Some(answer) = answer else { return entry };
        let left = limit.saturating_sub(begin.elapsed());
        let (result, took) = answer.recv_timeout(left).unwrap_or_else(|_| {
            let what = format!("no answer within {limit:?}");
            (Err(what), begin.elapsed())
        });
        entry.reachable = Some(result.is_ok());
        entry.error = result.err();
        entry.took_ns = u64::try_from(took.as_nanos()).ok();
        entry
    };
    pending.into_iter().map(finish).collect()
}

/// The entries, and whether any error leads on to the next.
fn split(goproxy: &str) -> impl Iterator<Item = (&str, bool)> {
    goproxy.split_inclusive([',', '|']).filter_map(|part| {
        let text = part.trim_end_matches([',', '|']).trim();
        (!text.is_empty()).then_some((text, part.ends_with('|')))
    })
}

/// What is to be asked: a folder, or a host and port.
enum Target {
    Folder(String),
    Host(String, u16),
    Bad(String),
}

type Answer = mpsc::Receiver<(Result<(), String>, Duration)>;

/// Asks in a thread of its own, which a name server that does not answer may hold up.
fn start(target: Target, limit: Duration, connect: &Connect) -> Answer {
    let (send, receive) = mpsc::channel();
    let connect = Arc::clone(connect);
    thread::spawn(move || {
        let begin = Instant::now();
        let result = match target {
            Target::Folder(path) => std::fs::read_dir(path).map(drop),
            Target::Host(host, port) => connect(&host, port, limit),
            Target::Bad(what) => Err(io::Error::other(what)),
        };
        let result = result.map_err(|error| error.to_string());
        // Nobody waits any more after the limit.
        let _ = send.send((result, begin.elapsed()));
    });
    receive
}

/// The entry without a password, and what is to be asked for it.
fn target(
    entry: &str,
    variable: &dyn Fn(&str) -> Option<String>,
    through: &mut Option<String>,
) -> (String, Target) {
    // As the go command does (cmd/go/internal/modfetch/proxy.go).
    let scheme_left_out =
        entry.contains(['.', ':', '/']) && !entry.contains(":/") && !entry.starts_with('/');
    let whole = if scheme_left_out {
        format!("https://{entry}")
    } else {
        entry.to_owned()
    };
    let Some(url) = Url::parse(&whole) else {
        let what = "it is no URL (the go command wants https://, http:// or file://)";
        return (entry.to_owned(), Target::Bad(what.to_owned()));
    };
    let shown = url.shown();
    if url.scheme == "file" {
        return (shown, Target::Folder(url.path.to_owned()));
    }
    let Some(default) = default_port(url.scheme) else {
        let what = format!("the go command does not know {}://", url.scheme);
        return (shown, Target::Bad(what));
    };
    let either = |name: &str| {
        let value = variable(name).filter(|value| !value.is_empty());
        value.or_else(|| variable(&name.to_ascii_lowercase()).filter(|value| !value.is_empty()))
    };
    let name = if url.scheme == "https" {
        "HTTPS_PROXY"
    } else {
        "HTTP_PROXY"
    };
    let no_proxy = either("NO_PROXY").unwrap_or_default();
    let port = url.port.unwrap_or(default);
    if let Some(http) = either(name).filter(|_| !bypasses(url.host, port, &no_proxy)) {
        let with_scheme = if http.contains("://") {
            http
        } else {
            format!("http://{http}")
        };
        return match Url::parse(&with_scheme) {
            Some(http) => {
                *through = Some(http.shown());
                let port = http
                    .port
                    .or_else(|| default_port(http.scheme))
                    .unwrap_or(1080);
                (shown, Target::Host(http.host.to_owned(), port))
            }
            None => (shown, Target::Bad(format!("{name} is no URL"))),
        };
    }
    (shown, Target::Host(url.host.to_owned(), port))
}

fn default_port(scheme: &str) -> Option<u16> {
    match scheme {
        "https" => Some(443),
        "http" => Some(80),
        _ => None,
    }
}

/// The parts of a URL that matter here.
struct Url<'a> {
    scheme: &'a str,
    user: Option<&'a str>,
    host: &'a str,
    port: Option<u16>,
    path: &'a str,
    authority: &'a str,
}

impl<'a> Url<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (scheme, rest) = text.split_once("://")?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, path) = rest.split_at(end);
        let (user, place) = match authority.rsplit_once('@') {
            Some((user, place)) => (Some(user), place),
            None => (None, authority),
        };
        // An IPv6 address has colons of its own, and brackets.
        let (host, port) = match place.strip_prefix('[') {
            Some(rest) => {
                let (host, rest) = rest.split_once(']')?;
                (host, rest.strip_prefix(':'))
            }
            None => match place.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (place, None),
            },
        };
        let port = match port {
            None | Some("") => None,
            Some(port) => Some(port.parse().ok()?),
        };
        if host.is_empty() && scheme != "file" {
            return None;
        }
        Some(Self {
            scheme,
            user,
            host,
            port,
            path,
            authority: place,
        })
    }

    /// Without the user's name and password, and without what may be one in the query.
    fn shown(&self) -> String {
        let user = if self.user.is_some() { "***@" } else { "" };
        let path = self.path.split(['?', '#']).next().unwrap_or_default();
        format!("{}://{user}{}{path}", self.scheme, self.authority)
    }
}

#[cfg(test)]
#[path = "proxy_tests.rs"]
mod tests;
