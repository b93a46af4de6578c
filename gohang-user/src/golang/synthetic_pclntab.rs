//! Small tables of functions for tests.

/// A function to put into a table.
#[derive(Debug, Clone)]
pub struct TestFunction {
    /// Its name.
    pub name: String,
    /// Bytes of code.
    pub size: u32,
    /// Its source file.
    pub file: &'static str,
    /// Lines, each with the bytes of code that it has; they need not fill the function.
    pub lines: Vec<(u32, u32)>,
    /// Values of table 0 (`PCDATA_UnsafePoint`), with the bytes that have them.
    pub unsafe_points: Vec<(i32, u32)>,
    /// Data number 1 (`FUNCDATA_LocalsPointerMaps`) and 3 (`FUNCDATA_InlTree`).
    pub data: [Option<u32>; 2],
    /// Values of table 2 (`PCDATA_InlTreeIndex`).
    pub inlined: Vec<(i32, u32)>,
    /// Its flags.
    pub flags: u8,
}

impl TestFunction {
    /// A function of one line.
    pub fn new(name: &str, size: u32) -> Self {
        Self {
            name: name.to_owned(),
            size,
            file: "x.go",
            lines: vec![(7, size)],
            unsafe_points: Vec::new(),
            data: [Some(0), None],
            inlined: Vec::new(),
            flags: 0,
        }
    }
}

/// A table of `functions`, which lie one after the other from `text_start` on, in the
/// form of 1.20 or of 1.18.
pub fn pclntab(go_1_20: bool, text_start: u64, functions: &[TestFunction]) -> Vec<u8> {
    let (mut names, mut files, mut values) = (Vec::new(), Vec::new(), vec![0]);
    let mut units: Vec<u32> = Vec::new();
    let mut records = Vec::new();
    let mut index: Vec<(u32, u32)> = Vec::new();
    let index_size = 8 * functions.len() + 4;
    let mut start = 0;
    for function in functions {
        let name = place(&mut names, &function.name);
        let file = place(&mut files, function.file);
        index.push((start, (index_size + records.len()) as u32));
        let unit = units.len() as u32;
        units.push(file);
        let lines: Vec<(i32, u32)> = function
            .lines
            .iter()
            .map(|(line, bytes)| (*line as i32, *bytes))
            .collect();
        let tables = [&function.unsafe_points[..], &[], &function.inlined]
            .map(|table| encode(&mut values, table));
        let pc_file = encode(&mut values, &[(0, function.size)]);
        let pc_line = encode(&mut values, &lines);
        let mut words = vec![start, name, 0, 0, 0, pc_file, pc_line, 3, unit];
        if go_1_20 {
            words.push(1);
        }
        records.extend(words.iter().flat_map(|word| word.to_le_bytes()));
        // funcID, flags, padding and the number of data.
        records.extend([0, function.flags, 0, 4]);
        let [locals, tree] = function.data.map(|data| data.unwrap_or(u32::MAX));
        for word in tables.into_iter().chain([u32::MAX, locals, u32::MAX, tree]) {
            records.extend(word.to_le_bytes());
        }
        start += function.size;
    }
    let mut raw = if go_1_20 { vec![0xf1] } else { vec![0xf0] };
    raw.extend([0xff, 0xff, 0xff, 0, 0, 1, 8]);
    let units: Vec<u8> = units.iter().flat_map(|unit| unit.to_le_bytes()).collect();
    let parts = [names, units, files, values];
    let mut words = vec![functions.len() as u64, functions.len() as u64, text_start];
    let mut at = 72;
    for part in &parts {
        words.push(at);
        at += part.len() as u64;
    }
    words.push(at);
    raw.extend(words.iter().flat_map(|word| word.to_le_bytes()));
    raw.extend(parts.concat());
    for (start, record) in index {
        raw.extend(start.to_le_bytes());
        raw.extend(record.to_le_bytes());
    }
    raw.extend(start.to_le_bytes());
    raw.extend(records);
    raw
}

/// Where `text` lies in `texts`, which it is added to if need be.
fn place(texts: &mut Vec<u8>, text: &str) -> u32 {
    let whole = [text.as_bytes(), &[0]].concat();
    let found = texts.windows(whole.len()).position(|part| part == whole);
    let at = found.filter(|at| *at == 0 || texts[at - 1] == 0);
    at.unwrap_or_else(|| {
        texts.extend(&whole);
        texts.len() - whole.len()
    }) as u32
}

/// Adds a table of values to `values`; 0, which stands for none, if it is empty.
fn encode(values: &mut Vec<u8>, table: &[(i32, u32)]) -> u32 {
    if table.is_empty() {
        return 0;
    }
    let at = values.len() as u32;
    let mut last = -1;
    for (value, bytes) in table {
        let change = value - last;
        last = *value;
        uvarint(values, ((change << 1) ^ (change >> 31)) as u32);
        uvarint(values, *bytes);
    }
    values.push(0);
    at
}

fn uvarint(to: &mut Vec<u8>, mut value: u32) {
    while value >= 0x80 {
        to.push(value as u8 | 0x80);
        value >>= 7;
    }
    to.push(value as u8);
}
