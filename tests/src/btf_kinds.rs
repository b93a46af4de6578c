//! The running kernel's types of one kind, with their ids: what loads hooks on them goes by
//! those. Also part of xtask, whose empty programs hang on the same hooks.

use anyhow::{Context as _, Result};

/// The running kernel's types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Hands id and name of each of the running kernel's types of this kind
/// (include/uapi/linux/btf.h) over.
///
/// # Errors
/// There is no BTF, or it cannot be understood.
pub fn each(kind: u32, take: impl FnMut(u32, &[u8])) -> Result<()> {
    let bytes = std::fs::read(VMLINUX).with_context(|| format!("cannot read {VMLINUX}"))?;
    walk(&bytes, kind, take).with_context(|| format!("{VMLINUX} cannot be understood"))
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let word = bytes.get(at..at.checked_add(4)?)?;
    Some(u32::from_le_bytes(word.try_into().ok()?))
}

/// Bytes after a type's head, by kind and number of members.
fn tail(kind: u32, members: usize) -> Option<usize> {
    Some(match kind {
        // void, pointer, forward, typedef, qualifiers, function, float, type tag
        0 | 2 | 7..=12 | 16 | 18 => 0,
        // integer, variable, declaration tag
        1 | 14 | 17 => 4,
        // array
        3 => 12,
        // structure, union, section, 64-bit enumeration
        4 | 5 | 15 | 19 => 12 * members,
        // enumeration, parameters
        6 | 13 => 8 * members,
        _ => return None,
    })
}

fn walk(bytes: &[u8], wanted: u32, mut take: impl FnMut(u32, &[u8])) -> Option<()> {
    // struct btf_header: magic, version, flags, hdr_len, then offset and length of types and
    // of strings, from the header's end.
    let header = word(bytes, 4)? as usize;
    let section = |at| {
        let begin = header.checked_add(word(bytes, at)? as usize)?;
        bytes.get(begin..begin.checked_add(word(bytes, at + 4)? as usize)?)
    };
    let (types, strings) = (section(8)?, section(16)?);
    let (mut at, mut id) = (0, 1);
    while at < types.len() {
        let info = word(types, at + 4)?;
        let kind = info >> 24 & 0x1f;
        if kind == wanted {
            let name = strings.get(word(types, at)? as usize..)?;
            take(id, name.split(|&byte| byte == 0).next()?);
        }
        at += 12 + tail(kind, (info & 0xffff) as usize)?;
        id += 1;
    }
    Some(())
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

    fn found(bytes: &[u8], kind: u32) -> Option<Vec<(u32, Vec<u8>)>> {
        let mut all = Vec::new();
        walk(bytes, kind, |id, name| all.push((id, name.to_vec())))?;
        Some(all)
    }

    #[test]
    fn types_are_found_behind_types_with_tails() {
        // An integer, a structure with one member, parameters, two functions, a typedef.
        let types = [
            [1, 1 << 24, 4, 32].as_slice(),
            &[0, 4 << 24 | 1, 4, 1, 1, 0],
            &[0, 13 << 24 | 1, 0, 1, 1],
            &[1, 12 << 24, 2],
            &[5, 12 << 24, 2],
            &[5, 8 << 24, 1],
        ]
        .concat();
        let bytes = btf(&types, b"\0one\0two\0");
        let functions = vec![(4, b"one".to_vec()), (5, b"two".to_vec())];
        assert_eq!(found(&bytes, 12), Some(functions));
        assert_eq!(found(&bytes, 8), Some(vec![(6, b"two".to_vec())]));
        for end in 0..bytes.len() {
            assert_eq!(found(&bytes[..end], 12), None, "{end}");
        }
    }

    #[test]
    fn an_unknown_kind_is_refused() {
        assert_eq!(found(&btf(&[0, 31 << 24, 0], b"\0"), 12), None);
    }
}
