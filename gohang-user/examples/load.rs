//! Throw-away: loads everything.
fn main() {
    let mut p = match gohang::probe::Probe::new(&Default::default()) {
        Ok(p) => p,
        Err(e) => {
            println!("ERR {e}");
            std::process::exit(1)
        }
    };
    println!(
        "{:#?} {:?} {}us",
        p.hooks(),
        p.verified_instructions(),
        p.attach_ns() / 1000
    );
    let _ = p.counters();
}
