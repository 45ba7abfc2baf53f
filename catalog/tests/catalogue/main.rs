//! Tests of the catalogue through its public interface, over the embedded register.

#![allow(clippy::expect_used, reason = "a test that finds its fixture broken has to fail")]

mod coverage;
mod dev_set;
mod hosting;
mod properties;
mod register;
mod support;
