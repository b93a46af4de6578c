//! The running kernel's functions by name, as hooks on them are loaded by type id.

use std::collections::BTreeMap;

use anyhow::Result;

use crate::btf_kinds::each;

/// Kind of a function (include/uapi/linux/btf.h).
const FUNC: u32 = 12;

/// The ids of the functions of these names, as far as the kernel's types have them.
///
/// # Errors
/// There is no BTF, or it cannot be understood.
pub fn functions<'a>(names: &[&'a str]) -> Result<BTreeMap<&'a str, u32>> {
    let mut found = BTreeMap::new();
    each(FUNC, |id, name| {
        let named = |own: &&&'a str| own.as_bytes() == name;
        found.extend(names.iter().find(named).map(|name| (*name, id)));
    })?;
    Ok(found)
}
