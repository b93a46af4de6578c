//! The diagnosis matrix: Go programs that fail in one way each, what gohang must say of them
//! with every Go version, and their healthy twins, of which it must say nothing.

mod cell;
mod elsewhere;
mod matrix;
mod program;
mod table;

pub use cell::{Trace, trace};
pub use matrix::Matrix;
pub use program::{Built, Programs};
pub use table::{Program, Setting, Table};
