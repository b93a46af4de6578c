//! Guards the committed kernel object.
fn main() {
    let out = std::env::var("OUT_DIR").unwrap();
    std::fs::copy("bpf/gohang.bpf.o", format!("{out}/gohang.bpf.o")).unwrap();
    std::fs::copy("bpf/gohang.bpf.o.json", format!("{out}/gohang.bpf.o.json")).unwrap();
    println!("cargo:rerun-if-changed=bpf");
}
