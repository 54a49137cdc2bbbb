//! N-094: a release that ends anywhere before its end, where it is published and where it is kept.

use model::FactKey;
use proptest::prelude::*;
use store::{Effect, Unit};

use crate::releases::{CLOSED, House, asked};

/// Cuts the policies that are published, and what is kept of a release: nothing changes.
async fn is_refused(at: prop::sample::Index) {
    let house = House::new().await;
    let (good, mut files) = asked(2, CLOSED);
    for text in files.policies.values_mut() {
        let ends: Vec<_> = text.char_indices().map(|(end, _)| end).collect();
        text.truncate(*at.get(&ends));
    }
    let revision = house.desk.revision().await;
    let command = house.published(good, Some(files));
    house.desk.run(command).await.expect_err("its author signed all of it");
    assert_eq!(house.desk.revision().await, revision);
    assert_eq!(house.desk.fact(FactKey::release(2)).await, None);
    assert_eq!(house.desk.call("lookup").await, "permitted");

    house.release_all(2, CLOSED).await;
    let place = FactKey::policy(&house.release(2).await.terms.content);
    let kept = house.desk.fact(place.clone()).await.expect("it is kept").to_string();
    let body = kept.as_bytes()[..at.index(kept.len())].to_vec();
    let effects = vec![Effect::Put { key: place, body }];
    let unit = Unit { effects, ..Unit::default() };
    house.desk.world.journal.store().commit(unit).await.expect("it commits");
    assert_ne!(house.follows().await, "in force");
    assert_eq!(house.desk.call("lookup").await, "forbidden", "the last good set stays");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 24, ..ProptestConfig::default() })]

    #[test]
    fn n_094_what_is_cut_anywhere_is_no_release(at in any::<prop::sample::Index>()) {
        let runtime = tokio::runtime::Runtime::new().expect("a runtime");
        runtime.block_on(Box::pin(is_refused(at)));
    }
}
