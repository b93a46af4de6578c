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
use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use aya::Ebpf;
use aya::maps::{Map, MapData};
use aya_obj::generated::BPF_F_UPROBE_MULTI_RETURN;
use aya_obj::{Object, ProgramSection};

use super::sys::{info, link, load_probe, load_types};
use crate::btf::Btf;

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
            let program = load_probe(
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
