//! How many logins may be under way, and how often one is finished.

use std::net::IpAddr;
use std::time::Duration;

use super::answers::copy;
use super::provider::Key;
use super::{World, block_on, query};
use crate::{PENDING_LIFETIME, PENDING_MAX, PENDING_OF_ONE_MAX, SignatureAlgorithm};

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

#[test]
fn n_113_one_address_begins_only_so_many_logins() {
    let world = World::new();
    let [one, another] = [1, 2].map(|last| Some(IpAddr::from([192, 0, 2, last])));
    let refused = |from| world.begin_from(from).err();
    let first = world.begin_from(one).unwrap();
    world.clock.advance(Duration::from_secs(1));
    for _ in 1..PENDING_OF_ONE_MAX {
        world.begin_from(one).unwrap();
    }
    let busy = refused(one).expect("one too many");
    assert_eq!((busy.code(), busy.retry_after()), ("login_busy_of_one", Some(PENDING_LIFETIME)));
    assert!(refused(another).is_none(), "another is not concerned");
    // Nobody in particular counts among all alone.
    assert!((0..=PENDING_OF_ONE_MAX).all(|_| refused(None).is_none()));
    // One that is finished makes room, and so do those that are over.
    let claims = world.claims(&first);
    world.finish(first, &claims).unwrap();
    assert!(refused(one).is_none());
    assert!(refused(one).is_some());
    world.clock.advance(PENDING_LIFETIME);
    assert!((0..PENDING_OF_ONE_MAX).all(|_| refused(one).is_none()));
    assert!(refused(one).is_some());
}

#[test]
fn n_040d_of_64_racers_for_one_login_one_finishes_it() {
    let world = World::new();
    let asked = world.begin().unwrap();
    let claims = world.claims(&asked);
    let token = Key::of(SignatureAlgorithm::Rs256).sign(&world.provider.header(), &claims);
    world.provider.answer_with(&token);
    let answer = query(&asked);
    let states: Vec<_> = (0..64).map(|_| copy(&asked.state)).collect();
    let racers = std::thread::scope(|scope| {
        let race = |state| scope.spawn(|| block_on(world.login.finish(state, &answer)).is_ok());
        let racing: Vec<_> = states.into_iter().map(race).collect();
        racing.into_iter().map(|racer| racer.join().unwrap()).collect::<Vec<_>>()
    });
    assert_eq!(racers.iter().filter(|won| **won).count(), 1);
    assert_eq!(world.provider.redeemed().len(), 1);
}
