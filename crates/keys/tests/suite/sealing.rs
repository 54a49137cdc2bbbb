//! Sealing: what is opened is what was sealed, under the same key and name.

use keys::{SealError, SealingKey};
use proptest::prelude::*;

fn key(byte: u8) -> SealingKey {
    SealingKey::from_bytes([byte; 32])
}

/// A sealed value says how long it is, and nothing else.
#[test]
fn the_sealed_bytes_are_nonce_text_and_tag() {
    let sealed = key(1).seal(b"the plain text", b"name", [9; 12]);
    assert_eq!(sealed.len(), 12 + 14 + 16);
    assert_eq!(sealed[..12], [9; 12]);
    assert!(!sealed.windows(5).any(|window| window == b"plain"));
}

/// NIST SP 800-38D test case 14: a key and a block of zeros.
#[test]
fn the_test_case_14_of_aes_gcm() {
    let sealed = SealingKey::from_bytes([0; 32]).seal(&[0; 16], b"", [0; 12]);
    let cipher = 0xcea7_403d_4d60_6b6e_074e_c5d3_baf3_9d18_u128.to_be_bytes();
    let tag = 0xd0d1_c8a7_9999_6bf0_265b_98b5_d48a_b919_u128.to_be_bytes();
    assert_eq!(sealed[12..], [cipher, tag].concat());
}

#[test]
fn what_was_changed_does_not_open() {
    let sealed = key(1).seal(b"value", b"name", [9; 12]);
    for at in 0..sealed.len() {
        for bit in 0..8 {
            let mut changed = sealed.clone();
            changed[at] ^= 1 << bit;
            assert_eq!(key(1).open(&changed, b"name"), Err(SealError), "byte {at}, bit {bit}");
        }
    }
    for end in 0..sealed.len() {
        assert_eq!(key(1).open(&sealed[..end], b"name"), Err(SealError), "cut at {end}");
    }
    assert_eq!(key(1).open(&[sealed.as_slice(), &[0]].concat(), b"name"), Err(SealError));
}

#[test]
fn another_name_or_key_does_not_open() {
    let sealed = key(1).seal(b"value", b"alice", [9; 12]);
    for name in [&b""[..], b"bob", b"alice\0", b"Alice", b"alic"] {
        assert_eq!(key(1).open(&sealed, name), Err(SealError));
    }
    assert_eq!(key(2).open(&sealed, b"alice"), Err(SealError));
    assert_eq!(key(1).open(&sealed, b"alice").as_deref(), Ok(&b"value"[..]));
}

proptest! {
    #[test]
    fn what_is_sealed_opens(plain: Vec<u8>, name: Vec<u8>, key: [u8; 32], nonce: [u8; 12]) {
        let key = SealingKey::from_bytes(key);
        prop_assert_eq!(key.open(&key.seal(&plain, &name, nonce), &name), Ok(plain));
    }

    #[test]
    fn bytes_that_nobody_sealed_do_not_open(bytes: Vec<u8>, name: Vec<u8>) {
        prop_assert_eq!(key(1).open(&bytes, &name), Err(SealError));
    }
}
