//! Ids of the kernel's tracepoint types.

use std::collections::BTreeMap;
use std::fs;

use anyhow::{Context as _, Result};

/// The running kernel's types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// What a tracepoint's callback type is called before the tracepoint's name.
const PREFIX: &[u8] = b"btf_trace_";

/// Kind of a typedef (include/uapi/linux/btf.h).
const TYPEDEF: u32 = 8;

/// The tracepoints of the running kernel by the id of their types.
///
/// # Errors
/// There is no BTF, or it cannot be read.
pub fn tracepoints() -> Result<BTreeMap<u32, String>> {
    let bytes = fs::read(VMLINUX).with_context(|| format!("could not read {VMLINUX}"))?;
    parse(&bytes).with_context(|| format!("{VMLINUX} cannot be understood"))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// Bytes after a type's head, by kind and number of members.
fn tail(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // void, ptr, fwd, typedef, volatile, const, restrict, func, float, type tag
        0 | 2 | 7..=12 | 16 | 18 => 0,
        // int, var, declaration tag
        1 | 14 | 17 => 4,
        3 => 12,
        // struct, union, section, 64-bit enum
        4 | 5 | 15 | 19 => 12 * members,
        // enum, parameters
        6 | 13 => 8 * members,
        _ => return None,
    })
}

fn parse(bytes: &[u8]) -> Option<BTreeMap<u32, String>> {
    // struct btf_header: magic, version, flags, hdr_len, then the offsets and
    // lengths of types and strings, after the header.
    let header = word(bytes, 4)? as usize;
    let section = |at| {
        let begin = header.checked_add(word(bytes, at)? as usize)?;
        bytes.get(begin..begin.checked_add(word(bytes, at + 4)? as usize)?)
    };
    let (types, strings) = (section(8)?, section(16)?);
    let mut found = BTreeMap::new();
    let (mut at, mut id) = (0, 1);
    while at < types.len() {
        let info = word(types, at + 4)?;
        let kind = info >> 24 & 0x1f;
        if kind == TYPEDEF {
            let name = strings.get(word(types, at)? as usize..)?;
            let name = name.split(|&byte| byte == 0).next()?;
            if let Some(name) = name.strip_prefix(PREFIX) {
                found.insert(id, String::from_utf8_lossy(name).into_owned());
            }
        }
        at += 12 + tail(kind, (info & 0xffff) as usize)?;
        id += 1;
    }
    Some(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn btf(types: &[u32], strings: &[u8]) -> Vec<u8> {
        let types: Vec<u8> = types.iter().flat_map(|word| word.to_le_bytes()).collect();
        let lengths = [0, types.len(), types.len(), strings.len()];
        let mut bytes = vec![0x9f, 0xeb, 1, 0, 24, 0, 0, 0];
        bytes.extend(lengths.iter().flat_map(|&n| (n as u32).to_le_bytes()));
        bytes.extend(types);
        bytes.extend(strings);
        bytes
    }

    #[test]
    fn tracepoints_are_found_behind_types_with_tails() {
        // An int, a struct with one member, a typedef, a tracepoint.
        let types = [
            [1, 1 << 24, 4, 32].as_slice(),
            &[0, 4 << 24 | 1, 4, 1, 1, 0],
            &[1, 8 << 24, 1],
            &[5, 8 << 24, 1],
        ]
        .concat();
        let strings = b"\0int\0btf_trace_sched_switch\0";
        assert_eq!(
            parse(&btf(&types, strings)),
            Some(BTreeMap::from([(4, "sched_switch".to_owned())]))
        );
    }

    #[test]
    fn what_is_cut_off_or_of_an_unknown_kind_is_refused() {
        let whole = btf(&[1, 8 << 24, 1], b"\0x\0");
        for end in 0..whole.len() {
            assert_eq!(parse(&whole[..end]), None, "{end}");
        }
        assert_eq!(parse(&btf(&[0, 31 << 24, 0], b"\0")), None);
    }
}
