//! The running kernel's functions by name, as hooks on them are loaded by type id.

use std::collections::BTreeMap;

use anyhow::{Context, Result};

/// The running kernel's types.
const VMLINUX: &str = "/sys/kernel/btf/vmlinux";

/// Kind of a function (include/uapi/linux/btf.h).
const FUNC: u32 = 12;

/// The ids of the functions of these names, as far as the kernel's types have them.
///
/// # Errors
/// There is no BTF, or it cannot be understood.
pub fn functions<'a>(names: &[&'a str]) -> Result<BTreeMap<&'a str, u32>> {
    let bytes = std::fs::read(VMLINUX).with_context(|| format!("cannot read {VMLINUX}"))?;
    find(&bytes, names).with_context(|| format!("{VMLINUX} cannot be understood"))
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

fn find<'a>(bytes: &[u8], names: &[&'a str]) -> Option<BTreeMap<&'a str, u32>> {
    // struct btf_header: magic, version, flags, hdr_len, then offset and length of types and
    // of strings, from the header's end.
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
        if kind == FUNC {
            let name = strings.get(word(types, at)? as usize..)?;
            let name = name.split(|&byte| byte == 0).next()?;
            let named = |own: &&&'a str| own.as_bytes() == name;
            found.extend(names.iter().find(named).map(|name| (*name, id)));
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
    fn functions_are_found_behind_types_with_tails() {
        // An integer, parameters, a function, another one, a typedef of the same name.
        let types = [
            [1, 1 << 24, 4, 32].as_slice(),
            &[0, 13 << 24 | 1, 0, 1, 1],
            &[1, 12 << 24, 2],
            &[5, 12 << 24, 2],
            &[5, 8 << 24, 1],
        ]
        .concat();
        let bytes = btf(&types, b"\0one\0two\0");
        let found = find(&bytes, &["two", "three"]).expect("types");
        assert_eq!(found, BTreeMap::from([("two", 4)]));
        for end in 0..bytes.len() {
            assert_eq!(find(&bytes[..end], &["two"]), None, "{end}");
        }
    }
}
