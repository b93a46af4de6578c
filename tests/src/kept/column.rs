//! Columns of whole numbers as few bytes.

use std::io::{Read as _, Write as _};

use anyhow::{Context as _, Result, anyhow, bail, ensure};
use flate2::Compression;
use flate2::read::ZlibDecoder;
use flate2::write::ZlibEncoder;
use pco::ChunkConfig;
use pco::standalone::{simple_compress, simple_decompress_into};
use serde::{Deserialize, Serialize};

/// More numbers than this has no column: a bound on the memory that a wrong file can ask for.
pub const MOST: usize = 1 << 23;

/// pco's level: higher ones take far longer for less than a percent.
const LEVEL: usize = 8;

/// How a column is packed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum How {
    /// By the `pco` library: best for times, which hardly repeat.
    Pco,
    /// As LEB128 numbers in a zlib stream: best for what repeats.
    Zlib,
}

/// Packs it in the shorter of both ways.
///
/// # Errors
/// There are more than [`MOST`].
pub fn pack(values: &[u64]) -> Result<(How, Vec<u8>)> {
    ensure!(values.len() <= MOST, "{} numbers in a column", values.len());
    let config = ChunkConfig::default().with_compression_level(LEVEL);
    let pco = simple_compress(values, &config).map_err(|e| anyhow!("pco: {e}"))?;
    let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
    let mut bytes = Vec::with_capacity(values.len() * 2);
    for &value in values {
        put(&mut bytes, value);
    }
    zlib.write_all(&bytes)?;
    let zlib = zlib.finish()?;
    Ok(if pco.len() < zlib.len() {
        (How::Pco, pco)
    } else {
        (How::Zlib, zlib)
    })
}

/// What [`pack`] packed, `count` numbers.
///
/// # Errors
/// The bytes hold something else.
pub fn unpack(how: How, bytes: &[u8], count: usize) -> Result<Vec<u64>> {
    ensure!(count <= MOST, "{count} numbers in a column");
    match how {
        How::Pco => {
            // pco stops where there is no more room: one more shows whether there is more.
            let mut values = vec![0u64; count + 1];
            let progress = simple_decompress_into(bytes, &mut values)
                .map_err(|e| anyhow!("a column is no pco stream: {e}"))?;
            let found = progress.n_processed;
            ensure!(found <= count, "a column has over {count} numbers");
            ensure!(
                found == count,
                "a column has {found} numbers instead of {count}"
            );
            values.truncate(count);
            Ok(values)
        }
        How::Zlib => unzip(bytes, count),
    }
}

fn unzip(bytes: &[u8], count: usize) -> Result<Vec<u64>> {
    // The longest LEB128 form of 64 bits.
    const LONGEST: u64 = 10;
    let mut plain = Vec::new();
    let mut stream = ZlibDecoder::new(bytes);
    stream
        .by_ref()
        .take(count as u64 * LONGEST + 1)
        .read_to_end(&mut plain)
        .context("a column is no zlib stream")?;
    let mut rest = plain.as_slice();
    let mut values = Vec::with_capacity(count);
    while !rest.is_empty() {
        ensure!(values.len() < count, "a column has over {count} numbers");
        values.push(get(&mut rest)?);
    }
    ensure!(
        values.len() == count,
        "a column has {} numbers instead of {count}",
        values.len()
    );
    let behind = bytes.len() as u64 - stream.total_in();
    ensure!(
        behind == 0,
        "a column has {behind} bytes behind its numbers"
    );
    Ok(values)
}

fn put(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn get(rest: &mut &[u8]) -> Result<u64> {
    let mut value = 0u64;
    for shift in (0..u64::BITS).step_by(7) {
        let Some((&byte, tail)) = rest.split_first() else {
            bail!("a column ends within a number");
        };
        *rest = tail;
        let bits = u64::from(byte & 0x7f);
        ensure!(
            shift < 63 || bits <= 1,
            "a column has a number above 64 bits"
        );
        value |= bits << shift;
        if byte & 0x80 == 0 {
            return Ok(value);
        }
    }
    bail!("a column has a number above 64 bits")
}

/// A difference that may be negative as a small number.
pub fn fold(difference: i64) -> u64 {
    ((difference << 1) ^ (difference >> 63)) as u64
}

/// The difference again.
pub fn unfold(folded: u64) -> i64 {
    (folded >> 1) as i64 ^ -((folded & 1) as i64)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_was_packed_comes_back(values in prop::collection::vec(any::<u64>(), 0..400)) {
            let (how, bytes) = pack(&values).unwrap();
            prop_assert_eq!(unpack(how, &bytes, values.len()).unwrap(), values);
        }

        #[test]
        fn both_ways_are_taken(small in prop::collection::vec(0u64..3, 600..700)) {
            let repeats: Vec<u64> = small.iter().take(2).cycle().take(4_000).copied().collect();
            let (how, bytes) = pack(&repeats).unwrap();
            prop_assert_eq!(how, How::Zlib);
            prop_assert_eq!(unpack(how, &bytes, repeats.len()).unwrap(), repeats);
            let (mut at, mut noise) = (1u64, Vec::new());
            for step in &small {
                at = at.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(step + 1);
                noise.push(4_000 + (at >> 54));
            }
            let (how, bytes) = pack(&noise).unwrap();
            prop_assert_eq!(how, How::Pco);
            prop_assert_eq!(unpack(how, &bytes, noise.len()).unwrap(), noise);
        }

        #[test]
        fn a_column_of_another_length_is_an_error(values in prop::collection::vec(any::<u64>(), 1..400)) {
            let (how, bytes) = pack(&values).unwrap();
            prop_assert!(unpack(how, &bytes, values.len() + 1).is_err());
            prop_assert!(unpack(how, &bytes, values.len() - 1).is_err());
            prop_assert!(unpack(how, &bytes[..bytes.len() / 2], values.len()).is_err());
        }

        #[test]
        fn any_bytes_are_read_without_a_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..300),
            count in 0usize..1_000,
        ) {
            let _ = unpack(How::Zlib, &bytes, count);
            let _ = unpack(How::Pco, &bytes, count);
        }

        #[test]
        fn a_changed_column_is_read_without_a_panic(
            values in prop::collection::vec(0u64..100_000, 1..600),
            at in any::<prop::sample::Index>(),
            bit in 0u8..8,
        ) {
            for how in [How::Pco, How::Zlib] {
                let config = ChunkConfig::default();
                let mut bytes = match how {
                    How::Pco => simple_compress(&values, &config).unwrap(),
                    How::Zlib => pack(&vec![values[0]; 600]).unwrap().1,
                };
                let at = at.index(bytes.len());
                bytes[at] ^= 1 << bit;
                let _ = unpack(how, &bytes, values.len());
            }
        }

        #[test]
        fn differences_fold(difference in any::<i64>()) {
            prop_assert_eq!(unfold(fold(difference)), difference);
        }
    }

    #[test]
    fn small_differences_fold_to_small_numbers() {
        assert_eq!([0, -1, 1, -2].map(fold), [0, 1, 2, 3]);
    }

    #[test]
    fn too_long_a_number_is_an_error() {
        let zip = |bytes: &[u8]| {
            let mut zlib = ZlibEncoder::new(Vec::new(), Compression::best());
            zlib.write_all(bytes).unwrap();
            zlib.finish().unwrap()
        };
        let longest = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(unzip(&zip(&longest), 1).unwrap(), [u64::MAX]);
        let over = [&[0xff; 9][..], &[2]].concat();
        assert!(unzip(&zip(&over), 1).is_err());
        assert!(unzip(&zip(&[0xff; 12]), 2).is_err());
    }
}
