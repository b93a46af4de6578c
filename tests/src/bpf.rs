//! Which programs, maps and links a process holds, and whether they still exist.

use std::collections::BTreeSet;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Commands of the bpf system call (include/uapi/linux/bpf.h).
const MAP_GET_NEXT_KEY: libc::c_int = 4;
const PROG_LOAD: libc::c_int = 5;
const PROG_GET_NEXT_ID: libc::c_int = 11;
const PROG_GET_FD_BY_ID: libc::c_int = 13;
const MAP_GET_FD_BY_ID: libc::c_int = 14;
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const RAW_TRACEPOINT_OPEN: libc::c_int = 17;
const LINK_GET_FD_BY_ID: libc::c_int = 30;

/// Map types whose entries come and go.
const HASHES: [u32; 4] = [1, 5, 9, 10];

/// Types of programs that hooks and probes run: BPF_PROG_TYPE_KPROBE, _TRACEPOINT, _PERF_EVENT,
/// _RAW_TRACEPOINT, _TRACING (include/uapi/linux/bpf.h).
const TRACE_TYPES: [u32; 5] = [2, 5, 7, 17, 26];

/// BPF_PROG_TYPE_TRACING and BPF_TRACE_FENTRY (include/uapi/linux/bpf.h).
const TRACING: u64 = 26;
const TRACE_FENTRY: u64 = 24;

/// BPF_PROG_TYPE_KPROBE (include/uapi/linux/bpf.h): of uprobes too.
pub const KPROBE: u32 = 2;

/// `r0 = 0; exit`.
const EMPTY: [u64; 2] = [0xb7, 0x95];

/// `*(u64 *)(r10 - 64) = 0; r0 = 0; exit`: as much stack as makes the kernel give a program its
/// own (`BPF_PRIV_STACK_MIN_SIZE`, kernel/bpf/verifier.c, 6.13).
const WITH_STACK: [u64; 3] = [0xffc0_0a7a, 0xb7, 0x95];

/// `add %gs:this_cpu_off, %r9` without the offset: a program's own stack is found so
/// (`emit_priv_frame_ptr`, arch/x86/net/bpf_jit_comp.c, 6.13 to 7.3).
const PRIVATE_STACK: [u8; 5] = [0x65, 0x4c, 0x03, 0x0c, 0x25];

/// Kinds of objects, by the key in `/proc/PID/fdinfo`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// A program.
    Program,
    /// A map.
    Map,
    /// A link: an attachment.
    Link,
}

/// The objects that a process has open, from `/proc/PID/fdinfo`.
///
/// # Errors
/// When the process is gone.
pub fn held_by(pid: u32) -> io::Result<BTreeSet<(Kind, u32)>> {
    let mut held = BTreeSet::new();
    for entry in std::fs::read_dir(format!("/proc/{pid}/fdinfo"))? {
        let Ok(text) = std::fs::read_to_string(entry?.path()) else {
            continue;
        };
        for line in text.lines() {
            let Some((key, value)) = line.split_once(':') else {
                continue;
            };
            let kind = match key {
                "prog_id" => Kind::Program,
                "map_id" => Kind::Map,
                "link_id" => Kind::Link,
                _ => continue,
            };
            held.extend(value.trim().parse().map(|id| (kind, id)));
        }
    }
    Ok(held)
}

/// Whether the object with this id still exists.
pub fn exists(kind: Kind, id: u32) -> bool {
    open(kind, id).is_ok()
}

/// The programs of hooks and probes that the kernel has.
///
/// # Errors
/// The kernel does not tell.
pub fn tracing_programs() -> io::Result<BTreeSet<u32>> {
    let mut found = BTreeSet::new();
    let mut id = 0u32;
    loop {
        // union bpf_attr: start_id and next_id, open_flags, which have to be zero.
        let mut attr = [u64::from(id), 0];
        match bpf(PROG_GET_NEXT_ID, &mut attr) {
            Ok(_) => {}
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => return Ok(found),
            Err(error) => return Err(error),
        }
        // The kernel wrote behind the compiler's back.
        let next = std::hint::black_box(attr)[0] >> 32;
        id = u32::try_from(next).map_err(io::Error::other)?;
        // One that is gone by now is none.
        if let Ok(program) = open(Kind::Program, id)
            && TRACE_TYPES.contains(&type_of(&program)?)
        {
            found.insert(id);
        }
    }
}

/// The type of a program, which its information begins with.
fn type_of(program: &OwnedFd) -> io::Result<u32> {
    Ok(info(program, [0u32; 2])?[0])
}

/// Of a program: its type, and whether it runs on a stack that all who run it on a CPU share, in
/// place of the kernel's.
///
/// # Errors
/// It is gone, or the kernel does not show its code.
pub fn stack_of(id: u32) -> io::Result<(u32, bool)> {
    stack(&open(Kind::Program, id)?)
}

/// Whether this kernel gives programs of kprobes and uprobes such a stack.
///
/// # Errors
/// The kernel refuses.
pub fn gives_private_stacks() -> io::Result<bool> {
    let license = c"GPL";
    // union bpf_attr: prog_type, insn_cnt; insns; license.
    let mut attr = [0u64; 16];
    attr[0] = u64::from(KPROBE) | (WITH_STACK.len() as u64) << 32;
    attr[1] = WITH_STACK.as_ptr() as u64;
    attr[2] = license.as_ptr() as u64;
    let program = bpf(PROG_LOAD, &mut attr)?;
    // SAFETY: the kernel has just returned this descriptor.
    Ok(stack(&unsafe { OwnedFd::from_raw_fd(program) })?.1)
}

fn stack(program: &OwnedFd) -> io::Result<(u32, bool)> {
    // struct bpf_prog_info: type at byte 0, jited_prog_len at 16, jited_prog_insns at 24.
    let length = info(program, [0u64; 3])?[2] as u32;
    if length == 0 {
        return Err(io::Error::other("the kernel does not show its code"));
    }
    let mut code = vec![0u8; length as usize];
    let asked = [0, 0, u64::from(length), code.as_mut_ptr() as u64];
    let kind = info(program, asked)?[0] as u32;
    let code = std::hint::black_box(code);
    let mut windows = code.windows(PRIVATE_STACK.len());
    Ok((kind, windows.any(|bytes| bytes == PRIVATE_STACK)))
}

/// What the kernel says of an object, in as many bytes as there are of `asked`, which say what
/// else to write where.
fn info<T: Copy, const N: usize>(object: &OwnedFd, mut asked: [T; N]) -> io::Result<[T; N]> {
    let number = u64::try_from(object.as_raw_fd()).map_err(io::Error::other)?;
    let length = size_of_val(&asked) as u64;
    let address = asked.as_mut_ptr() as u64;
    bpf(OBJ_GET_INFO_BY_FD, &mut [number | length << 32, address])?;
    // The kernel wrote behind the compiler's back.
    Ok(std::hint::black_box(asked))
}

fn open(kind: Kind, id: u32) -> io::Result<OwnedFd> {
    let command = match kind {
        Kind::Program => PROG_GET_FD_BY_ID,
        Kind::Map => MAP_GET_FD_BY_ID,
        Kind::Link => LINK_GET_FD_BY_ID,
    };
    let mut attr = [0u64; 2];
    attr[0] = u64::from(id);
    let fd = bpf(command, &mut attr)?;
    // SAFETY: the kernel has just returned this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// Words of `struct bpf_map_info` up to its name: type, id, key_size, value_size, max_entries,
/// map_flags, name (16 bytes), and some more.
const MAP_INFO_WORDS: usize = 22;

/// How many entries the hash map of this name has that a process holds.
///
/// # Errors
/// It holds none, or the kernel does not let it be read.
pub fn entries_of(pid: u32, name: &str) -> io::Result<usize> {
    for (_, id) in held_by(pid)?
        .into_iter()
        .filter(|(kind, _)| *kind == Kind::Map)
    {
        let fd = open(Kind::Map, id)?;
        let info = info(&fd, [0u32; MAP_INFO_WORDS])?;
        let own: Vec<u8> = info[6..10]
            .iter()
            .flat_map(|word| word.to_ne_bytes())
            .take_while(|byte| *byte != 0)
            .collect();
        if own == name.as_bytes() {
            return entries(id)?.ok_or_else(|| io::Error::other("not a hash map"));
        }
    }
    Err(io::Error::other(format!("process {pid} has no map {name}")))
}

/// How many entries the hash map with this id has; `None` when it is of another type.
///
/// # Errors
/// When it is gone or the kernel does not let it be read.
pub fn entries(id: u32) -> io::Result<Option<usize>> {
    let fd = open(Kind::Map, id)?;
    let number = u64::try_from(fd.as_raw_fd()).map_err(io::Error::other)?;
    let info = info(&fd, [0u32; MAP_INFO_WORDS])?;
    let (kind, key_size) = (info[0], info[2] as usize);
    if !HASHES.contains(&kind) {
        return Ok(None);
    }
    let (mut key, mut next) = (vec![0u8; key_size], vec![0u8; key_size]);
    let mut count = 0;
    loop {
        let from = if count == 0 { 0 } else { key.as_ptr() as u64 };
        match bpf(
            MAP_GET_NEXT_KEY,
            &mut [number, from, next.as_mut_ptr() as u64],
        ) {
            Ok(_) => count += 1,
            Err(e) if e.raw_os_error() == Some(libc::ENOENT) => return Ok(Some(count)),
            Err(e) => return Err(e),
        }
        std::mem::swap(&mut key, &mut next);
    }
}

/// A program that returns at once, on the entry of a kernel function; it is off when dropped.
#[derive(Debug)]
pub struct Empty {
    program: OwnedFd,
    _link: OwnedFd,
}

impl Empty {
    /// Hooks it on the function whose type has this id.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn attach(function: u32) -> io::Result<Self> {
        let license = c"GPL";
        // union bpf_attr: prog_type, insn_cnt; insns; license; expected_attach_type at byte 68,
        // attach_btf_id at byte 108.
        let mut attr = [0u64; 16];
        attr[0] = TRACING | (EMPTY.len() as u64) << 32;
        attr[1] = EMPTY.as_ptr() as u64;
        attr[2] = license.as_ptr() as u64;
        attr[8] = TRACE_FENTRY << 32;
        attr[13] = u64::from(function) << 32;
        let program = bpf(PROG_LOAD, &mut attr)?;
        // SAFETY: the kernel has just returned this descriptor.
        let program = unsafe { OwnedFd::from_raw_fd(program) };
        let number = u64::try_from(program.as_raw_fd()).map_err(io::Error::other)?;
        let link = bpf(RAW_TRACEPOINT_OPEN, &mut [0, number])?;
        // SAFETY: as above.
        let link = unsafe { OwnedFd::from_raw_fd(link) };
        Ok(Self {
            program,
            _link: link,
        })
    }

    /// How often it has run and for how long, ns, while the kernel kept statistics.
    ///
    /// # Errors
    /// The kernel refuses.
    pub fn cost(&self) -> io::Result<(u64, u64)> {
        // struct bpf_prog_info: run_time_ns and run_cnt at bytes 192 and 200.
        let info = info(&self.program, [0u64; 26])?;
        Ok((info[25], info[24]))
    }
}

fn bpf(command: libc::c_int, attr: &mut [u64]) -> io::Result<i32> {
    // SAFETY: the attribute block has the size stated; pointers in it are to buffers of the
    // sizes that the kernel knows for the command, alive during the call.
    let rc = unsafe { libc::syscall(libc::SYS_bpf, command, attr.as_mut_ptr(), size_of_val(attr)) };
    let rc = i32::try_from(rc).unwrap_or(-1);
    if rc < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(rc)
    }
}
