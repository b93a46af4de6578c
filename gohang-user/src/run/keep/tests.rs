//! Evidence kept, and read back.
