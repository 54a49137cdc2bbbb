//! A permit that somebody makes for himself.

use authority::{Permit, PermitContext};
use model::Grant;
use sts::TokenGrant;

pub fn build(act: TokenGrant, grant: Grant, context: PermitContext) -> Permit<TokenGrant> {
    Permit { act, grant, context }
}

fn main() {}
