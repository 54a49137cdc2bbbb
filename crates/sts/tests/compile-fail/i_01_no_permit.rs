//! A grant that nobody permitted.

use authority::Authority;
use sts::{Minter, TokenGrant};

pub async fn mint(minter: &Minter, grant: TokenGrant, authority: &Authority) {
    let _ = minter.mint(grant, authority).await;
}

fn main() {}
