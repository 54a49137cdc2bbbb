//! How many logins may be under way.

use std::time::Duration;

use super::World;
use crate::{PENDING_LIFETIME, PENDING_MAX};

#[test]
fn n_113_a_full_table_refuses_and_forgets_no_login() {
    let world = World::new();
    let first = world.begin().unwrap();
    world.clock.advance(Duration::from_secs(1));
    for _ in 1..PENDING_MAX {
        world.begin().unwrap();
    }
    assert_eq!(world.begin().err().map(|error| error.code()), Some("login_busy"));
    let claims = world.claims(&first);
    world.finish(first, &claims).unwrap();
    // That one made room for one.
    world.begin().unwrap();
    assert_eq!(world.begin().err().map(|error| error.code()), Some("login_busy"));
    // Those that are over make room for all.
    world.clock.advance(PENDING_LIFETIME);
    world.begin().unwrap();
}
