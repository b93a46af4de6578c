//! Types by name, built for one group of kinds when it is first asked for.

use super::raw::{Raw, Type};

/// Hashed and compared bytes of a name. The kernel's longest symbol has 511; the bound
/// keeps a file with one huge string and many names pointing into it cheap.
const MAX_HASHED: usize = 512;

/// Type ids of one group, sorted by the hash of their names.
#[derive(Debug)]
pub(super) struct NameIndex(Vec<(u64, u32)>);

impl NameIndex {
    /// All named types of `kinds`.
    pub(super) fn build(raw: &Raw, kinds: &[u8]) -> Self {
        let mut entries: Vec<(u64, u32)> = raw
            .iter()
            .filter(|ty| kinds.contains(&ty.kind))
            .map(|ty| (hash(raw.name_prefix(ty.name_off, MAX_HASHED)), ty.id))
            .collect();
        entries.sort_unstable();
        Self(entries)
    }

    /// The types with this name, in the order of their ids.
    pub(super) fn find<'a, 'n>(
        &'a self,
        raw: &'a Raw,
        name: &'n str,
    ) -> impl Iterator<Item = Type<'a>> + use<'a, 'n> {
        let wanted = hash(&name.as_bytes()[..name.len().min(MAX_HASHED)]);
        let start = self.0.partition_point(|&(hash, _)| hash < wanted);
        self.0[start..]
            .iter()
            .take_while(move |&&(hash, _)| hash == wanted)
            .filter_map(|&(_, id)| raw.get(id))
            .filter(move |ty| !name.is_empty() && raw.name_is(ty.name_off, name))
    }

    /// Every type of the group, also those without a name.
    pub(super) fn all<'a>(&'a self, raw: &'a Raw) -> impl Iterator<Item = Type<'a>> {
        self.0.iter().filter_map(|&(_, id)| raw.get(id))
    }
}

/// FNV-1a, 64 bits: short names, and nobody gains from collisions.
fn hash(bytes: &[u8]) -> u64 {
    bytes.iter().fold(0xcbf2_9ce4_8422_2325, |hash, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}
