//! The commands beside `run`: they read captures, names and the register. Only `doctor` and `drain` open a socket.

pub mod catalog;
pub mod classify;
pub mod count;
pub mod detect;
pub mod doctor;
pub mod drain;
pub mod har;
pub mod preview;
