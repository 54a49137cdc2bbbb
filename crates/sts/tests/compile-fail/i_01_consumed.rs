//! A permit used after it was given away.

use authority::{Authority, Permit};
use sts::{Minter, TokenGrant};

pub async fn twice(minter: &Minter, permit: Permit<TokenGrant>, authority: &Authority) {
    let _ = minter.mint(permit, authority).await;
    let _ = minter.mint(permit, authority).await;
}

fn main() {}
