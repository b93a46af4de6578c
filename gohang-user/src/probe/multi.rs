//! Probes in user programs as links of their own (`BPF_TRACE_UPROBE_MULTI`, Linux 6.6).
//!
//! A probe that is a perf event stops its program while it is taken off: each thread that gets
//! there meanwhile waits until the kernel has let a grace period pass under the probe's lock
//! (`handler_chain` and `uprobe_apply`, kernel/events/uprobes.c, 6.18; 11 to 23 ms measured).
//! With a link nobody waits (tried on 6.12 and 6.18). aya 0.14 cannot make one: it loads every
//! uprobe for perf events. So these programs are relocated with aya's own means, and loaded and
//! linked here.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ffi::{CString, c_long};
use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya_obj::generated::{BPF_F_UPROBE_MULTI_RETURN, bpf_cmd, bpf_prog_info, bpf_prog_type};
use aya_obj::{Function, Object, ProgramSection};

use crate::btf::Btf;

/// `BPF_OBJ_NAME_LEN` (include/uapi/linux/bpf.h).
const NAME_LENGTH: usize = 16;

/// `union bpf_attr` (include/uapi/linux/bpf.h) of `BPF_PROG_LOAD`, as far as it is used.
#[derive(Default)]
#[repr(C)]
struct LoadAttributes {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; NAME_LENGTH],
    prog_ifindex: u32,
    expected_attach_type: u32,
    prog_btf_fd: u32,
    func_info_rec_size: u32,
    func_info: u64,
    func_info_cnt: u32,
    line_info_rec_size: u32,
    line_info: u64,
    line_info_cnt: u32,
    attach_btf_id: u32,
}

/// That of `BPF_BTF_LOAD`.
#[derive(Default)]
#[repr(C)]
struct TypesAttributes {
    btf: u64,
    btf_log_buf: u64,
    btf_size: u32,
    btf_log_size: u32,
}

/// That of `BPF_LINK_CREATE` for such links.
#[derive(Default)]
#[repr(C)]
struct LinkAttributes {
    prog_fd: u32,
    target_fd: u32,
    attach_type: u32,
    flags: u32,
    path: u64,
    offsets: u64,
    ref_ctr_offsets: u64,
    cookies: u64,
    cnt: u32,
    multi_flags: u32,
    pid: u32,
    pad: u32,
}

/// That of `BPF_OBJ_GET_INFO_BY_FD`.
#[derive(Default)]
#[repr(C)]
struct InfoAttributes {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// bpf(2).
///
/// # Safety
/// The attributes are those of the command, and what they point to outlives the call.
unsafe fn bpf<T>(command: bpf_cmd, attributes: &mut T) -> io::Result<c_long> {
    let at = std::ptr::from_mut(attributes);
    // SAFETY: a system call on memory of that size; the caller answers for the rest.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command as c_long, at, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(result)
}

/// The descriptor that bpf(2) has made.
fn owned(descriptor: c_long) -> io::Result<OwnedFd> {
    let descriptor = RawFd::try_from(descriptor).map_err(io::Error::other)?;
    // SAFETY: the kernel has just made it, for us alone.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

/// A descriptor as attributes hold it.
fn number(descriptor: BorrowedFd<'_>) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}

/// Where a value lies, as attributes hold it.
fn address<T: ?Sized>(value: &T) -> u64 {
    std::ptr::from_ref(value).cast::<()>() as u64
}

/// Gives the kernel the types of programs.
fn load_types(types: &[u8]) -> io::Result<OwnedFd> {
    let mut attributes = TypesAttributes {
        btf: address(types),
        btf_size: u32::try_from(types.len()).map_err(io::Error::other)?,
        ..TypesAttributes::default()
    };
    // SAFETY: the attributes of the command; the types outlive the call.
    owned(unsafe { bpf(bpf_cmd::BPF_BTF_LOAD, &mut attributes) }?)
}

fn load(
    name: &str,
    function: &Function,
    license: &CString,
    types: BorrowedFd<'_>,
    attach_type: u32,
) -> io::Result<OwnedFd> {
    let functions = function.func_info.func_info_bytes();
    let length = |length| u32::try_from(length).map_err(io::Error::other);
    let mut attributes = LoadAttributes {
        prog_type: bpf_prog_type::BPF_PROG_TYPE_KPROBE as u32,
        insn_cnt: length(function.instructions.len())?,
        insns: address(&*function.instructions),
        license: license.as_ptr() as u64,
        expected_attach_type: attach_type,
        prog_btf_fd: number(types),
        func_info_rec_size: length(function.func_info_rec_size)?,
        func_info: address(&*functions),
        func_info_cnt: length(function.func_info.len())?,
        ..LoadAttributes::default()
    };
    // The last byte stays 0.
    for (to, from) in attributes.prog_name[..NAME_LENGTH - 1]
        .iter_mut()
        .zip(name.bytes())
    {
        *to = from;
    }
    // SAFETY: the attributes of the command; what they point to outlives the call.
    owned(unsafe { bpf(bpf_cmd::BPF_PROG_LOAD, &mut attributes) }?)
}

fn link(
    program: BorrowedFd<'_>,
    attach_type: u32,
    path: &CString,
    offset: u64,
    flags: u32,
) -> io::Result<OwnedFd> {
    let mut attributes = LinkAttributes {
        prog_fd: number(program),
        attach_type,
        path: path.as_ptr() as u64,
        offsets: address(&offset),
        cnt: 1,
        multi_flags: flags,
        ..LinkAttributes::default()
    };
    // SAFETY: the attributes of the command; path and offset outlive the call.
    owned(unsafe { bpf(bpf_cmd::BPF_LINK_CREATE, &mut attributes) }?)
}

/// What the kernel says of a program.
fn info(program: BorrowedFd<'_>) -> io::Result<bpf_prog_info> {
    // SAFETY: a structure of numbers, of which zero is one.
    let mut found: bpf_prog_info = unsafe { std::mem::zeroed() };
    let mut attributes = InfoAttributes {
        bpf_fd: number(program),
        info_len: u32::try_from(size_of_val(&found)).map_err(io::Error::other)?,
        info: std::ptr::from_mut(&mut found) as u64,
    };
    // SAFETY: the attributes of the command; what they point to is of that length.
    unsafe { bpf(bpf_cmd::BPF_OBJ_GET_INFO_BY_FD, &mut attributes) }?;
    Ok(found)
}

/// A loaded program.
#[derive(Debug)]
struct Program {
    program: OwnedFd,
    /// Of its links.
    flags: u32,
}

/// What a program has cost (zeros unless the kernel's statistics are on).
#[derive(Clone, Copy, Debug)]
pub(super) struct Cost {
    pub runs: u64,
    /// Time in it, ns.
    pub ns: u64,
    /// Instructions that the verifier looked at, if the kernel says.
    pub verified: Option<u32>,
}

/// The programs that are linked so, once they are loaded.
#[derive(Debug)]
pub(super) struct Multi {
    /// The kernel's number of `BPF_TRACE_UPROBE_MULTI`.
    attach_type: u32,
    object: Cow<'static, [u8]>,
    /// The maps that aya has made, by name.
    maps: BTreeMap<String, OwnedFd>,
    programs: BTreeMap<&'static str, Program>,
}

impl Multi {
    /// What is needed to load programs of the object, whose maps are those of `ebpf`; `None`
    /// where the kernel has no such links.
    pub fn new(kernel: &Btf, object: Cow<'static, [u8]>, ebpf: &Ebpf) -> Option<Self> {
        let number = kernel.enum_value(Some("bpf_attach_type"), "BPF_TRACE_UPROBE_MULTI")?;
        let maps = ebpf.maps().filter_map(|(name, map)| {
            let copy = data(map)?.fd().as_fd().try_clone_to_owned().ok()?;
            Some((name.to_owned(), copy))
        });
        Some(Self {
            attach_type: u32::try_from(number).ok()?,
            maps: maps.collect(),
            object,
            programs: BTreeMap::new(),
        })
    }

    /// Loads these programs.
    ///
    /// # Errors
    /// What the kernel or the object lacks.
    pub fn load(&mut self, names: impl Iterator<Item = &'static str>) -> Result<(), String> {
        let mut object = Object::parse(&self.object).map_err(|e| e.to_string())?;
        let sections = object.functions.keys().map(|(section, _)| *section);
        let sections: HashSet<usize> = sections.collect();
        let known = std::mem::take(&mut object.maps);
        let maps = known.iter().filter_map(|(name, map)| {
            let descriptor = self.maps.get(name)?.as_raw_fd();
            Some((name.as_str(), descriptor, map))
        });
        object
            .relocate_maps(maps, &sections)
            .and_then(|()| object.relocate_calls(&sections))
            .map_err(|error| error.to_string())?;
        let features = aya::features().btf();
        let types = features.map(|features| object.fixup_and_sanitize_btf(features));
        let types = types.transpose().map_err(|error| error.to_string())?;
        let types = types.flatten().ok_or("no types")?.to_bytes();
        let types = load_types(&types).map_err(|error| format!("types: {error}"))?;
        for name in names {
            let found = object.programs.get(name);
            let found = found.ok_or_else(|| format!("no program {name}"))?;
            let function = &object.functions[&found.function_key()];
            let program = load(
                name,
                function,
                &found.license,
                types.as_fd(),
                self.attach_type,
            )
            .map_err(|error| format!("{name}: load: {error}"))?;
            let flags = match found.section {
                ProgramSection::URetProbe { .. } => BPF_F_UPROBE_MULTI_RETURN,
                _ => 0,
            };
            self.programs.insert(name, Program { program, flags });
        }
        Ok(())
    }

    /// Runs a program whenever a process gets to the `offset` of the file; until the link is
    /// dropped.
    ///
    /// # Errors
    /// The kernel's.
    pub fn attach(&self, name: &str, offset: u64, path: &Path) -> io::Result<OwnedFd> {
        let path = CString::new(path.as_os_str().as_bytes())?;
        let Some(Program { program, flags }) = self.programs.get(name) else {
            return Err(io::ErrorKind::NotFound.into());
        };
        link(program.as_fd(), self.attach_type, &path, offset, *flags)
    }

    /// What a program has cost, if it is loaded.
    pub fn cost(&self, name: &str) -> Option<Cost> {
        let info = info(self.programs.get(name)?.program.as_fd()).ok()?;
        Some(Cost {
            runs: info.run_cnt,
            ns: info.run_time_ns,
            verified: (info.verified_insns > 0).then_some(info.verified_insns),
        })
    }
}

/// The map that aya holds, of the kinds that the object has.
fn data(map: &Map) -> Option<&MapData> {
    match map {
        Map::Array(data)
        | Map::HashMap(data)
        | Map::LruHashMap(data)
        | Map::PerCpuArray(data)
        | Map::PerCpuHashMap(data)
        | Map::RingBuf(data) => Some(data),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// include/uapi/linux/bpf.h: where the fields lie that are not zero.
    #[test]
    fn attributes_lie_as_the_kernel_has_them() {
        use std::mem::offset_of;
        assert_eq!(offset_of!(LoadAttributes, prog_name), 48);
        assert_eq!(offset_of!(LoadAttributes, expected_attach_type), 68);
        assert_eq!(offset_of!(LoadAttributes, func_info_cnt), 88);
        assert_eq!(size_of::<LoadAttributes>(), 112);
        assert_eq!(offset_of!(TypesAttributes, btf_size), 16);
        assert_eq!(offset_of!(LinkAttributes, path), 16);
        assert_eq!(offset_of!(LinkAttributes, cnt), 48);
        assert_eq!(offset_of!(LinkAttributes, pid), 56);
        assert_eq!(offset_of!(InfoAttributes, info), 8);
    }

    #[test]
    fn a_call_that_the_kernel_refuses_is_an_error() {
        let closed = OwnedFd::from(std::fs::File::open("/dev/null").expect("it is there"));
        assert!(info(closed.as_fd()).is_err());
        assert!(link(closed.as_fd(), 48, &CString::default(), 0, 0).is_err());
        assert!(load_types(&[]).is_err());
    }
}
