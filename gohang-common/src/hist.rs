//! Bucket maths: base-2 exponential buckets of scale 3, that is eight buckets
//! an octave, as Prometheus native histograms (schema 3) and OTLP exponential
//! histograms (scale 3) hold them exactly.
//!
//! Bucket `i` holds the values v with `2^((i-1)/8) < v <= 2^(i/8)`; on integer
//! nanoseconds that is `floor(2^((i-1)/8)) < v <= floor(2^(i/8))`. Slots are
//! buckets as stored: slot 0 holds zero, slot `i + 1` holds bucket `i`, and the
//! last slot holds everything above 2^44 ns (4.9 hours).

/// Buckets an octave.
pub const BUCKETS_PER_OCTAVE: u32 = 8;
/// The scale in OpenTelemetry's and the schema in Prometheus' terms.
pub const SCALE: i32 = 3;
/// Highest bucket index: its upper edge is 2^44 ns.
pub const MAX_BUCKET: u32 = 44 * BUCKETS_PER_OCTAVE;
/// Slot of the values above the highest bucket.
pub const OVERFLOW_SLOT: u32 = MAX_BUCKET + 2;
/// Number of slots.
pub const SLOTS: usize = OVERFLOW_SLOT as usize + 1;

/// floor(2^63 * 2^(k/8)) for k = 0..8, computed with 60 decimal digits.
const EDGES: [u64; 8] = [
    0x8000_0000_0000_0000,
    0x8b95_c1e3_ea8b_d6e6,
    0x9837_f051_8db8_a96f,
    0xa5fe_d6a9_b151_38ea,
    0xb504_f333_f9de_6484,
    0xc567_2a11_5506_dadd,
    0xd744_fcca_d69d_6af4,
    0xeac0_c6e7_dd24_392e,
];

/// Position of the highest set bit of a value that is not zero.
///
/// Spelled out in steps: the BPF instruction set has no count-leading-zeros.
#[inline(always)]
const fn log2(value: u64) -> u32 {
    let mut v = value;
    let mut r = 0;
    if v >= 1 << 32 {
        v >>= 32;
        r += 32;
    }
    if v >= 1 << 16 {
        v >>= 16;
        r += 16;
    }
    if v >= 1 << 8 {
        v >>= 8;
        r += 8;
    }
    if v >= 1 << 4 {
        v >>= 4;
        r += 4;
    }
    if v >= 1 << 2 {
        v >>= 2;
        r += 2;
    }
    if v >= 1 << 1 {
        r += 1;
    }
    r
}

/// The slot of a value in nanoseconds.
#[inline(always)]
#[must_use]
pub const fn slot(value: u64) -> u32 {
    slot_at(value, exponent(value))
}

/// The first half of [`slot`]: position of the value's highest bit.
#[inline(always)]
#[must_use]
pub const fn exponent(value: u64) -> u32 {
    log2(value | 1)
}

/// The second half of [`slot`].
///
/// Apart from the first, so that kernel programs can put the exponent through
/// a map in between: the verifier would follow each of its 64 values through
/// everything that comes after.
#[inline(always)]
#[must_use]
pub const fn slot_at(value: u64, exponent: u32) -> u32 {
    if value == 0 {
        return 0;
    }
    if value > 1 << 44 {
        return OVERFLOW_SLOT;
    }
    let exponent = exponent & 63;
    let mantissa = value << (63 - exponent);
    let mut bucket = exponent * BUCKETS_PER_OCTAVE;
    // Written out: a table would be read through a pointer that the verifier
    // has to bound again.
    bucket += (mantissa > EDGES[0]) as u32;
    bucket += (mantissa > EDGES[1]) as u32;
    bucket += (mantissa > EDGES[2]) as u32;
    bucket += (mantissa > EDGES[3]) as u32;
    bucket += (mantissa > EDGES[4]) as u32;
    bucket += (mantissa > EDGES[5]) as u32;
    bucket += (mantissa > EDGES[6]) as u32;
    bucket += (mantissa > EDGES[7]) as u32;
    bucket + 1
}

/// Largest value in a slot, in nanoseconds (inclusive).
#[must_use]
pub const fn upper(slot: u32) -> u64 {
    if slot == 0 {
        return 0;
    }
    if slot >= OVERFLOW_SLOT {
        return u64::MAX;
    }
    let bucket = slot - 1;
    let exponent = bucket / BUCKETS_PER_OCTAVE;
    EDGES[(bucket % BUCKETS_PER_OCTAVE) as usize] >> (63 - exponent)
}

/// Smallest value in a slot, in nanoseconds.
///
/// In the lowest octaves several slots hold no integer at all; there the lower
/// edge lies above the upper one.
#[must_use]
pub const fn lower(slot: u32) -> u64 {
    if slot == 0 {
        0
    } else {
        upper(slot - 1).saturating_add(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn log2_is_the_highest_bit() {
        for bit in 0..64 {
            assert_eq!(log2(1 << bit), bit);
            assert_eq!(log2(u64::MAX >> (63 - bit)), bit);
        }
    }

    #[test]
    fn edges_belong_to_their_slot() {
        let mut previous = None;
        for s in 0..SLOTS as u32 {
            if lower(s) > upper(s) {
                continue;
            }
            assert_eq!(slot(lower(s)), s, "lower edge of {s}");
            assert_eq!(slot(upper(s)), s, "upper edge of {s}");
            if let Some(end) = previous {
                assert_eq!(lower(s), end + 1, "no gap before {s}");
            }
            previous = (upper(s) < u64::MAX).then_some(upper(s));
        }
        assert_eq!(upper(OVERFLOW_SLOT), u64::MAX);
    }

    #[test]
    fn whole_octaves_are_exact() {
        for e in 0..=44u32 {
            assert_eq!(slot(1 << e), e * 8 + 1);
            assert_eq!(upper(e * 8 + 1), 1 << e);
        }
    }

    proptest! {
        #[test]
        fn agrees_with_the_definition(value in 1u64..=(1 << 44)) {
            // The reference is the definition in floating point; next to an
            // edge, where rounding decides, either neighbour is accepted.
            let exact = (value as f64).log2() * 8.0;
            let got = f64::from(slot(value) - 1);
            prop_assert!((got - exact.ceil()).abs() < 0.5
                || (exact - exact.round()).abs() < 1e-9);
            prop_assert!(lower(slot(value)) <= value && value <= upper(slot(value)));
        }

        #[test]
        fn slots_grow_with_values(a in any::<u64>(), b in any::<u64>()) {
            prop_assert!((a <= b) == (slot(a) <= slot(b)) || slot(a) == slot(b));
        }
    }
}
