//! The commands beside `run`: they read captures, names and the register, and open no socket.

pub mod catalog;
pub mod classify;
pub mod count;
pub mod detect;
pub mod har;
pub mod preview;
