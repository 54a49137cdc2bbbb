//! Decisions that hung on a token, made again: as they were recorded, and by another set.

use std::time::Duration;

use authority::ShownToken;
use model::{Clock as _, Sha256Digest};
use pap::{Command, PolicyFiles};
use serde_json::{Value, json};

use crate::desk::{Desk, files, told};
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
        told(&self.world.done(act).await)
    }

    pub(crate) fn token(&self, name: &str) -> ShownToken {
        let issued = self.world.clock.now();
        let jti = Sha256Digest::of(name.as_bytes());
        ShownToken { jti, issued, expires: issued.plus(Duration::from_mins(5)) }
    }

    /// What another set, which says this of strictness, would have answered: what flips, how often that is unknown,
    /// and how often it hangs on whether the token had been used.
    async fn would(&self, strictness: Option<&str>) -> Value {
        let strictness = strictness.map(str::to_owned);
        let files = PolicyFiles { policies: files(POLICY), strictness, ..PolicyFiles::default() };
        let asked = Command::PolicyReplay { files, from: 0, since: None };
        let told = self.run(asked).await.expect("it is tried");
        let flips = told["flips"].as_array().expect("they are told").iter();
        let flips = flips.map(|it| json!([it["kind"]["flip"], it["kind"]["action"], it["times"]]));
        json!([flips.collect::<Value>(), told["unknown"], told["needs_token"]])
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
    assert_eq!(told["by_commit"], 1);

    let flips = |flip: &str, times: u8| json!([[flip, "crm/refund", times]]);
    // The two that were permitted with one owe none any more.
    let looser = |times: u8| {
        json!([["newly_permitted", "crm/refund", times], ["owes_less", "crm/refund", 2]])
    };
    // Who wants no token of its own permits what was denied for want of one.
    assert_eq!(desk.would(None).await, json!([looser(3), 0, 0]));
    assert_eq!(desk.would(Some(STRICTNESS)).await, json!([[], 1, 0]));
    let stricter = STRICTNESS.replace("60", "59");
    assert_eq!(desk.would(Some(&stricter)).await, json!([flips("newly_denied", 1), 1, 0]));
    let reused = STRICTNESS.replace("token: once", "attested_s: 60");
    assert_eq!(desk.would(Some(&reused)).await, json!([looser(1), 1, 0]));
    // Another agent's tokens are no matter; and a rule that is for others as well uses up no less.
    let others = STRICTNESS.replace("token: once", "agents: [other], token: once");
    assert_eq!(desk.would(Some(&others)).await, json!([looser(1), 1, 0]));
    let all = STRICTNESS.replacen(", harm: [moves-money]", "", 1);
    // Five lookups, and two refunds whose token may have looked something up before.
    assert_eq!(desk.would(Some(&all)).await, json!([[], 2, 7]));
}

/// Where the set in force wanted no token of its own, nobody knows which had been used: none of these is alike.
#[tokio::test]
async fn what_would_need_a_token_of_its_own_is_counted_and_not_alike() {
    let desk = Desk::new().await;
    let token = desk.token("one");
    for tool in ["refund", "lookup", "refund"] {
        assert_eq!(desk.call_with(tool, &token).await, "permitted");
    }
    assert_eq!(desk.would(None).await, json!([[], 0, 0]));
    assert_eq!(desk.would(Some(STRICTNESS)).await, json!([[], 0, 2]));
    desk.world.clock.advance(Duration::from_secs(61));
    assert_eq!(desk.call_with("refund", &token).await, "permitted");
    let flips = json!([["newly_denied", "crm/refund", 1]]);
    assert_eq!(desk.would(Some(STRICTNESS)).await, json!([flips, 0, 2]));
}
