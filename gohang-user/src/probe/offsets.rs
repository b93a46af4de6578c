//! Kernel field offsets for the object's `.rodata`, from BTF.

use gohang_common::config::{ABSENT, Offsets};

use super::ProbeError;
use crate::btf::{Btf, BtfError};

/// Every offset the kernel programs use. A field that not every supported
/// kernel has is [`ABSENT`] where it is missing.
///
/// # Errors
/// A field that every supported kernel has is missing; it is named.
pub fn kernel_offsets(btf: &Btf) -> Result<Offsets, ProbeError> {
    let field = |strukt: &str, path: &str| -> Result<u32, BtfError> {
        btf.field(strukt, path).map(|field| field.byte_offset)
    };
    let task = |path: &str| field("task_struct", path);
    let optional = |strukt: &str, path: &str| field(strukt, path).unwrap_or(ABSENT);
    // A one-bit field: the byte that holds it and the bit in that byte.
    let (task_frozen, task_frozen_mask) = match btf.field("task_struct", "frozen") {
        Ok(found) if found.bit_size == Some(1) => {
            (found.byte_offset, 1 << found.bit_offset_in_byte)
        }
        _ => (ABSENT, 0),
    };
    Ok(Offsets {
        task_pid: task("pid")?,
        task_tgid: task("tgid")?,
        task_flags: task("flags")?,
        // Renamed in 5.14.
        task_state: btf
            .first_field("task_struct", &["__state", "state"])?
            .byte_offset,
        task_on_cpu: task("on_cpu")?,
        task_blocked: task("blocked")?,
        task_group_leader: task("group_leader")?,
        task_start_time: task("start_time")?,
        task_thread_pid: task("thread_pid")?,
        task_group: optional("task_struct", "sched_task_group"),
        task_sum_exec: task("se.sum_exec_runtime")?,
        task_prev_sum_exec: task("se.prev_sum_exec_runtime")?,
        task_last_queued: optional("task_struct", "sched_info.last_queued"),
        task_prio: task("prio")?,
        task_sched_class: task("sched_class")?,
        task_on_cfs_rq: task("se.on_rq")?,
        cfs_rq_rq: optional("cfs_rq", "rq"),
        rq_cpu: optional("rq", "cpu"),
        rq_clock: optional("rq", "clock"),
        task_cfs_rq: optional("task_struct", "se.cfs_rq"),
        task_throttled: optional("task_struct", "throttled"),
        task_frozen,
        task_frozen_mask,
        task_comm: task("comm")?,
        task_signal: task("signal")?,
        task_stack: task("stack")?,
        task_sas_ss_sp: task("sas_ss_sp")?,
        task_sas_ss_size: task("sas_ss_size")?,
        signal_live: field("signal_struct", "live")?,
        group_cgroup: optional("task_group", "css.cgroup"),
        group_parent: optional("task_group", "parent"),
        group_cfs_rq: optional("task_group", "cfs_rq"),
        group_cfs_rq_percpu: u32::from(
            btf.field("task_group", "cfs_rq")
                .is_ok_and(|field| !field.to_pointer),
        ),
        rq_idle: optional("rq", "idle"),
        cgroup_kn: field("cgroup", "kn")?,
        kn_id: field("kernfs_node", "id")?,
        cfs_rq_throttle_count: optional("cfs_rq", "throttle_count"),
        cfs_rq_runtime_enabled: optional("cfs_rq", "runtime_enabled"),
        cfs_rq_runtime_remaining: optional("cfs_rq", "runtime_remaining"),
        pid_level: field("pid", "level")?,
        pid_numbers: field("pid", "numbers")?,
        upid_size: btf.struct_size("upid")?,
        upid_nr: field("upid", "nr")?,
        ka_handler: field("k_sigaction", "sa.sa_handler")?,
        info_code: field("kernel_siginfo", "si_code")?,
        regs_size: btf.struct_size("pt_regs")?,
        regs_ip: field("pt_regs", "ip")?,
        regs_sp: field("pt_regs", "sp")?,
        regs_cs: field("pt_regs", "cs")?,
        regs_orig_ax: field("pt_regs", "orig_ax")?,
        regs_g: field("pt_regs", "r14")?,
    })
}
