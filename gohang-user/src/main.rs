//! The `gohang` command: a thin shell around the library.

mod cli;

/// Text for the terminal: no control byte passes.
fn escape_line(text: &str) -> String {
    gohang::process::escape(text)
}

fn main() {
    std::process::exit(cli::main());
}
