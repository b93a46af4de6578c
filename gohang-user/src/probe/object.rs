//! The embedded kernel object, its manifest and its ABI.

use gohang_common::abi::ABI_VERSION;
use object::{Object as _, ObjectSection as _, ObjectSymbol as _};

use super::ProbeError;

/// The object that `build.rs` checked against its manifest.
pub static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/gohang.bpf.o"));

/// Its manifest: tool chain, hashes, instruction counts (JSON).
pub const MANIFEST: &str = include_str!(concat!(env!("OUT_DIR"), "/gohang.bpf.o.json"));

/// Refuses an object that is not gohang's or has another ABI.
///
/// # Errors
/// Not an ELF file, no `GOHANG_ABI`, or another one.
pub fn check_abi(bytes: &[u8]) -> Result<(), ProbeError> {
    let bad = |what: &str| ProbeError::Object(what.to_owned());
    let file = object::File::parse(bytes).map_err(|error| ProbeError::Object(error.to_string()))?;
    let symbol = file
        .symbols()
        .find(|symbol| symbol.name() == Ok("GOHANG_ABI"))
        .ok_or_else(|| bad("it has no GOHANG_ABI"))?;
    let section = symbol
        .section_index()
        .ok_or_else(|| bad("GOHANG_ABI is in no section"))?;
    let section = file
        .section_by_index(section)
        .map_err(|error| ProbeError::Object(error.to_string()))?;
    let data = section
        .data_range(section.address() + symbol.address(), 4)
        .map_err(|error| ProbeError::Object(error.to_string()))?
        .ok_or_else(|| bad("GOHANG_ABI lies outside its section"))?;
    let word: [u8; 4] = data.try_into().map_err(|_| bad("GOHANG_ABI is cut off"))?;
    let got = u32::from_le_bytes(word);
    let want = u32::from(ABI_VERSION);
    if got == want {
        Ok(())
    } else {
        Err(ProbeError::Abi { got, want })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_object_has_our_abi() {
        check_abi(OBJECT).expect("built from this source");
    }

    #[test]
    fn another_abi_is_refused() {
        let file = object::File::parse(OBJECT).expect("an ELF file");
        let symbol = file
            .symbols()
            .find(|s| s.name() == Ok("GOHANG_ABI"))
            .expect("a symbol");
        let section = file
            .section_by_index(symbol.section_index().expect("a section"))
            .expect("it");
        let (start, _) = section.file_range().expect("in the file");
        let mut bytes = OBJECT.to_vec();
        let at = (start + symbol.address()) as usize;
        bytes[at..at + 4].copy_from_slice(&77u32.to_le_bytes());
        assert!(matches!(
            check_abi(&bytes),
            Err(ProbeError::Abi { got: 77, .. })
        ));
        assert!(check_abi(b"\x7fELF").is_err());
        assert!(check_abi(b"").is_err());
    }
}
