//! Builds BTF for tests: small, and with things that no compiler emits.

use super::raw::kind;

/// Type records and strings being put together.
pub(super) struct Builder {
    types: Vec<u8>,
    strings: Vec<u8>,
    count: u32,
}

impl Builder {
    pub(super) fn new() -> Self {
        Self {
            types: Vec::new(),
            strings: vec![0],
            count: 0,
        }
    }

    /// Adds a string and gives its offset.
    pub(super) fn name(&mut self, name: &str) -> u32 {
        if name.is_empty() {
            return 0;
        }
        let offset = self.strings.len() as u32;
        self.strings.extend_from_slice(name.as_bytes());
        self.strings.push(0);
        offset
    }

    /// Adds a record whose `info` is given in its parts, and gives its id.
    pub(super) fn add(
        &mut self,
        name: &str,
        kind: u8,
        (kind_flag, vlen): (bool, u32),
        size_or_type: u32,
        tail: &[u32],
    ) -> u32 {
        let name = self.name(name);
        let info = u32::from(kind_flag) << 31 | u32::from(kind) << 24 | vlen;
        for word in [name, info, size_or_type].iter().chain(tail) {
            self.types.extend_from_slice(&word.to_le_bytes());
        }
        self.count += 1;
        self.count
    }

    pub(super) fn int(&mut self, name: &str, bytes: u32, offset: u32, bits: u32) -> u32 {
        self.add(name, kind::INT, (false, 0), bytes, &[offset << 16 | bits])
    }

    /// A kind that only refers to another type.
    pub(super) fn refer(&mut self, name: &str, kind: u8, to: u32) -> u32 {
        self.add(name, kind, (false, 0), to, &[])
    }

    pub(super) fn array(&mut self, element: u32, count: u32) -> u32 {
        self.add("", kind::ARRAY, (false, 0), 0, &[element, element, count])
    }

    /// A struct or union; members are name, type and the raw `offset` word.
    pub(super) fn aggregate(
        &mut self,
        name: &str,
        kind: u8,
        kind_flag: bool,
        bytes: u32,
        members: &[(&str, u32, u32)],
    ) -> u32 {
        let mut tail = Vec::new();
        for &(name, ty, offset) in members {
            tail.extend([self.name(name), ty, offset]);
        }
        self.add(name, kind, (kind_flag, members.len() as u32), bytes, &tail)
    }

    pub(super) fn next_id(&self) -> u32 {
        self.count + 1
    }

    /// With the header that all kernels so far have.
    pub(super) fn build(&self) -> Vec<u8> {
        self.assemble(24, &[])
    }

    /// With a header that gives the lengths of kinds: (fixed, for each of vlen).
    pub(super) fn build_with_layout(&self, layout: &[(u8, u8)]) -> Vec<u8> {
        self.assemble(32, layout)
    }

    fn assemble(&self, header_len: u32, layout: &[(u8, u8)]) -> Vec<u8> {
        let layout: Vec<u8> = layout
            .iter()
            .flat_map(|&(fixed, each)| [fixed, each, 0, 0])
            .collect();
        let (types, strings) = (self.types.len() as u32, self.strings.len() as u32);
        let mut out = vec![0x9f, 0xeb, 1, 0];
        let sections = [
            header_len,
            0,
            types,
            types,
            strings,
            types + strings,
            layout.len() as u32,
        ];
        for word in &sections[..header_len as usize / 4 - 1] {
            out.extend_from_slice(&word.to_le_bytes());
        }
        out.extend_from_slice(&self.types);
        out.extend_from_slice(&self.strings);
        out.extend_from_slice(&layout);
        out
    }
}

/// One of every kind, and the shapes that the lookups have to get right.
pub(super) fn sample() -> Vec<u8> {
    let mut btf = Builder::new();
    let u32_ = btf.int("unsigned int", 4, 0, 32);
    let u64_ = btf.int("long unsigned int", 8, 0, 64);
    let u8_ = btf.int("unsigned char", 1, 0, 8);
    let bit3 = btf.int("unsigned int", 4, 5, 3);
    let node = btf.refer("kernfs_node", kind::FWD, 0);
    let node_ptr = btf.refer("", kind::PTR, node);
    let css = btf.aggregate(
        "cgroup_subsys_state",
        kind::STRUCT,
        false,
        24,
        &[
            ("cgroup", node_ptr, 0),
            ("ss", node_ptr, 64),
            ("id", u32_, 128),
        ],
    );
    let konst = btf.refer("", kind::CONST, css);
    let tag = btf.refer("rcu", kind::TYPE_TAG, konst);
    let volatile = btf.refer("", kind::VOLATILE, tag);
    let css_t = btf.refer("css_t", kind::TYPEDEF, volatile);
    let comm = btf.array(u8_, 16);
    let grid = btf.array(comm, 3);
    let flexible = btf.array(u64_, 0);
    let inner_union = btf.aggregate(
        "",
        kind::UNION,
        false,
        8,
        &[("word", u64_, 0), ("half", u32_, 0)],
    );
    let inner = btf.aggregate(
        "",
        kind::STRUCT,
        false,
        16,
        &[("first", u32_, 0), ("", inner_union, 64)],
    );
    btf.aggregate(
        "task",
        kind::STRUCT,
        true,
        136,
        &[
            ("pid", u32_, 0),
            ("on_rq", u32_, 1 << 24 | 32),
            ("wide", u32_, 11 << 24 | 35),
            ("", inner, 64),
            ("css", css_t, 192),
            ("comm", comm, 384),
            ("grid", grid, 512),
            ("next", node_ptr, 896),
            ("gone", node, 960),
            ("flexible", flexible, 1088),
        ],
    );
    btf.aggregate(
        "old",
        kind::STRUCT,
        false,
        8,
        &[("low", u32_, 0), ("mid", bit3, 32)],
    );
    btf.aggregate("", kind::STRUCT, false, 4, &[("lonely", u32_, 0)]);
    let lock = btf.next_id() - 1;
    btf.refer("lock_t", kind::TYPEDEF, lock);
    btf.aggregate(
        "twin",
        kind::STRUCT,
        false,
        8,
        &[("same", u32_, 0), ("moved", u32_, 32)],
    );
    btf.aggregate(
        "twin",
        kind::STRUCT,
        false,
        8,
        &[("same", u32_, 0), ("moved", u8_, 0)],
    );

    let void_ptr = btf.refer("", kind::PTR, 0);
    let proto = btf.add(
        "",
        kind::FUNC_PROTO,
        (false, 4),
        0,
        &[0, void_ptr, 0, u8_, 0, node_ptr, 0, node_ptr],
    );
    let proto_ptr = btf.refer("", kind::PTR, proto);
    btf.refer("btf_trace_sched_switch", kind::TYPEDEF, proto_ptr);
    let bare = btf.add("", kind::FUNC_PROTO, (false, 0), 0, &[]);
    let bare_ptr = btf.refer("", kind::PTR, bare);
    btf.refer("btf_trace_bare", kind::TYPEDEF, bare_ptr);
    btf.refer("throttle_cfs_rq", kind::FUNC, proto);

    let names = [btf.name("SMALL"), btf.name("NEGATIVE"), btf.name("SHARED")];
    btf.add(
        "signed_enum",
        kind::ENUM,
        (true, 3),
        4,
        &[names[0], 7, names[1], u32::MAX, names[2], 1],
    );
    btf.add(
        "unsigned_enum",
        kind::ENUM,
        (false, 2),
        4,
        &[names[1], u32::MAX, names[2], 2],
    );
    let names = [btf.name("BIG"), btf.name("HUGE")];
    btf.add(
        "big_enum",
        kind::ENUM64,
        (false, 2),
        8,
        &[names[0], 0, 1, names[1], 0, 1 << 31],
    );

    let var = btf.add("jiffies", kind::VAR, (false, 0), u64_, &[1]);
    btf.add(".data", kind::DATASEC, (false, 1), 8, &[var, 0, 8]);
    btf.refer("float", kind::FLOAT, 4);
    btf.refer("", kind::RESTRICT, void_ptr);
    btf.add("user", kind::DECL_TAG, (false, 0), css, &[0]);
    btf.build()
}
