//! What gohang's kernel and user sides share.
#![cfg_attr(not(test), no_std)]
