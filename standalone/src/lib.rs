//! Everything in one process on embedded parts.
