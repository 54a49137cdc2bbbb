//! Where arguments come from: policy knows what results have said.

use std::collections::BTreeSet;
use std::time::Duration;

use authority::{Answered, Ending, Permit};
use model::{FactKey, TaskEnd};
use pdp::Bundle;
use serde_json::{Value, json};
use store::Store as _;

use crate::labels::assert_forbidden;
use crate::support::{Act, POLICY, World};

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

/// The same, of which everything comes from outsiders.
const ALL_OUTSIDERS: &str = "
labels: { external: Text of others. }
outsiders: [external]
tools:
  crm/*: { carries: [external] }
";

async fn world() -> World {
    let world = World::labelled().await;
    in_force(&world, (LABELS, RULES)).await;
    world
}

async fn in_force(world: &World, (labels, rules): (&str, &str)) {
    let mut bundle = world.bundle(POLICY).await;
    bundle.policies.insert("rules.cedar".to_owned(), rules.to_owned());
    let bundle = Bundle { labels: Some(labels.to_owned()), ..bundle };
    world.put_in_force(bundle).await;
}

impl World {
    /// Calls `tool` with `account`, which answers `said`.
    async fn told(&self, tool: &str, account: &Value, said: &Value) {
        let permit = self.calls(tool, account).await;
        self.answers(&permit, &json!({ "structuredContent": said }).to_string(), false).await;
    }

    async fn calls(&self, tool: &str, account: &Value) -> Permit<Act> {
        let act = self.call(tool, json!({ "account": account }));
        self.authorize(act).await.expect("it is permitted")
    }

    /// What was permitted answers `answer`; whether its server asked something on the way.
    async fn answers(&self, permit: &Permit<Act>, answer: &str, is_prompted: bool) {
        let request = &permit.act().request;
        let told = json!({ "name": "it", "arguments": request.input }).to_string();
        let answered = Answered { request, told: &told, is_prompted, answer };
        let marking = (permit.marking().as_ref(), &BTreeSet::new());
        self.authority.remember(marking, answered).await.expect("it is remembered");
    }

    async fn is_permitted(&self, tool: &str, account: Value) -> bool {
        let answer = self.authorize(self.call(tool, json!({ "account": account }))).await;
        let is_permitted = answer.is_ok();
        if !is_permitted {
            assert_forbidden(answer);
        }
        is_permitted
    }

    /// Whether something is kept of what was said.
    async fn is_kept(&self) -> bool {
        let key = FactKey::said(self.standing.task.id);
        self.store.load(&[key]).await.expect("it is read").bodies[0].is_some()
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
        json!({ "eve@example.org": 1 }),
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
    in_force(&world, (LABELS, RULES)).await;
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

/// What outsiders repeat is no less what the mandate names; what is only like it, is not.
#[tokio::test]
async fn what_the_mandate_names_stays_so_whatever_is_read() {
    let world = world().await;
    let sponsor = world.standing.sponsor.id.as_str().to_owned();
    assert!(world.is_permitted("attach", json!(sponsor)).await);
    assert!(!world.is_permitted("attach", json!(sponsor.to_uppercase())).await);
    world.told("lookup", &Value::Null, &json!(sponsor)).await;
    assert!(world.is_permitted("attach", json!(sponsor)).await);
    assert!(world.is_permitted("mail", json!(sponsor)).await);
}

/// A data object is named by the mandate that is for it, where the server is asked that has it; how names begin names
/// none.
#[tokio::test]
async fn the_mandate_names_the_data_objects_that_it_is_for() {
    let world = World::labelled_with(|facts| {
        let objects = ["crm/*", "crm/customer-7", "crm/order-*", "desk/customer-8"];
        let objects = objects.map(|it| it.parse().expect("it is a pattern"));
        facts.mandate.scope.objects = Some(BTreeSet::from(objects));
        facts.task.mandate_digest = facts.mandate.digest();
    })
    .await;
    in_force(&world, (LABELS, RULES)).await;
    assert!(world.is_permitted("attach", json!("customer-7")).await);
    for other in ["crm/customer-7", "Customer-7", "customer-8", "order-", "order-*", "order-1", "*"]
    {
        assert!(!world.is_permitted("attach", json!(other)).await, "{other}");
    }
    world.told("lookup", &Value::Null, &json!("customer-7")).await;
    assert!(world.is_permitted("attach", json!("customer-7")).await);
}

/// Who asks on the way may be answered what somebody else likes, and says that as if it were theirs.
#[tokio::test]
async fn what_was_answered_on_the_way_vouches_for_nothing() {
    let world = world().await;
    let (to, answer) = (json!("eve@example.org"), r#"{"structuredContent":"eve@example.org"}"#);
    let permit = world.calls("open", &Value::Null).await;
    world.answers(&permit, answer, true).await;
    assert!(!world.is_permitted("attach", to.clone()).await);
    assert!(world.is_permitted("mail", to.clone()).await, "nor does it speak against it");
    world.answers(&permit, answer, false).await;
    assert!(world.is_permitted("attach", to.clone()).await);
    let permit = world.calls("lookup", &Value::Null).await;
    world.answers(&permit, answer, true).await;
    assert!(!world.is_permitted("mail", to).await);
}

/// Who was an outsider when a call was permitted, or is one when it is answered, is one.
#[tokio::test]
async fn what_is_said_while_another_set_comes_is_trusted_by_neither_alone() {
    for (before, after) in [(LABELS, ALL_OUTSIDERS), (ALL_OUTSIDERS, LABELS)] {
        let world = World::labelled().await;
        in_force(&world, (before, RULES)).await;
        let permit = world.calls("open", &Value::Null).await;
        in_force(&world, (after, RULES)).await;
        world.answers(&permit, r#"{"structuredContent":"ann"}"#, false).await;
        assert!(!world.is_permitted("attach", json!("ann")).await, "{after}");
        assert!(!world.is_permitted("mail", json!("ann")).await, "{after}");
    }
}

#[tokio::test]
async fn what_was_not_remembered_all_the_time_is_not_trusted() {
    let world = World::labelled().await;
    let later = Duration::from_secs(1);
    let trusts = async |who: &str| {
        world.told("open", &Value::Null, &json!(who)).await;
        world.is_permitted("attach", json!(who)).await
    };
    in_force(&world, (LABELS, RULES)).await;
    assert!(trusts("ann").await);
    // Another set that remembers by the same labels makes no difference.
    world.clock.advance(later);
    in_force(&world, (LABELS, &format!("{RULES}\n"))).await;
    assert!(world.is_permitted("attach", json!("ann")).await && trusts("bob").await);
    // By other labels, an outsider may have said it.
    world.clock.advance(later);
    let others = format!("{LABELS}  crm/dump: {{}}\n");
    in_force(&world, (&others, RULES)).await;
    assert!(!world.is_permitted("attach", json!("ann")).await && !trusts("eve").await);
    world.told("lookup", &Value::Null, &json!("mal")).await;
    assert!(!world.is_permitted("mail", json!("mal")).await, "that is remembered");
}

/// Before a set looks at it, and while none does, nobody knows what outsiders say.
#[tokio::test]
async fn what_was_said_while_nobody_looked_is_trusted_by_nobody() {
    let world = World::labelled().await;
    let later = Duration::from_secs(1);
    let mut trusted = Vec::new();
    for looks in [true, false, true] {
        if looks {
            in_force(&world, (LABELS, RULES)).await;
            world.told("open", &Value::Null, &json!("ann")).await;
            trusted.push(world.is_permitted("attach", json!("ann")).await);
        } else {
            in_force(&world, (LABELS, r#"@id("all") permit (principal, action, resource);"#)).await;
        }
        world.clock.advance(later);
    }
    assert_eq!(trusted, [true, false]);
    let world = World::labelled().await;
    world.clock.advance(later);
    in_force(&world, (LABELS, RULES)).await;
    world.told("open", &Value::Null, &json!("ann")).await;
    assert!(!world.is_permitted("attach", json!("ann")).await, "the session was there before");
}

/// [`RULES`], those that look at where arguments come from under observation.
fn observed() -> String {
    let observe = |rules: String, id: &str| rules.replace(id, &format!("@mode(\"observe\") {id}"));
    [r#"@id("not-untrusted")"#, r#"@id("only-known")"#].into_iter().fold(RULES.to_owned(), observe)
}

/// What only policies under observation look at is remembered for them, and withholds and denies nothing.
#[tokio::test]
async fn what_is_remembered_for_observed_policies_holds_up_nobody() {
    for (rules, is_decisive) in [(RULES.to_owned(), true), (observed(), false)] {
        let world = World::labelled().await;
        in_force(&world, (LABELS, &rules)).await;
        world.told("lookup", &Value::Null, &json!("eve")).await;
        assert!(world.is_kept().await);
        let permit = world.calls("lookup", &Value::Null).await;
        let act = world.call("mail", json!({ "account": "ann" }));
        let (pip, instance) = (world.authority.pip(), world.standing.instance.id);
        let gathered = pip.gather(instance, &act.request).await.expect("it is gathered");
        let said = FactKey::said(world.standing.task.id);
        assert_eq!(gathered.keys.contains(&said), is_decisive, "nobody is contended by it");
        // Nobody can read any more what was said.
        world.put(said, &json!("damaged")).await;
        let (request, none) = (&permit.act().request, BTreeSet::new());
        let answered = Answered { request, told: "{}", is_prompted: false, answer: "{}" };
        let remembered = world.authority.remember((permit.marking(), &none), answered).await;
        assert_eq!(remembered.is_err(), is_decisive);
        assert_eq!(world.authorize(act).await.is_err(), is_decisive);
    }
}

/// What was remembered for policies under observation may lack something.
#[tokio::test]
async fn what_was_remembered_for_observed_policies_alone_is_trusted_by_no_other() {
    for (first, is_trusted) in [(RULES.to_owned(), true), (observed(), false)] {
        let world = World::labelled().await;
        in_force(&world, (LABELS, &first)).await;
        world.told("open", &Value::Null, &json!("ann")).await;
        world.clock.advance(Duration::from_secs(1));
        in_force(&world, (LABELS, &format!("{RULES}\n"))).await;
        assert_eq!(world.is_permitted("attach", json!("ann")).await, is_trusted);
    }
}

/// An answer is never lost for what it says.
#[tokio::test]
async fn what_cannot_be_read_speaks_against_all_if_outsiders_said_it() {
    let world = world().await;
    let answer = r#"{"structuredContent":"\ud83d"}"#;
    let permit = world.calls("open", &Value::Null).await;
    world.answers(&permit, answer, false).await;
    assert!(world.is_permitted("mail", json!("ann")).await);
    let permit = world.calls("lookup", &Value::Null).await;
    world.answers(&permit, answer, false).await;
    assert!(!world.is_permitted("mail", json!("ann")).await);
}

/// Whatever is said at length is looked through beside what others wait for, and so far only.
#[tokio::test]
async fn what_is_said_at_length_is_remembered_up_to_the_limit() {
    let world = world().await;
    let many: Vec<_> = (0..20_000).map(|n| format!("ours {n}")).collect();
    world.told("open", &Value::Null, &json!(many)).await;
    assert!(world.is_permitted("attach", json!("ours 0")).await);
    assert!(!world.is_permitted("attach", json!("ours 19999")).await);
    assert!(world.is_permitted("mail", json!("ours 19999")).await);
    // An argument that is too long to be looked through is of nobody knows whom.
    let long = json!("x".repeat(70_000));
    assert!(!world.is_permitted("mail", long.clone()).await);
    let short = json!({ "account": "ann", "amount": 1, "text": "x".repeat(70_000) });
    assert!(world.authorize(world.call("mail", short)).await.is_ok(), "it is another argument");
    world.told("lookup", &Value::Null, &json!(many)).await;
    assert!(!world.is_permitted("mail", json!("ann")).await);
}

#[tokio::test]
async fn what_was_said_is_forgotten_with_its_task() {
    let world = world().await;
    let permit = world.calls("lookup", &Value::Null).await;
    world.answers(&permit, r#"{"structuredContent":"eve"}"#, false).await;
    assert!(world.is_kept().await);
    let (instance, how) = (world.standing.instance.id, TaskEnd::Completed);
    let ending = Ending { instance, how, uses: Vec::new(), workload: None };
    world.authority.end_task(ending).await.expect("it ends");
    assert!(!world.is_kept().await);
    world.answers(&permit, r#"{"structuredContent":"mal"}"#, false).await;
    assert!(!world.is_kept().await, "nor is it begun anew");
}
