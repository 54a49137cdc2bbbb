//! A permit used twice.

use authority::Permit;
use sts::TokenGrant;

pub fn twice(permit: &Permit<TokenGrant>) -> Permit<TokenGrant> {
    Permit::clone(permit)
}

fn main() {}
