//! What the others do wrong, done right.

use authority::{Authority, Permit};
use sts::{Minter, TokenGrant};

pub async fn mint(minter: &Minter, permit: Permit<TokenGrant>, authority: &Authority) {
    let _ = minter.mint(permit, authority).await;
}

fn main() {}
