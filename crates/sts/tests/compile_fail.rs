//! I-01: what needs a permit does not compile without one, or with another one, or with one twice.

#[test]
fn i_01_without_a_permit_nothing_compiles() {
    let cases = trybuild::TestCases::new();
    cases.pass("tests/compile-fail/with_a_permit.rs");
    cases.compile_fail("tests/compile-fail/i_01_*.rs");
}
