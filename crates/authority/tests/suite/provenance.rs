//! Where arguments come from: policy knows what results have said.

use std::collections::BTreeSet;

use model::FactKey;
use pdp::{Bundle, Snapshot};
use serde_json::{Value, json};
use store::Store as _;

use crate::labels::assert_forbidden;
use crate::support::{POLICY, World};

const LABELS: &str = "
labels: { external: Text of others. }
outsiders: [external]
tools:
  crm/lookup: { carries: [external] }
  crm/open: {}
";

const RULES: &str = r#"
    @id("all")
    permit (principal, action, resource in Server::"crm");
    @id("not-untrusted")
    forbid (principal, action == Action::"crm/mail", resource)
    when { context.provenance.untrusted.contains("account") };
    @id("only-known")
    forbid (principal, action == Action::"crm/attach", resource)
    unless {
      context.provenance.trusted.contains("account") || context.provenance.mandate.contains("account")
    };
"#;

async fn world() -> World {
    let world = World::labelled().await;
    in_force(&world).await;
    world
}

async fn in_force(world: &World) {
    let mut bundle = world.compile(POLICY).await.bundle().clone();
    bundle.policies.insert("rules.cedar".to_owned(), RULES.to_owned());
    let bundle = Bundle { labels: Some(LABELS.to_owned()), ..bundle };
    world.put_in_force(Snapshot::compile(bundle).expect("it compiles")).await;
}

impl World {
    /// Calls `tool` with `account`, which answers `said`.
    async fn told(&self, tool: &str, account: &Value, said: &Value) {
        let act = self.call(tool, json!({ "account": account }));
        let request = act.request.clone();
        let permit = self.authorize(act).await.expect("it is permitted");
        let answer = json!({ "structuredContent": said }).to_string();
        let marking = (permit.marking(), &BTreeSet::new());
        let remembered = self.authority.remember(marking, (&request, &answer)).await;
        remembered.expect("it is remembered");
    }

    async fn is_permitted(&self, tool: &str, account: Value) -> bool {
        let answer = self.authorize(self.call(tool, json!({ "account": account }))).await;
        let is_permitted = answer.is_ok();
        if !is_permitted {
            assert_forbidden(answer);
        }
        is_permitted
    }
}

#[tokio::test]
async fn what_outsiders_said_is_known_wherever_it_goes() {
    let world = world().await;
    assert!(world.is_permitted("mail", json!("eve@example.org")).await);
    world.told("lookup", &Value::Null, &json!({ "from": "eve@example.org", "n": 7 })).await;
    for account in [
        json!("eve@example.org"),
        json!(" ＥＶＥ@Example.org"),
        json!(7.0),
        json!("7"),
        json!(["ann@example.org", "eve@example.org"]),
        json!({ "to": "eve@example.org" }),
    ] {
        assert!(!world.is_permitted("mail", account).await);
    }
    assert!(world.is_permitted("mail", json!("ann@example.org")).await);
    // It is on record where they come from, and nowhere what was said.
    let last = world.records("decision").await.pop().unwrap();
    let session = world.disclosure(&last).await.value("session").cloned().unwrap();
    assert_eq!(session["provenance"], json!({ "unknown": ["account"] }));
    let key = FactKey::said(world.standing.task.id);
    let kept = world.store.load(&[key]).await.unwrap().bodies.remove(0).expect("it is kept");
    assert!(!String::from_utf8(kept).unwrap().contains("eve"));
    world.drained().await;
    let world = world.restarted().await;
    in_force(&world).await;
    assert!(!world.is_permitted("mail", json!("eve@example.org")).await);
}

#[tokio::test]
async fn what_is_trusted_was_said_without_outsiders_and_never_by_them() {
    let world = world().await;
    let (ann, eve, bob) = (json!("ann@example.org"), json!("eve@example.org"), json!("bob"));
    assert!(!world.is_permitted("attach", ann.clone()).await);
    world.told("open", &bob, &json!([ann, eve, bob])).await;
    assert!(world.is_permitted("attach", ann.clone()).await);
    assert!(world.is_permitted("attach", json!([ann, eve])).await);
    // What a tool was told is not trusted for coming back, nor what is not said at all.
    for account in
        [bob, json!([]), Value::Null, json!(true), json!([ann, "other"]), json!({ "x": ann })]
    {
        assert!(!world.is_permitted("attach", account).await);
    }
    world.told("lookup", &Value::Null, &eve).await;
    world.told("open", &Value::Null, &eve).await;
    assert!(!world.is_permitted("attach", eve.clone()).await);
    assert!(!world.is_permitted("mail", eve).await);
    // Of this one nothing is said, and so not who has a part in its results.
    world.told("keep", &Value::Null, &json!("new")).await;
    assert!(!world.is_permitted("attach", json!("new")).await);
    assert!(!world.is_permitted("mail", json!("new")).await);
}

/// What outsiders repeat is no less what the mandate names.
#[tokio::test]
async fn what_the_mandate_names_stays_so_whatever_is_read() {
    let world = world().await;
    let sponsor = json!(world.standing.sponsor.id.as_str().to_uppercase());
    assert!(world.is_permitted("attach", sponsor.clone()).await);
    world.told("lookup", &Value::Null, &sponsor).await;
    assert!(world.is_permitted("attach", sponsor.clone()).await);
    assert!(world.is_permitted("mail", sponsor).await);
}
