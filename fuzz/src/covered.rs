//! One target, named by `CHANCERY_FUZZ_TARGET`, driven by libFuzzer, which knows what it covers.
//! `cargo xtask fuzz` starts it where there is a nightly toolchain with cargo-fuzz.
#![no_main]

use std::sync::OnceLock;

use fuzz::targets::{Target, named};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(|bytes: &[u8]| {
    let target = TARGET.get_or_init(|| {
        named(&std::env::var("CHANCERY_FUZZ_TARGET").expect("CHANCERY_FUZZ_TARGET names a target"))
    });
    target(bytes);
});
