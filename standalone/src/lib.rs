//! Everything in one process on embedded parts, for a laptop and the demo. Thin: it only composes the libraries.

pub mod demo;
pub mod embedded;
pub mod pipeline;
pub mod serve;
