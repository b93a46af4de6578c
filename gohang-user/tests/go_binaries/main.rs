//! Real Go programs, built by whatever Go is there.
//!
//! `GOHANG_TEST_GO` may name several `go` commands, separated like `PATH`;
//! `GOHANG_GO_ROOT` the folder in which `cargo xtask test` keeps its tool chains. Without
//! both it is the `go` on `PATH`.

mod build_info;
mod gomaxprocs;
mod layout;
mod paused;
mod programs;
mod safepoint;
mod symbols;
mod toolchain;
