//! Empty on the host: the programs are the binary `gohang-ebpf`, built for the
//! BPF target by `cargo xtask build-ebpf`.
#![no_std]
