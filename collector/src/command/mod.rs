//! The commands beside `run`: `count` and `preview` read captures and open no socket.

pub mod count;
pub mod preview;
