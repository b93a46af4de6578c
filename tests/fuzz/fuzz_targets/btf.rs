//! The kernel's type information: whatever comes, an answer or an error.
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    if let Ok(btf) = gohang::btf::Btf::parse(data) {
        let _ = btf.field("task_struct", "se.cfs_rq");
        let _ = btf.struct_size("upid");
        let _ = btf.typedef_func_params("btf_trace_sched_switch");
        let _ = btf.enum_value(None, "PIDTYPE_PID");
    }
});
