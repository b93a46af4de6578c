//! Which hosts are asked without the environment's HTTP proxy.
//!
//! As golang.org/x/net/http/httpproxy does it (`useProxy` and `init`, in the form that Go
//! 1.27.3 has below src/vendor), by which the go command goes. Names that are not ASCII are
//! compared as they stand.

use std::net::IpAddr;

/// Whether a host is asked directly: this machine itself, and what `no_proxy` lists.
pub(super) fn bypasses(host: &str, port: u16, no_proxy: &str) -> bool {
    if host == "localhost" {
        return true;
    }
    let address = host
        .parse()
        .ok()
        .map(|address: IpAddr| address.to_canonical());
    if address.is_some_and(|address| address.is_loopback()) {
        return true;
    }
    let host = host.trim().to_ascii_lowercase();
    let port = port.to_string();
    no_proxy.split(',').any(|entry| {
        let entry = entry.trim().to_ascii_lowercase();
        Exempt::parse(&entry).is_some_and(|exempt| exempt.has(&host, &port, address))
    })
}

/// An entry of `NO_PROXY`. No port, or an empty one, is every port.
#[derive(Debug, PartialEq, Eq)]
enum Exempt<'a> {
    All,
    /// Addresses that begin with so many bits of this one.
    Block(IpAddr, u8),
    Address(IpAddr, &'a str),
    /// A name with what is below it.
    Domain(&'a str, &'a str),
    /// Only what is below a name, which begins with a point.
    Below(&'a str, &'a str),
}

impl<'a> Exempt<'a> {
    /// Reads an entry; nothing without a host.
    fn parse(entry: &'a str) -> Option<Self> {
        if entry == "*" {
            return Some(Self::All);
        }
        if let Some((address, bits)) = block(entry) {
            return Some(Self::Block(address, bits));
        }
        let (host, port) = host_and_port(entry).unwrap_or((entry, ""));
        if let Ok(address) = host.parse::<IpAddr>() {
            return Some(Self::Address(address.to_canonical(), port));
        }
        let host = match host.strip_prefix('*') {
            Some(below) if below.starts_with('.') => below,
            _ => host,
        };
        match host.chars().next()? {
            '.' => Some(Self::Below(host, port)),
            _ => Some(Self::Domain(host, port)),
        }
    }

    /// Whether this host, an address or not, is meant.
    fn has(&self, host: &str, port: &str, address: Option<IpAddr>) -> bool {
        let (matches, own_port) = match (self, address) {
            (Self::All, _) => return true,
            (Self::Block(block, bits), Some(address)) => return begins(address, *block, *bits),
            (Self::Address(own, port), Some(address)) => (*own == address, *port),
            (Self::Domain(name, port), None) => {
                let rest = host.strip_suffix(name);
                (
                    rest.is_some_and(|rest| rest.is_empty() || rest.ends_with('.')),
                    *port,
                )
            }
            (Self::Below(name, port), None) => (host.ends_with(name), *port),
            _ => return false,
        };
        matches && (own_port.is_empty() || own_port == port)
    }
}

/// `10.0.0.0/8` and `2001:db8::/32` (`net.ParseCIDR`).
fn block(entry: &str) -> Option<(IpAddr, u8)> {
    let (address, bits) = entry.split_once('/')?;
    let address: IpAddr = address.parse().ok()?;
    // A sign is none of its digits.
    let bits: u8 = bits
        .bytes()
        .all(|byte| byte.is_ascii_digit())
        .then(|| bits.parse().ok())??;
    let (most, mapped) = match address {
        IpAddr::V4(_) => (32, None),
        IpAddr::V6(long) => (128, long.to_ipv4_mapped()),
    };
    if bits > most {
        return None;
    }
    Some(match (mapped, bits.checked_sub(96)) {
        (Some(short), Some(bits)) => (short.into(), bits),
        _ => (address, bits),
    })
}

/// Whether both are of one kind and have the same first bits.
fn begins(address: IpAddr, block: IpAddr, bits: u8) -> bool {
    let bits = u32::from(bits);
    match (address, block) {
        (IpAddr::V4(address), IpAddr::V4(block)) => {
            let differ = address.to_bits() ^ block.to_bits();
            differ.leading_zeros() >= bits
        }
        (IpAddr::V6(address), IpAddr::V6(block)) => {
            let differ = address.to_bits() ^ block.to_bits();
            differ.leading_zeros() >= bits
        }
        _ => false,
    }
}

/// The parts of `host:port` and `[address]:port` (`net.SplitHostPort`).
fn host_and_port(text: &str) -> Option<(&str, &str)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = match host.strip_prefix('[') {
        Some(inner) => inner.strip_suffix(']')?,
        None if host.contains(':') => return None,
        None => host,
    };
    (!host.contains(['[', ']']) && !port.contains(['[', ']'])).then_some((host, port))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn entries_are_matched_as_the_go_command_does() {
        for (host, no_proxy, direct) in [
            ("a.example", "*", true),
            ("a.example", "a.example", true),
            ("A.Example", "a.EXAMPLE", true),
            ("a.example", "*.example", true),
            ("a.example", ".example", true),
            ("example", ".example", false),
            ("example", "*.example", false),
            ("example", "example", true),
            ("a.example", "example", true),
            ("a.example", "b.example, a.example", true),
            ("a.example", "xample", false),
            ("a.example", "*xample", false),
            ("a.example", "", false),
            ("a.example", ",, ,:443,.", false),
            // With a port.
            ("a.example", "a.example:443", true),
            ("a.example", "a.example:80", false),
            ("a.example", "a.example:", true),
            ("a.example", "a.example:https", false),
            ("a.example", ".example:443", true),
            // Addresses, and names that look like their ends.
            ("192.0.2.7", "192.0.2.7", true),
            ("192.0.2.7", "192.0.2.7:443", true),
            ("192.0.2.7", "192.0.2.7:80", false),
            ("192.0.2.7", "2.7", false),
            ("192.0.2.7", "*", true),
            ("2001:db8::1", "2001:db8::1", true),
            ("2001:db8::1", "2001:db8:0::1", true),
            ("2001:db8::1", "[2001:db8::1]:443", true),
            ("2001:db8::1", "[2001:db8::1]:80", false),
            ("2001:db8::1", "[2001:db8::1]", false),
            ("::ffff:192.0.2.7", "192.0.2.7", true),
            // Blocks.
            ("192.0.2.7", "192.0.2.0/24", true),
            ("192.0.2.7", "192.0.2.200/24", true),
            ("192.0.2.7", "192.0.3.0/24", false),
            ("192.0.2.7", "192.0.2.6/31", true),
            ("192.0.2.7", "192.0.2.4/31", false),
            ("192.0.2.7", "0.0.0.0/0", true),
            ("192.0.2.7", "192.0.2.7/32", true),
            ("192.0.2.7", "192.0.2.0/33", false),
            ("192.0.2.7", "192.0.2.0/+24", false),
            ("192.0.2.7", "192.0.2.0/", false),
            ("192.0.2.7", "::/0", false),
            ("192.0.2.7", "::ffff:192.0.2.0/120", true),
            ("192.0.2.7", "::ffff:192.0.2.0/95", false),
            ("2001:db8::1", "2001:db8::/32", true),
            ("2001:db9::1", "2001:db8::/32", false),
            ("2001:db8::1", "0.0.0.0/0", false),
            ("a.example", "0.0.0.0/0", false),
            // This machine.
            ("localhost", "", true),
            ("127.9.9.9", "", true),
            ("::1", "", true),
            ("::ffff:127.0.0.1", "", true),
        ] {
            assert_eq!(bypasses(host, 443, no_proxy), direct, "{host} {no_proxy}");
        }
    }

    proptest! {
        #[test]
        fn any_list_is_read(host in ".{0,20}", list in "[a-z0-9.:,/*\\[\\] é]{0,40}", port: u16) {
            let _ = bypasses(&host, port, &list);
        }

        #[test]
        fn a_block_is_its_first_bits(address: u32, other: u32, bits in 0_u8..=32) {
            let address = std::net::Ipv4Addr::from_bits(address);
            let other = std::net::Ipv4Addr::from_bits(other);
            prop_assume!(!address.is_loopback());
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            let within = address.to_bits() & mask == other.to_bits() & mask;
            let list = format!("{other}/{bits}");
            prop_assert_eq!(bypasses(&address.to_string(), 1, &list), within);
        }
    }
}
