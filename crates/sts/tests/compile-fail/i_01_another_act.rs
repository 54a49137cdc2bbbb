//! A permit for another kind of act.

use authority::{Authority, Permit};
use sts::Minter;

pub struct Call;

pub async fn mint(minter: &Minter, permit: Permit<Call>, authority: &Authority) {
    let _ = minter.mint(permit, authority).await;
}

fn main() {}
