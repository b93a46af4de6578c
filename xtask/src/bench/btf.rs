//! Ids of the kernel's tracepoint types.

#[path = "../../../tests/src/btf_kinds.rs"]
mod kinds;

use std::collections::BTreeMap;

use anyhow::Result;

/// What a tracepoint's callback type is called before the tracepoint's name.
const PREFIX: &[u8] = b"btf_trace_";

/// Kind of a typedef (include/uapi/linux/btf.h).
const TYPEDEF: u32 = 8;

/// The tracepoints of the running kernel by the id of their types.
///
/// # Errors
/// There is no BTF, or it cannot be read.
pub fn tracepoints() -> Result<BTreeMap<u32, String>> {
    let mut found = BTreeMap::new();
    kinds::each(TYPEDEF, |id, name| {
        found.extend(tracepoint(name).map(|name| (id, name)));
    })?;
    Ok(found)
}

/// The tracepoint whose callback type is called so.
fn tracepoint(name: &[u8]) -> Option<String> {
    let name = name.strip_prefix(PREFIX)?;
    Some(String::from_utf8_lossy(name).into_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tracepoints_are_told_by_their_types_names() {
        let found = tracepoint(b"btf_trace_sched_switch");
        assert_eq!(found.as_deref(), Some("sched_switch"));
        assert_eq!(tracepoint(b"int"), None);
    }
}
