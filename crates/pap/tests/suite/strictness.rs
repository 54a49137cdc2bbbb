//! Decisions that hung on a token, made again: as they were recorded, and by another set.

use std::time::Duration;

use authority::ShownToken;
use model::{Clock as _, Sha256Digest};
use pap::{Command, PolicyFiles};
use serde_json::{Value, json};

use crate::desk::{Desk, files};
use crate::support::POLICY;

pub(crate) const STRICTNESS: &str = "
calls:
  - { description: Each refund with a token of its own, harm: [moves-money], token: once }
  - { description: Each refund within a minute, harm: [moves-money], attested_s: 60 }
";

impl Desk {
    pub(crate) async fn call_with(&self, tool: &str, token: &ShownToken) -> String {
        let mut act = self.world.call(tool, json!({ "amount": 5 }));
        act.circumstances.token = Some(*token);
        match self.world.authorize(act).await {
            Ok(_) => "permitted".to_owned(),
            Err(authority::NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
            Err(other) => other.to_string(),
        }
    }

    pub(crate) fn token(&self, name: &str) -> ShownToken {
        let issued = self.world.clock.now();
        let jti = Sha256Digest::of(name.as_bytes());
        ShownToken { jti, issued, expires: issued.plus(Duration::from_mins(5)) }
    }

    /// What another set, which says this of strictness, would have answered.
    async fn would(&self, strictness: Option<&str>) -> (Value, Value) {
        let strictness = strictness.map(str::to_owned);
        let files = PolicyFiles { policies: files(POLICY), strictness, ..PolicyFiles::default() };
        let asked = Command::PolicyReplay { files, from: 0, since: None };
        let told = self.run(asked).await.expect("it is tried");
        let flips = told["flips"].as_array().expect("they are told").iter();
        let flips = flips.map(|it| json!([it["kind"]["flip"], it["kind"]["action"], it["times"]]));
        (flips.collect(), told["unknown"].clone())
    }
}

#[tokio::test]
async fn what_hung_on_a_token_is_answered_again_as_it_was() {
    let desk = Desk::new().await;
    // As an earlier build recorded it: nobody knows by which token.
    assert_eq!(desk.call("refund").await, "permitted");
    assert_eq!(desk.call("lookup").await, "permitted");
    let mut set = files(POLICY);
    set.insert(pdp::STRICTNESS_FILE.to_owned(), STRICTNESS.to_owned());
    desk.publisher.replace(set).await.expect("it is in force");
    let (one, other) = (desk.token("one"), desk.token("other"));
    for (later, token, expected) in [
        (0, &one, "permitted"),
        (59, &one, "token_used"),
        (1, &other, "permitted"),
        (1, &one, "token_too_old"),
        (0, &other, "token_too_old"),
    ] {
        desk.world.clock.advance(Duration::from_secs(later));
        assert_eq!(desk.call_with("refund", token).await, expected);
        assert_eq!(desk.call_with("lookup", token).await, "permitted");
    }
    let told = desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!((&told["differ"], &told["erased"]), (&json!([]), &json!(0)));

    // That a token was used up only its commit knew: another set is not asked.
    let (flips, unknown) = desk.would(None).await;
    assert_eq!(flips, json!([["newly_permitted", "crm/refund", 2]]));
    assert_eq!(unknown, 0);
    let (flips, unknown) = desk.would(Some(STRICTNESS)).await;
    assert_eq!((flips, unknown), (json!([]), json!(1)));
    let stricter = STRICTNESS.replace("60", "59");
    let (flips, unknown) = desk.would(Some(&stricter)).await;
    assert_eq!(flips, json!([["newly_denied", "crm/refund", 1]]));
    assert_eq!(unknown, 1);
}
