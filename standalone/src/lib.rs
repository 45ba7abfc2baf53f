//! Everything in one process on embedded parts.

pub mod embedded;
