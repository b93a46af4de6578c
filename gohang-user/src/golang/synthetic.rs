//! Small ELF programs for tests, made to measure.

/// File offset of the data segment; also the size of the text segment.
const DATA_OFFSET: usize = 0x1000;
/// Address of the text segment.
const TEXT_VADDR: u64 = 0x40_0000;
/// Address of the data segment.
pub const DATA_VADDR: u64 = 0x50_0000;

/// Puts together an ELF file with one text and one data segment.
pub struct Builder {
    wide: bool,
    big: bool,
    machine: u16,
    kind: u16,
    sections: Vec<(String, Vec<u8>)>,
    relocations: Vec<(u64, u64)>,
    flags: u64,
    with_sections: bool,
}

impl Builder {
    /// 64 bit (`wide`) or 32 bit, big or little endian, for amd64.
    pub fn new(wide: bool, big: bool) -> Self {
        Self {
            wide,
            big,
            machine: 62,
            kind: 2,
            sections: Vec::new(),
            relocations: Vec::new(),
            flags: 0,
            with_sections: true,
        }
    }

    /// Sets `e_machine`.
    pub fn machine(mut self, machine: u16) -> Self {
        self.machine = machine;
        self
    }

    /// Sets `sh_flags` of every section.
    pub fn section_flags(mut self, flags: u64) -> Self {
        self.flags = flags;
        self
    }

    /// Adds a section to the data segment, aligned to 16.
    pub fn data_section(mut self, name: &str, content: &[u8]) -> Self {
        self.sections.push((name.into(), content.to_vec()));
        self
    }

    /// Makes it position independent, with relocations of (address, addend).
    pub fn relocations(mut self, relocations: &[(u64, u64)]) -> Self {
        self.kind = 3;
        self.relocations.extend_from_slice(relocations);
        self
    }

    /// Leaves the section table out.
    pub fn without_sections(mut self) -> Self {
        self.with_sections = false;
        self
    }

    /// The address the next data section will have.
    pub fn next_vaddr(&self) -> u64 {
        let sizes = self
            .sections
            .iter()
            .map(|(_, content)| content.len().next_multiple_of(16));
        DATA_VADDR + sizes.sum::<usize>() as u64
    }

    fn put(&self, out: &mut Vec<u8>, value: u64, bytes: usize) {
        let raw = value.to_le_bytes();
        assert!(
            raw[bytes..].iter().all(|&byte| byte == 0),
            "{value} in {bytes} bytes"
        );
        if self.big {
            out.extend(raw[..bytes].iter().rev());
        } else {
            out.extend_from_slice(&raw[..bytes]);
        }
    }

    /// A pointer-sized number.
    pub fn word(&self, value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        self.put(&mut out, value, if self.wide { 8 } else { 4 });
        out
    }

    /// The finished file.
    pub fn build(mut self) -> Vec<u8> {
        let mut dynamic = None;
        if !self.relocations.is_empty() {
            let vaddr = self.next_vaddr();
            let relocations = std::mem::take(&mut self.relocations);
            let rela: Vec<u8> = relocations
                .iter()
                // R_X86_64_RELATIVE; only the symbol, 0, matters to the reader.
                .flat_map(|&(slot, addend)| [slot, 8, addend].map(|n| self.word(n)).concat())
                .collect();
            let table = [7, vaddr, 8, rela.len() as u64, 0, 0]
                .map(|n| self.word(n))
                .concat();
            self = self.data_section(".rela.dyn", &rela);
            dynamic = Some((self.next_vaddr(), table.len()));
            self = self.data_section(".dynamic", &table);
        }
        let mut data = Vec::new();
        // name, kind, vaddr, offset, size; the first is the null section.
        let mut headers = vec![(0, 0, 0, 0, 0)];
        let mut names = vec![0];
        for (name, content) in &self.sections {
            let place = (DATA_VADDR + data.len() as u64, DATA_OFFSET + data.len());
            headers.push((names.len(), 1, place.0, place.1, content.len()));
            names.extend_from_slice(name.as_bytes());
            names.push(0);
            data.extend_from_slice(content);
            data.resize(data.len().next_multiple_of(16), 0);
        }
        headers.push((0, 3, 0, DATA_OFFSET + data.len(), names.len()));
        let shoff = (DATA_OFFSET + data.len() + names.len()).next_multiple_of(16);

        let w = if self.wide { 8 } else { 4 };
        let (ehsize, phentsize, shentsize) = if self.wide {
            (64, 56, 64)
        } else {
            (52, 32, 40)
        };
        let class = if self.wide { 2 } else { 1 };
        let mut out = vec![
            0x7f,
            b'E',
            b'L',
            b'F',
            class,
            if self.big { 2 } else { 1 },
            1,
        ];
        out.resize(16, 0);
        let sections = if self.with_sections { headers.len() } else { 0 };
        let phnum = if dynamic.is_some() { 3 } else { 2 };
        for (value, size) in [
            (u64::from(self.kind), 2),
            (u64::from(self.machine), 2),
            (1, 4),
            (TEXT_VADDR, w),
            (ehsize, w),
            (if self.with_sections { shoff as u64 } else { 0 }, w),
            (0, 4),
            (ehsize, 2),
            (phentsize, 2),
            (phnum, 2),
            (shentsize, 2),
            (sections as u64, 2),
            (sections.saturating_sub(1) as u64, 2),
        ] {
            self.put(&mut out, value, size);
        }
        let data_len = data.len() as u64;
        let mut segments = vec![
            (1, 5, 0, TEXT_VADDR, DATA_OFFSET as u64),
            (1, 6, DATA_OFFSET as u64, DATA_VADDR, data_len),
        ];
        if let Some((vaddr, len)) = dynamic {
            segments.push((
                2,
                6,
                DATA_OFFSET as u64 + vaddr - DATA_VADDR,
                vaddr,
                len as u64,
            ));
        }
        for (kind, flags, offset, vaddr, size) in segments {
            self.put(&mut out, kind, 4);
            if self.wide {
                self.put(&mut out, flags, 4);
            }
            for value in [offset, vaddr, vaddr, size, size] {
                self.put(&mut out, value, w);
            }
            if !self.wide {
                self.put(&mut out, flags, 4);
            }
            self.put(&mut out, 0x1000, w);
        }
        out.resize(DATA_OFFSET, 0);
        out.extend_from_slice(&data);
        if self.with_sections {
            out.extend_from_slice(&names);
            out.resize(shoff, 0);
            for (name, kind, vaddr, offset, size) in headers {
                self.put(&mut out, name as u64, 4);
                self.put(&mut out, kind, 4);
                for value in [self.flags, vaddr, offset as u64, size as u64] {
                    self.put(&mut out, value, w);
                }
                self.put(&mut out, 0, 4);
                self.put(&mut out, 0, 4);
                self.put(&mut out, 16, w);
                self.put(&mut out, 0, w);
            }
        }
        out
    }
}

/// Module information between its markers, as the linker stores it; empty stays empty.
fn marked(modinfo: &str) -> Vec<u8> {
    if modinfo.is_empty() {
        return Vec::new();
    }
    [&[0x30; 16][..], modinfo.as_bytes(), &[0xf9; 16]].concat()
}

/// A block of build information as 1.18 and later write it.
pub fn inline_block(version: &str, modinfo: &str) -> Vec<u8> {
    let mut block = b"\xff Go buildinf:\x08\x02".to_vec();
    block.resize(32, 0);
    for text in [version.as_bytes(), &marked(modinfo)] {
        let mut len = text.len();
        while len >= 0x80 {
            block.push(len as u8 | 0x80);
            len >>= 7;
        }
        block.push(len as u8);
        block.extend_from_slice(text);
    }
    block
}

/// An amd64 program of 1.18 or later.
pub fn program(version: &str, modinfo: &str) -> Vec<u8> {
    Builder::new(true, false)
        .data_section(".data", &[1; 100])
        .data_section(".go.buildinfo", &inline_block(version, modinfo))
        .build()
}

/// A program from before 1.18; `relocated`: position independent, with zeros in place
/// of the pointers.
pub fn pointed_program(
    wide: bool,
    big: bool,
    relocated: bool,
    version: &str,
    modinfo: &str,
) -> Vec<u8> {
    let modinfo = marked(modinfo);
    let builder = Builder::new(wide, big)
        .data_section(".version", version.as_bytes())
        .data_section(".modinfo", &modinfo);
    let [version_at, modinfo_at] = [
        DATA_VADDR,
        DATA_VADDR + version.len().next_multiple_of(16) as u64,
    ];
    let strings_at = builder.next_vaddr();
    let w = if wide { 8 } else { 4 };
    let strings = [(version_at, version.len()), (modinfo_at, modinfo.len())];
    let mut relocations = Vec::new();
    let mut pointer = |slot: u64, target: u64| {
        relocations.push((slot, target));
        if relocated { 0 } else { target }
    };
    let mut content = Vec::new();
    for (index, (data, len)) in strings.into_iter().enumerate() {
        let data = pointer(strings_at + 2 * w * index as u64, data);
        content.extend(builder.word(data));
        content.extend(builder.word(len as u64));
    }
    let block_at = strings_at + content.len().next_multiple_of(16) as u64;
    let mut block = b"\xff Go buildinf:".to_vec();
    block.extend_from_slice(&[w as u8, u8::from(big)]);
    for index in 0..2 {
        let target = pointer(block_at + 16 + w * index, strings_at + 2 * w * index);
        block.extend(builder.word(target));
    }
    block.resize(32, 0);
    let builder = builder
        .data_section(".data", &content)
        .data_section(".go.buildinfo", &block);
    let builder = if relocated {
        builder.relocations(&relocations)
    } else {
        builder
    };
    builder.build()
}
