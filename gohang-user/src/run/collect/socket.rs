//! Sockets: `/proc/PID/net/tcp` and the like, of each network namespace once.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use super::fds::link;
use super::text;
use crate::process::ProcRoot;
use crate::run::evidence::Socket;

/// States of TCP by number (`include/net/tcp_states.h`), in the words of ss(8).
const TCP: [&str; 13] = [
    "UNKNOWN",
    "ESTAB",
    "SYN-SENT",
    "SYN-RECV",
    "FIN-WAIT-1",
    "FIN-WAIT-2",
    "TIME-WAIT",
    "UNCONN",
    "CLOSE-WAIT",
    "LAST-ACK",
    "LISTEN",
    "CLOSING",
    "NEW-SYN-RECV",
];
/// `SO_ACCEPTCON` in the flags of a unix socket (`include/uapi/linux/net.h`).
const ACCEPTS: u64 = 1 << 16;

/// Who holds a socket: processes and descriptors.
type Holders = BTreeMap<u64, Vec<(u32, u32)>>;

/// The sockets that processes hold, given the descriptors and numbers of each.
pub(super) fn all(proc: &ProcRoot, held: &BTreeMap<u32, Vec<(u32, u64)>>) -> Vec<Socket> {
    let mut holders = Holders::new();
    for (&pid, sockets) in held {
        for &(fd, inode) in sockets {
            holders.entry(inode).or_default().push((pid, fd));
        }
    }
    let mut found = Vec::new();
    let mut seen = BTreeSet::new();
    for (&pid, sockets) in held {
        let namespace = link(proc, pid, "ns/net").unwrap_or_else(|| pid.to_string());
        if sockets.is_empty() || !seen.insert(namespace) {
            continue;
        }
        for protocol in ["tcp", "tcp6", "udp", "udp6", "unix"] {
            let Ok(raw) = proc.read_pid_file(pid, &format!("net/{protocol}")) else {
                continue;
            };
            let raw = text(&raw);
            let lines = raw.lines().skip(1).filter_map(|line| match protocol {
                "unix" => unix(line),
                _ => internet(protocol, line),
            });
            found.extend(lines.filter_map(|mut socket| {
                socket.holders = holders.remove(&socket.inode)?;
                Some(socket)
            }));
        }
    }
    found
}

/// A line of `net/tcp` or `net/udp`.
fn internet(protocol: &str, line: &str) -> Option<Socket> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let (to_send, to_read) = fields.get(4)?.split_once(':')?;
    let state = usize::try_from(hex(fields.get(3)?)?).ok()?;
    Some(Socket {
        protocol: protocol.to_owned(),
        state: (*TCP.get(state).unwrap_or(&TCP[0])).to_owned(),
        local: address(fields.get(1)?)?.to_string(),
        remote: address(fields.get(2)?)?.to_string(),
        to_send_bytes: hex(to_send)?,
        to_read_bytes: hex(to_read)?,
        inode: fields.get(9)?.parse().ok()?,
        holders: Vec::new(),
    })
}

/// `0100007F:0050`: words of 32 bits in the machine's byte order, then the port.
fn address(text: &str) -> Option<SocketAddr> {
    let (words, port) = text.split_once(':')?;
    if !words.is_ascii() {
        return None;
    }
    let word = |at: usize| {
        let word = words.get(at * 8..at * 8 + 8)?;
        Some(u32::from_str_radix(word, 16).ok()?.to_ne_bytes())
    };
    let ip: IpAddr = match words.len() {
        8 => Ipv4Addr::from(word(0)?).into(),
        32 => {
            let mut bytes = [0; 16];
            for at in 0..4 {
                bytes[at * 4..at * 4 + 4].copy_from_slice(&word(at)?);
            }
            Ipv6Addr::from(bytes).into()
        }
        _ => return None,
    };
    Some(SocketAddr::new(ip, u16::from_str_radix(port, 16).ok()?))
}

/// A line of `net/unix`: `Num RefCount Protocol Flags Type St Inode Path`.
fn unix(line: &str) -> Option<Socket> {
    let mut fields = line.split_ascii_whitespace();
    let flags = u64::from_str_radix(fields.nth(3)?, 16).ok()?;
    let state = fields.nth(1)?;
    let inode = fields.next()?.parse().ok()?;
    let state = match state {
        _ if flags & ACCEPTS != 0 => "LISTEN",
        // `SS_CONNECTING`, `SS_CONNECTED` (include/uapi/linux/net.h).
        "02" => "SYN-SENT",
        "03" => "ESTAB",
        _ => "UNCONN",
    };
    Some(Socket {
        protocol: "unix".to_owned(),
        state: state.to_owned(),
        local: fields.collect::<Vec<_>>().join(" "),
        inode,
        ..Socket::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    #[cfg(target_endian = "little")]
    fn lines_of_the_kernel() {
        let line = "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000003 00:00000000 00000000 \
                    0        0 12345 1 0000000000000000 100 0 0 10 0";
        let socket = internet("tcp", line).unwrap();
        let want = Socket {
            protocol: "tcp".into(),
            state: "LISTEN".into(),
            local: "127.0.0.1:8080".into(),
            remote: "0.0.0.0:0".into(),
            to_read_bytes: 3,
            inode: 12345,
            ..Socket::default()
        };
        assert_eq!(socket, want);
        let line = "  1: 00000000000000000000000001000000:0050 \
                    00000000000000000000000001000000:D431 02 00000005:00000000 01:00000014 \
                    00000001 0 0 777 2 0 20 4 0 10 -1";
        let socket = internet("tcp6", line).unwrap();
        assert_eq!((socket.local.as_str(), socket.inode), ("[::1]:80", 777));
        assert_eq!(
            (socket.state.as_str(), socket.to_send_bytes),
            ("SYN-SENT", 5)
        );
        let line = "0000000000000000: 00000002 00000000 00010000 0001 01 9876 /run/a b.sock";
        let socket = unix(line).unwrap();
        assert_eq!(
            (socket.state.as_str(), socket.local.as_str()),
            ("LISTEN", "/run/a b.sock")
        );
        assert_eq!(socket.inode, 9876);
    }

    proptest! {
        #[test]
        fn reading_never_panics(
            line in "([0-9A-Fa-fé:]{0,34} ){0,12}|.{0,80}",
            words in "[0-9A-Fé]{0,33}:[0-9A-F]{0,6}",
        ) {
            let _ = (internet("tcp", &line), unix(&line), address(&words));
        }
    }
}
