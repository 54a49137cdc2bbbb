//! Ed25519 keys for which anybody can sign: the points of small order, in every encoding.
//!
//! RFC 8032 does not refuse them. A proof of possession by such a key proves nothing, so here they
//! are no keys.

/// What the encodings of those points are but for the sign in the highest bit.
fn is_listed(y: &[u8; 32]) -> bool {
    let [first, middle @ .., last] = y;
    let all = |byte| middle.iter().all(|found| *found == byte);
    // y = 0 and 1, and p - 1, p and p + 1, of which the last two are 0 and 1 once more.
    let by_value = (*first <= 1 && all(0) && *last == 0)
        || ((0xec..=0xee).contains(first) && all(0xff) && *last == 0x7f);
    by_value || EIGHTH.contains(y)
}

/// The two values of y at the points of order eight.
const EIGHTH: [[u8; 32]; 2] = [
    [
        0x26, 0xe8, 0x95, 0x8f, 0xc2, 0xb2, 0x27, 0xb0, 0x45, 0xc3, 0xf4, 0x89, 0xf2, 0xef, 0x98,
        0xf0, 0xd5, 0xdf, 0xac, 0x05, 0xd3, 0xc6, 0x33, 0x39, 0xb1, 0x38, 0x02, 0x88, 0x6d, 0x53,
        0xfc, 0x05,
    ],
    [
        0xc7, 0x17, 0x6a, 0x70, 0x3d, 0x4d, 0xd8, 0x4f, 0xba, 0x3c, 0x0b, 0x76, 0x0d, 0x10, 0x67,
        0x0f, 0x2a, 0x20, 0x53, 0xfa, 0x2c, 0x39, 0xcc, 0xc6, 0x4e, 0xc7, 0xfd, 0x77, 0x92, 0xac,
        0x03, 0x7a,
    ],
];

/// Whether `key` encodes a point of small order.
pub(crate) fn is_small_order(key: &[u8]) -> bool {
    let Ok(mut y) = <[u8; 32]>::try_from(key) else { return false };
    y[31] &= 0x7f;
    is_listed(&y)
}
