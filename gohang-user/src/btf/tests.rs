use std::path::Path;

use proptest::prelude::*;

use super::raw::kind;
use super::synthetic::{Builder, sample};
use super::{Btf, BtfError, Field, VMLINUX};

fn parsed() -> Btf {
    Btf::parse(&sample()).unwrap()
}

fn bytes(byte_offset: u32, size: u32) -> Field {
    Field {
        byte_offset,
        bit_offset_in_byte: 0,
        bit_size: None,
        size,
        to_pointer: false,
    }
}

fn bits(byte_offset: u32, bit_offset_in_byte: u8, bits: u8, size: u32) -> Field {
    Field {
        byte_offset,
        bit_offset_in_byte,
        bit_size: Some(bits),
        size,
        to_pointer: false,
    }
}

#[test]
fn finds_fields() {
    let btf = parsed();
    for (strukt, path, expected) in [
        ("task", "pid", bytes(0, 4)),
        ("task", "on_rq", bits(4, 0, 1, 1)),
        ("task", "wide", bits(4, 3, 11, 2)),
        ("task", "first", bytes(8, 4)),
        ("task", "word", bytes(16, 8)),
        ("task", "half", bytes(16, 4)),
        ("task", "css", bytes(24, 24)),
        ("task", "css.cgroup", bytes(24, 8)),
        ("task", "css.id", bytes(40, 4)),
        ("task", "comm", bytes(48, 16)),
        ("task", "grid", bytes(64, 48)),
        ("task", "next", bytes(112, 8)),
        ("task", "flexible", bytes(136, 0)),
        ("old", "low", bytes(0, 4)),
        ("old", "mid", bits(4, 5, 3, 1)),
        ("css_t", "ss", bytes(8, 8)),
        ("lock_t", "lonely", bytes(0, 4)),
        ("twin", "same", bytes(0, 4)),
    ] {
        assert_eq!(
            btf.field(strukt, path).unwrap(),
            expected,
            "{strukt}.{path}"
        );
    }
}

#[test]
fn names_what_is_missing() {
    let btf = parsed();
    for (strukt, path, expected) in [
        (
            "tusk",
            "pid",
            "this kernel's BTF has no struct or union `tusk`",
        ),
        ("", "pid", "this kernel's BTF has no struct or union ``"),
        (
            "task",
            "throttled",
            "this kernel's BTF has no field `task.throttled`",
        ),
        (
            "task",
            "css.gone",
            "this kernel's BTF has no field `task.css.gone`",
        ),
        ("task", "", "this kernel's BTF has no field `task.`"),
        (
            "task",
            "css..id",
            "this kernel's BTF has no field `task.css.`",
        ),
        (
            "task",
            "css.cgroup.kn.id",
            "`task.css.cgroup` is a pointer: `kn.id` behind it is another load, \
             ask for it on its own",
        ),
        (
            "task",
            "pid.x",
            "`task.pid` is not a struct or union: it has no `x`",
        ),
        (
            "task",
            "gone",
            "`task.gone` has no size in this kernel's BTF",
        ),
        (
            "twin",
            "moved",
            "this kernel's BTF has several types for `twin.moved` that differ",
        ),
    ] {
        assert_eq!(btf.field(strukt, path).unwrap_err().to_string(), expected);
    }
}

#[test]
fn takes_the_first_name_that_exists() {
    let btf = parsed();
    assert_eq!(
        btf.first_field("task", &["__pid", "pid", "first"]).unwrap(),
        bytes(0, 4)
    );
    assert_eq!(
        btf.first_field("task", &["__state", "state"])
            .unwrap_err()
            .to_string(),
        "this kernel's BTF has none of the fields `task.__state`, `task.state`"
    );
    // Another failure is not taken for a missing name.
    assert!(matches!(
        btf.first_field("task", &["next.x", "pid"]),
        Err(BtfError::PointerInPath { .. })
    ));
    assert!(matches!(
        btf.first_field("tusk", &["pid"]),
        Err(BtfError::NoStruct { .. })
    ));
}

#[test]
fn answers_about_typedefs_functions_and_enums() {
    let btf = parsed();
    assert_eq!(btf.typedef_func_params("btf_trace_sched_switch"), Some(3));
    assert_eq!(btf.typedef_func_params("btf_trace_bare"), None);
    assert_eq!(btf.typedef_func_params("css_t"), None);
    assert_eq!(btf.typedef_func_params("absent"), None);
    assert!(btf.has_typedef("btf_trace_bare") && !btf.has_typedef("task"));
    let id = btf.func_id("throttle_cfs_rq").expect("there");
    assert_eq!(btf.func_name(id), Some("throttle_cfs_rq"));
    assert_eq!(btf.func_name(0), None, "no type");
    assert_eq!(btf.func_name(1), None, "an integer");
    assert_eq!(btf.func_name(u32::MAX), None);
    assert!(btf.func_id("unthrottle_cfs_rq").is_none());

    assert_eq!(btf.struct_size("task").unwrap(), 136);
    assert_eq!(btf.struct_size("css_t").unwrap(), 24);
    assert_eq!(btf.struct_size("twin").unwrap(), 8);
    assert!(matches!(
        btf.struct_size("absent"),
        Err(BtfError::NoStruct { .. })
    ));

    assert_eq!(btf.enum_value(None, "SMALL"), Some(7));
    assert_eq!(btf.enum_value(Some("signed_enum"), "NEGATIVE"), Some(-1));
    assert_eq!(
        btf.enum_value(Some("unsigned_enum"), "NEGATIVE"),
        Some(0xffff_ffff)
    );
    assert_eq!(btf.enum_value(Some("unsigned_enum"), "SMALL"), None);
    assert_eq!(
        btf.enum_value(None, "SHARED"),
        None,
        "1 in one enum, 2 in another"
    );
    assert_eq!(btf.enum_value(None, "BIG"), Some(1 << 32));
    assert_eq!(btf.enum_value(None, "HUGE"), None, "above i64::MAX");
}

#[test]
fn refuses_what_it_cannot_read() {
    let sample = sample();
    let error = |bytes: &[u8]| Btf::parse(bytes).unwrap_err().to_string();
    let changed = |at: usize, byte: u8| {
        let mut bytes = sample.clone();
        bytes[at] = byte;
        error(&bytes)
    };
    assert_eq!(error(b""), "malformed BTF: shorter than its header");
    assert_eq!(error(b"\x7fELF0000000000000000000000"), {
        "not BTF: it starts with 0x457f, not 0xeb9f"
    });
    let mut swapped = sample.clone();
    swapped.swap(0, 1);
    assert_eq!(
        error(&swapped),
        "big-endian BTF: only little-endian kernels are supported"
    );
    assert_eq!(changed(2, 2), "BTF version 2: only version 1 is known");
    assert_eq!(changed(3, 1), "BTF header flags 0x01: none are known");
    assert_eq!(changed(4, 23), "malformed BTF: a header of 23 bytes");
    assert_eq!(
        changed(15, 0xff),
        "malformed BTF: the types reach past the end"
    );
    let last = sample.len() - 1;
    assert_eq!(changed(last, 1), {
        "malformed BTF: the strings do not start and end with a NUL"
    });
    assert_eq!(
        error(&sample[..last]),
        "malformed BTF: the strings reach past the end"
    );
    assert_eq!(
        changed(24 + 2, 0xff),
        "malformed BTF: type 1 has a name past the strings"
    );
}

#[test]
fn skips_an_unknown_kind_only_if_the_file_describes_it() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4, 0, 32);
    btf.add("new", 21, (false, 2), 0, &[1, 2, 3]);
    btf.aggregate("after", kind::STRUCT, false, 4, &[("it", int, 0)]);
    assert_eq!(
        Btf::parse(&btf.build()).unwrap_err().to_string(),
        "BTF type 2 is of kind 21, which this version does not know and the file does not \
         describe: a newer gohang is needed for this kernel"
    );
    let mut layout = [(0, 0); 22];
    assert!(matches!(
        Btf::parse(&btf.build_with_layout(&layout[..21])),
        Err(BtfError::UnknownKind { kind: 21, id: 2 })
    ));
    layout[21] = (4, 4);
    let known = Btf::parse(&btf.build_with_layout(&layout)).unwrap();
    assert_eq!(known.field("after", "it").unwrap(), bytes(0, 4));
}

#[test]
fn loops_end() {
    let mut btf = Builder::new();
    let first = btf.next_id();
    btf.refer("spin_t", kind::TYPEDEF, first + 1);
    btf.refer("", kind::CONST, first);
    let array = btf.next_id();
    btf.array(array, 2);
    let own = btf.next_id();
    btf.aggregate(
        "own",
        kind::STRUCT,
        false,
        8,
        &[("", own, 0), ("spin", first, 0)],
    );
    btf.aggregate("arrays", kind::STRUCT, false, 8, &[("array", array, 0)]);
    btf.aggregate("dangling", kind::STRUCT, false, 8, &[("x", 4096, 0)]);
    // Each level doubles the members to look at.
    let mut level = btf.aggregate("", kind::STRUCT, false, 8, &[]);
    for _ in 0..30 {
        level = btf.aggregate("", kind::UNION, false, 8, &[("", level, 0), ("", level, 0)]);
    }
    btf.aggregate("wide", kind::STRUCT, false, 8, &[("", level, 0)]);
    let btf = Btf::parse(&btf.build()).unwrap();

    assert!(matches!(
        btf.field("spin_t", "x"),
        Err(BtfError::Loop { .. })
    ));
    assert!(matches!(
        btf.struct_size("spin_t"),
        Err(BtfError::Loop { .. })
    ));
    assert!(matches!(
        btf.field("arrays", "array"),
        Err(BtfError::Loop { .. })
    ));
    assert!(matches!(
        btf.field("own", "other"),
        Err(BtfError::TooComplex { .. })
    ));
    assert!(matches!(
        btf.field("wide", "other"),
        Err(BtfError::TooComplex { .. })
    ));
    assert!(matches!(
        btf.field("dangling", "x"),
        Err(BtfError::Malformed { .. })
    ));
    assert_eq!(btf.typedef_func_params("spin_t"), None);
}

#[test]
fn refuses_impossible_members() {
    let mut btf = Builder::new();
    let int = btf.int("int", 4, 0, 32);
    let odd = btf.int("odd", 4, 0, 0);
    let huge = btf.array(int, u32::MAX);
    btf.aggregate("past", kind::STRUCT, false, 4, &[("end", int, 8)]);
    btf.aggregate("skew", kind::STRUCT, false, 8, &[("bit", int, 3)]);
    btf.aggregate("fat", kind::STRUCT, true, 8, &[("bits", int, 33 << 24)]);
    btf.aggregate("none", kind::STRUCT, false, 8, &[("bits", odd, 0)]);
    btf.aggregate("large", kind::STRUCT, false, 8, &[("array", huge, 0)]);
    let btf = Btf::parse(&btf.build()).unwrap();
    for (strukt, path, problem) in [
        ("past", "end", "`past.end` reaches past its struct"),
        ("skew", "bit", "`skew.bit` does not start at a byte"),
        ("fat", "bits", "`fat.bits` is a bitfield of 33 bits"),
        ("none", "bits", "`none.bits` is a bitfield of 0 bits"),
        ("large", "array", "type 3 is larger than 4 GiB"),
    ] {
        let error = btf.field(strukt, path).unwrap_err().to_string();
        assert_eq!(error, format!("malformed BTF: {problem}"));
    }
}

#[test]
fn names_the_file() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("vmlinux");
    assert_eq!(
        Btf::from_file(&path).unwrap_err().to_string(),
        format!(
            "this kernel has no BTF at {}: CONFIG_DEBUG_INFO_BTF is needed (distribution \
             kernels since about 2020 have it)",
            path.display()
        )
    );
    std::fs::write(&path, b"\x9f\xeb").unwrap();
    assert_eq!(
        Btf::from_file(&path).unwrap_err().to_string(),
        format!(
            "the BTF at {} is not usable: malformed BTF: shorter than its header",
            path.display()
        )
    );
    std::fs::write(&path, sample()).unwrap();
    assert_eq!(
        Btf::from_file(&path).unwrap().field("task", "pid").unwrap(),
        bytes(0, 4)
    );
    assert!(matches!(
        Btf::from_file(dir.path()),
        Err(BtfError::Read { .. })
    ));
}

#[test]
fn refuses_more_than_any_kernel_has() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("huge");
    let file = std::fs::File::create(&path).unwrap();
    file.set_len(super::MAX_BYTES as u64 + 1).unwrap();
    let error = Btf::from_file(&path).unwrap_err().to_string();
    assert!(
        error.ends_with("more than 67108864 bytes of BTF: refused"),
        "{error}"
    );
}

/// Every lookup there is; what they answer does not matter, only that they do.
fn query(bytes: &[u8]) {
    let Ok(btf) = Btf::parse(bytes) else { return };
    for strukt in [
        "task",
        "old",
        "css_t",
        "lock_t",
        "twin",
        "task_struct",
        "cfs_rq",
        "",
    ] {
        for path in [
            "pid",
            "css.cgroup",
            "word",
            "mid",
            "grid",
            "se.cfs_rq",
            "absent.x",
        ] {
            let _ = btf.field(strukt, path).map_err(|error| error.to_string());
        }
        let _ = btf.struct_size(strukt);
        let _ = btf.func_id(strukt);
    }
    for id in 0..40 {
        let _ = btf.func_name(id);
    }
    let _ = btf.typedef_func_params("btf_trace_sched_switch");
    for name in ["SMALL", "NEGATIVE", "BIG", "TASK_RUNNING"] {
        let _ = btf.enum_value(None, name);
    }
}

/// Sets the header's lengths to what is there, so that damage behind it is reached.
fn with_honest_header(mut bytes: Vec<u8>) -> Vec<u8> {
    let types = bytes.len().saturating_sub(25) as u32 & !3;
    for (at, word) in [(4, 24), (8, 0), (12, types), (16, types), (20, 1_u32)] {
        if let Some(place) = bytes.get_mut(at..at + 4) {
            place.copy_from_slice(&word.to_le_bytes());
        }
    }
    let end = 24 + types as usize;
    if let Some(nul) = bytes.get_mut(end) {
        *nul = 0;
    }
    bytes
}

proptest! {
    #[test]
    fn any_bytes_are_survived(bytes in prop::collection::vec(any::<u8>(), 0..512)) {
        query(&bytes);
        query(&with_honest_header([&sample()[..24], &bytes].concat()));
    }

    #[test]
    fn damage_is_survived(
        changes in prop::collection::vec((0..4096_usize, any::<u8>()), 1..24),
    ) {
        let mut bytes = sample();
        for (at, byte) in changes {
            // Mostly behind the header, whose checks would end it at once.
            let at = if at < 4000 { 24 + at % (bytes.len() - 24) } else { at % 24 };
            bytes[at] = byte;
        }
        query(&bytes);
    }

    #[test]
    fn truncation_is_survived(keep in 0..2048_usize) {
        let mut bytes = sample();
        bytes.truncate(keep);
        query(&bytes);
        query(&with_honest_header(bytes));
    }

    /// Small numbers for everything: references hit, loops form.
    #[test]
    fn tangled_types_are_survived(
        records in prop::collection::vec(
            (0..20_u8, any::<bool>(), 0..20_u32, prop::collection::vec((0..3_u8, 0..20_u32, 0..256_u32), 0..5)),
            0..20,
        ),
    ) {
        let mut btf = Builder::new();
        let names = ["", "task", "pid"].map(|name| btf.name(name));
        for (kind, flag, target, members) in records {
            let name = if target % 2 == 0 { "task" } else { "" };
            let tail: Vec<u32> = match kind {
                kind::INT | kind::VAR | kind::DECL_TAG => vec![target],
                kind::ARRAY => vec![target, target, target],
                kind::ENUM | kind::FUNC_PROTO => members
                    .iter()
                    .flat_map(|&(name, ty, _)| [names[usize::from(name)], ty])
                    .collect(),
                kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => members
                    .iter()
                    .flat_map(|&(name, ty, offset)| [names[usize::from(name)], ty, offset])
                    .collect(),
                _ => vec![],
            };
            let counted = matches!(kind, 4 | 5 | 6 | 13 | 15 | 19);
            let vlen = if counted { members.len() as u32 } else { 0 };
            btf.add(name, kind, (flag, vlen), target, &tail);
        }
        query(&btf.build());
    }
}

#[test]
fn damage_to_this_kernels_types_is_survived() {
    if !Path::new(VMLINUX).exists() {
        eprintln!("skipped: this kernel has no {VMLINUX}");
        return;
    }
    let real = std::fs::read(VMLINUX).unwrap();
    let btf = Btf::parse(&real).unwrap();
    assert_eq!(btf.field("task_struct", "pid").unwrap().size, 4);
    let len = real.len();
    // A fixed generator: a failure repeats. Constants of Knuth's MMIX generator.
    let mut state: u64 = 0x9e37_79b9_7f4a_7c15;
    let mut next = move |below: usize| {
        state = state
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (state >> 33) as usize % below
    };
    let mut parsed = 0;
    for round in 0..12 {
        let mut bytes = real.clone();
        for _ in 0..=round {
            bytes[24 + next(len - 24)] = next(256) as u8;
        }
        parsed += u32::from(Btf::parse(&bytes).is_ok());
        query(&bytes);
        let mut cut = real[..next(len)].to_vec();
        query(&cut);
        cut = with_honest_header(cut);
        query(&cut);
    }
    assert_ne!(parsed, 0, "no damaged copy got as far as the lookups");
}
