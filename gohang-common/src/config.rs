//! Blocks that user space writes into the object's `.rodata` before loading.

/// Offset of a field that this kernel does not have.
pub const ABSENT: u32 = u32::MAX;

/// Byte offsets of kernel fields, from the running kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Offsets {
    /// `task_struct.pid`.
    pub task_pid: u32,
    /// `task_struct.tgid`.
    pub task_tgid: u32,
    /// `task_struct.flags`.
    pub task_flags: u32,
    /// `task_struct.__state` (5.14 and later) or `state`.
    pub task_state: u32,
    /// `task_struct.on_cpu`.
    pub task_on_cpu: u32,
    /// `task_struct.blocked`, first word.
    pub task_blocked: u32,
    /// `task_struct.group_leader`.
    pub task_group_leader: u32,
    /// `task_struct.start_time`.
    pub task_start_time: u32,
    /// `task_struct.thread_pid`.
    pub task_thread_pid: u32,
    /// `task_struct.sched_task_group`.
    pub task_group: u32,
    /// `task_struct.se.sum_exec_runtime`.
    pub task_sum_exec: u32,
    /// `task_struct.se.prev_sum_exec_runtime`: the same when it got its CPU.
    pub task_prev_sum_exec: u32,
    /// `task_struct.sched_info.last_queued`, [`ABSENT`] without schedule
    /// information.
    pub task_last_queued: u32,
    /// `task_struct.prio`.
    pub task_prio: u32,
    /// `task_struct.sched_class`.
    pub task_sched_class: u32,
    /// `task_struct.se.on_rq`.
    pub task_on_cfs_rq: u32,
    /// `cfs_rq.rq`.
    pub cfs_rq_rq: u32,
    /// `rq.cpu`.
    pub rq_cpu: u32,
    /// `rq.clock`, the clock of `last_queued`.
    pub rq_clock: u32,
    /// `task_struct.se.cfs_rq`, [`ABSENT`] without group scheduling.
    pub task_cfs_rq: u32,
    /// `task_struct.throttled` (6.18 and later), else [`ABSENT`].
    pub task_throttled: u32,
    /// `task_struct.frozen`: the byte that holds the bit, else [`ABSENT`].
    pub task_frozen: u32,
    /// Mask of `task_struct.frozen` in that byte.
    pub task_frozen_mask: u32,
    /// `task_struct.comm`.
    pub task_comm: u32,
    /// `task_struct.signal`.
    pub task_signal: u32,
    /// `task_struct.stack`.
    pub task_stack: u32,
    /// `task_struct.sas_ss_sp`.
    pub task_sas_ss_sp: u32,
    /// `task_struct.sas_ss_size`.
    pub task_sas_ss_size: u32,
    /// `signal_struct.live`.
    pub signal_live: u32,
    /// `task_group.css.cgroup`.
    pub group_cgroup: u32,
    /// `task_group.parent`.
    pub group_parent: u32,
    /// `task_group.cfs_rq`, [`ABSENT`] without group scheduling.
    pub group_cfs_rq: u32,
    /// 1 if that is a per-CPU pointer (7.x), 0 if it is an array of pointers.
    pub group_cfs_rq_percpu: u32,
    /// `rq.idle`.
    pub rq_idle: u32,
    /// `cgroup.kn`.
    pub cgroup_kn: u32,
    /// `kernfs_node.id`.
    pub kn_id: u32,
    /// `cfs_rq.throttle_count`, [`ABSENT`] without CFS bandwidth control.
    pub cfs_rq_throttle_count: u32,
    /// `cfs_rq.runtime_enabled`, [`ABSENT`] without CFS bandwidth control.
    pub cfs_rq_runtime_enabled: u32,
    /// `cfs_rq.runtime_remaining`, [`ABSENT`] without CFS bandwidth control.
    pub cfs_rq_runtime_remaining: u32,
    /// `pid.level`.
    pub pid_level: u32,
    /// `pid.numbers`.
    pub pid_numbers: u32,
    /// Size of `struct upid`.
    pub upid_size: u32,
    /// `upid.nr`.
    pub upid_nr: u32,
    /// `k_sigaction.sa.sa_handler`.
    pub ka_handler: u32,
    /// `kernel_siginfo.si_code`.
    pub info_code: u32,
    /// Size of `struct pt_regs`.
    pub regs_size: u32,
    /// `pt_regs.ip`.
    pub regs_ip: u32,
    /// `pt_regs.sp`.
    pub regs_sp: u32,
    /// `pt_regs.cs`.
    pub regs_cs: u32,
    /// `pt_regs.orig_ax`.
    pub regs_orig_ax: u32,
    /// `pt_regs.r14`, where Go keeps g (ABIInternal, amd64).
    pub regs_g: u32,
}

impl Offsets {
    /// Nothing known. The value that the object is built with.
    pub const UNSET: Self = Self {
        task_pid: ABSENT,
        task_tgid: ABSENT,
        task_flags: ABSENT,
        task_state: ABSENT,
        task_on_cpu: ABSENT,
        task_blocked: ABSENT,
        task_group_leader: ABSENT,
        task_start_time: ABSENT,
        task_thread_pid: ABSENT,
        task_group: ABSENT,
        task_sum_exec: ABSENT,
        task_prev_sum_exec: ABSENT,
        task_last_queued: ABSENT,
        task_prio: ABSENT,
        task_sched_class: ABSENT,
        task_on_cfs_rq: ABSENT,
        cfs_rq_rq: ABSENT,
        rq_cpu: ABSENT,
        rq_clock: ABSENT,
        task_cfs_rq: ABSENT,
        task_throttled: ABSENT,
        task_frozen: ABSENT,
        task_frozen_mask: 0,
        task_comm: ABSENT,
        task_signal: ABSENT,
        task_stack: ABSENT,
        task_sas_ss_sp: ABSENT,
        task_sas_ss_size: ABSENT,
        signal_live: ABSENT,
        group_cgroup: ABSENT,
        group_parent: ABSENT,
        group_cfs_rq: ABSENT,
        group_cfs_rq_percpu: 0,
        rq_idle: ABSENT,
        cgroup_kn: ABSENT,
        kn_id: ABSENT,
        cfs_rq_throttle_count: ABSENT,
        cfs_rq_runtime_enabled: ABSENT,
        cfs_rq_runtime_remaining: ABSENT,
        pid_level: ABSENT,
        pid_numbers: ABSENT,
        upid_size: ABSENT,
        upid_nr: ABSENT,
        ka_handler: ABSENT,
        info_code: ABSENT,
        regs_size: ABSENT,
        regs_ip: ABSENT,
        regs_sp: ABSENT,
        regs_cs: ABSENT,
        regs_orig_ax: ABSENT,
        regs_g: ABSENT,
    };
}

/// How throttling is read (the ladder's steps; the same meaning above).
pub mod throttle {
    /// This kernel has no CFS bandwidth control.
    pub const NONE: u32 = 0;
    /// `task->throttled` (6.18 and later).
    pub const THREAD_EXACT: u32 = 1;
    /// `cfs_rq->throttle_count` at switches and wake-ups.
    pub const SWITCH_POINT: u32 = 2;
    /// When each `cfs_rq` was out of quota, laid over the waits of its threads.
    pub const OVERLAY: u32 = 3;
}

/// What the programs are asked to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Settings {
    /// One of [`throttle`].
    pub throttle: u32,
    /// 1 to let every process through from its exec until user space decides.
    pub discover: u32,
    /// 1 where `bpf_task_pt_regs` exists (5.15 and later).
    pub has_task_pt_regs: u32,
    /// Bytes pending in the ring past which the reader is woken.
    pub wake_bytes: u32,
    /// Bytes at the top of a kernel stack above `pt_regs`.
    pub stack_padding: u32,
    /// Size of a kernel stack (THREAD_SIZE).
    pub stack_size: u32,
    /// 1 if a child of a traced process is traced too.
    pub inherit: u32,
    /// 1 if the hooks on the quota of run queues are attached.
    pub run_queues: u32,
    /// Address of `ext_sched_class`, the class of a BPF scheduler's tasks; 0 on kernels without,
    /// and where no task's class is asked for.
    pub ext_class: u64,
}

impl Settings {
    /// Nothing asked for. The value that the object is built with.
    pub const UNSET: Self = Self {
        throttle: throttle::NONE,
        discover: 0,
        has_task_pt_regs: 0,
        wake_bytes: 0,
        stack_padding: 0,
        stack_size: 0,
        inherit: 0,
        run_queues: 0,
        ext_class: 0,
    };
}
