//! Releases of which their author says that they are proved, where that is required.

use std::sync::Arc;

use model::Sha256Digest;
use pap::ReleaseAsked;

use crate::desk::word as word_of;
use crate::releases::{CLOSED, House, asked};

impl House {
    /// The same deployment, where releases have to be proved from now on.
    fn requiring_proof(mut self) -> Self {
        let administration = Arc::into_inner(self.desk.administration).expect("nobody else has it");
        self.desk.administration = Arc::new(administration.requiring_proof(true));
        self
    }
}

#[tokio::test]
async fn r_39_what_has_to_be_proved_is_signed_with_its_proof() {
    let house = House::new().await.requiring_proof();
    let why = house.publish(2, CLOSED).await.expect_err("nobody proved it").to_string();
    assert!(why.contains("`policy.require_proof`"), "{why}");
    let (asked, files) = asked(2, CLOSED);
    let proof = Some(Sha256Digest::of(b"what is proved"));
    let asked = ReleaseAsked { proof, ..asked };
    house.desk.run(house.published(asked, Some(files))).await.expect("it is published");
    assert_eq!(house.release(2).await.terms.proof, proof, "its author signed that, too");
    house.approve(2).await.expect("it is approved");
    house.activate(2).await.expect("it is in force");
    // What was in force comes back without.
    house.roll_back(3, 1).await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    house.activate(3).await.expect("it is in force");
}

/// What was approved before proofs were required is not put in force after that.
#[tokio::test]
async fn r_39_what_waits_without_a_proof_is_not_put_in_force() {
    let house = House::new().await;
    house.publish(2, CLOSED).await.expect("it is published");
    house.approve(2).await.expect("it is approved");
    let house = house.requiring_proof();
    assert_eq!(word_of(&house.activate(2).await), "invalid");
    assert_eq!(house.desk.call("lookup").await, "permitted");
}
