//! R22: the release that a deployment is founded with is owned, written and approved by its founders, by the keys that
//! they get, and nobody goes live by one that nobody answers for. Files are those of who is alone, or nobody's.

use std::time::Duration;

use keys::{KeyAlgorithm, SigningKey};
use model::{FactKey, PersonId, Release, ReleaseState};
use pap::{AdminError, BOOTSTRAP, Command, ReleaseAsked};
use serde_json::{Value, json};

use crate::desk::{Desk, Founders, SAM, jwk, word as word_of};
use crate::directories::Scene;
use crate::directory_agents::agent;
use crate::releases::{House, signed};

/// Two who found a deployment, with their codes.
const TWO: Founders<'_> = &[("ann", Some("one")), ("ben", Some("two"))];

/// Who has which role in what is told of the policy.
const ROLES: [&str; 3] = ["owner", "author", "approver"];

/// A founder with their key.
type Signer = (PersonId, SigningKey);

impl Desk {
    /// What the service's own user asks for.
    async fn by_the_machine(&self, command: Command) -> Result<Value, AdminError> {
        let user: PersonId = BOOTSTRAP.parse().expect("a person");
        self.run_as(&user, command).await
    }

    /// Redeems `code`; gives the founder with their key, and the release that they are to sign, if they are.
    async fn redeems(&self, code: &str) -> (Signer, Option<Release>) {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let jwk = key.verifying().to_jwk();
        let told =
            self.by_the_machine(Command::FounderRedeem { code: code.to_owned(), key: jwk }).await;
        let mut told = told.expect("it is redeemed");
        let founder = told["founder"].as_str().expect("a name").parse().expect("a person");
        let release = told["signs"]["release"].take();
        ((founder, key), serde_json::from_value(release).expect("a release, or none"))
    }

    /// Signs what waits for the founder of `release`.
    async fn founder_signs(&self, by: &Signer, release: &Release) -> Result<Value, AdminError> {
        let said = release.waits_for(&by.0).expect("it waits for them");
        let word = Some(signed(by, self, said));
        self.by_the_machine(match release.author {
            None => publish(release, word),
            Some(_) => Command::PolicyApprove { version: 1, word },
        })
        .await
    }

    /// The decision on a call that is permitted now.
    async fn decides(&self) -> String {
        let call = self.world.call("lookup", json!({ "amount": 5 }));
        let permit = self.world.authorize(call).await.expect("it is permitted");
        let decision = permit.context().decision.to_string();
        drop(permit);
        self.world.clock.advance(Duration::from_secs(1));
        decision
    }

    /// Who is behind the policy of `decision`: owner, author and approver; and who is missing.
    async fn behind(&self, decision: &str) -> ([Value; 3], Value) {
        let chain = Command::LogChain { id: decision.to_owned() };
        let told = Box::pin(self.run(chain)).await.expect("it is told");
        let policy = &told["answerable"]["policy"];
        (ROLES.map(|role| policy[role].clone()), policy["missing"].clone())
    }

    /// Registers an agent; why that is refused, if it is.
    async fn registers(&self) -> String {
        let asked = json!({
            "do": "agent-add", "name": "new", "sponsor": SAM, "purpose": "care",
            "business_owner": SAM, "technical_owner": SAM, "key": jwk(),
        });
        let done = self.run(serde_json::from_value(asked).expect("a command")).await;
        done.err().map_or_else(|| "registered".to_owned(), |why| why.to_string())
    }

    async fn first(&self) -> Release {
        let found = self.fact(FactKey::release(1)).await.expect("it is kept");
        serde_json::from_value(found).expect("a release")
    }
}

/// The command to publish what was founded as `release`.
fn publish(release: &Release, word: Option<String>) -> Command {
    let terms = release.terms.clone();
    let (version, content, owner) = (terms.version, terms.content, terms.owner);
    let (expires, rollback_of, proof) = (terms.expires, terms.rollback_of, terms.proof);
    let asked = ReleaseAsked { version, content, expires, rollback_of, proof, owner };
    Command::PolicyPublish { asked, files: None, word }
}

/// A deployment that two founded and signed.
async fn signed_by_both() -> (Desk, [Signer; 2]) {
    let desk = Desk::founded_by(TWO, (false, Some(1))).await;
    let mut signers = Vec::new();
    for code in ["one", "two"] {
        let (signer, release) = desk.redeems(code).await;
        let release = release.expect("they sign it");
        desk.founder_signs(&signer, &release).await.expect("it is signed");
        signers.push(signer);
    }
    (desk, signers.try_into().unwrap_or_else(|_| panic!("there are two")))
}

/// Whoever has a key first writes and owns it, the next one approves it; nobody goes live before.
#[tokio::test]
async fn r_22_its_founders_answer_for_the_policy_that_a_deployment_begins_with() {
    let desk = Desk::founded_by(TWO, (false, Some(1))).await;
    let unsigned = desk.decides().await;
    let nobody = || ([json!(null), json!(null), json!(null)], json!(ROLES));
    assert_eq!(desk.behind(&unsigned).await, nobody());
    let why = desk.registers().await;
    assert!(why.starts_with("nobody owns release 1 of policy"), "{why}");

    let (ben, release) = desk.redeems("two").await;
    desk.founder_signs(&ben, &release.expect("he signs it")).await.expect("it is signed");
    let alone = desk.decides().await;
    let of_ben = || ([json!("ben"), json!("ben"), json!(null)], json!(["approver"]));
    assert_eq!(desk.behind(&alone).await, of_ben());
    let why = desk.registers().await;
    assert!(why.starts_with("nobody approved release 1 of policy"), "{why}");
    let said = desk.first().await.approval_over(&model::Base::NOTHING);
    let word = Some(signed(&ben, &desk, said));
    let own = desk.by_the_machine(Command::PolicyApprove { version: 1, word }).await;
    assert_eq!(word_of(&own), "refused", "nobody approves what is theirs");

    let (ann, release) = desk.redeems("one").await;
    desk.founder_signs(&ann, &release.expect("she signs it")).await.expect("it is signed");
    let both = desk.decides().await;
    assert_eq!(desk.behind(&both).await, ([json!("ben"), json!("ben"), json!("ann")], json!([])));
    assert_eq!(desk.registers().await, "registered");
    // Who signed since did not answer for what was decided before.
    assert_eq!((desk.behind(&unsigned).await, desk.behind(&alone).await), (nobody(), of_ben()));
    desk.administration.follow_releases().await.expect("it is in force, as it is signed now");
    let told = desk.run(Command::PolicyHistory).await.expect("it is told");
    assert_eq!(told["releases"][0]["owner"], "ben");
    assert_eq!(told["in_force"]["owned"], true);
    let replayed = desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
}

/// A directory registers nobody either before somebody answers for the policy.
#[tokio::test]
async fn r_22_no_directory_registers_an_agent_under_a_policy_that_nobody_answers_for() {
    for is_signed in [false, true] {
        let desk = if is_signed {
            Box::pin(signed_by_both()).await.0
        } else {
            Desk::founded_by(TWO, (false, Some(1))).await
        };
        let scene = Box::pin(Scene::over(desk)).await;
        let adopt = Command::DirectoryAdopt { name: "okta".to_owned(), person: SAM.to_owned() };
        scene.desk.run(adopt).await.expect("they are its own");
        let enrolled = scene.enrol(agent("desk")).await;
        assert_eq!(enrolled.is_ok(), is_signed, "{enrolled:?}");
    }
}

/// Nobody signs it a second time, or as somebody whom two did not make a founder; and what was signed is held against the
/// keys like that of any release.
#[tokio::test]
async fn r_22_what_founders_signed_is_verified_and_stays() {
    let (desk, [ann, ben]) = Box::pin(signed_by_both()).await;
    let whole = desk.first().await;
    for by in [&ann, &ben] {
        let word = Some(signed(by, &desk, whole.terms.published()));
        assert_eq!(word_of(&desk.by_the_machine(publish(&whole, word)).await), "invalid");
        let said = whole.approval_over(&model::Base::NOTHING);
        let word = Some(signed(by, &desk, said));
        let again = desk.by_the_machine(Command::PolicyApprove { version: 1, word }).await;
        assert_eq!(word_of(&again), "refused", "{again:?}");
    }
    let ReleaseState::Active { approval, activation } = whole.state.clone() else {
        panic!("it is in force");
    };
    let (author, approval) = (whole.author.clone(), approval.expect("it is approved"));
    let unapproved = ReleaseState::Active { approval: None, activation };
    for (author, state) in [
        (None, whole.state.clone()),
        (None, unapproved.clone()),
        (author, unapproved),
        (Some(approval.by), whole.state.clone()),
    ] {
        let altered = Release { author, state, ..whole.clone() };
        desk.world.put(FactKey::release(1), &altered).await;
        let why = desk.administration.follow_releases().await.expect_err("it was altered");
        assert!(why.contains("was altered or is not signed"), "{why}");
    }
    desk.world.put(FactKey::release(1), &whole).await;
    desk.administration.follow_releases().await.expect("it is what was signed");
    // A key that is given later signs what is released then.
    assert_eq!(whole.waits_for(&"carol".parse().expect("a person")), None);
}

/// One who founds a deployment for development owns it, and that nobody approved it is said.
#[tokio::test]
async fn r_22_who_founds_alone_is_named_and_so_is_who_is_missing() {
    let desk = Desk::founded_by(&[("ann", Some("one"))], (true, Some(1))).await;
    let (ann, release) = desk.redeems("one").await;
    desk.founder_signs(&ann, &release.expect("she signs it")).await.expect("it is signed");
    let decision = desk.decides().await;
    let of_ann = ([json!("ann"), json!("ann"), json!(null)], json!(["approver"]));
    assert_eq!(desk.behind(&decision).await, of_ann);
    assert_eq!(desk.registers().await, "registered");
    let told = desk.run(Command::PolicyHistory).await.expect("it is told");
    assert_eq!((&told["development"], &told["in_force"]["owner"]), (&json!(true), &json!("ann")));
}

/// Files are those of the one person of a deployment for development; elsewhere, and where more are there, nobody's. By
/// what is no release nobody goes live, but for development.
#[tokio::test]
async fn r_22_files_are_of_who_is_alone_or_of_nobody() {
    let one: Founders<'_> = &[("dev", None)];
    for (founders, development, owner) in
        [(one, true, Some("dev")), (one, false, None), (TWO, true, None), (TWO, false, None)]
    {
        let desk = Desk::founded_by(founders, (development, None)).await;
        let decision = desk.decides().await;
        let missing = ROLES.into_iter().skip(if owner.is_some() { 2 } else { 0 });
        let missing: Vec<_> = missing.collect();
        let expected = ([json!(owner), json!(owner), json!(null)], json!(missing));
        assert_eq!(desk.behind(&decision).await, expected, "{founders:?} {development}");
        let told = desk.run(Command::PolicyHistory).await.expect("it is told");
        let in_force = &told["in_force"];
        assert_eq!(
            (&in_force["owner"], &in_force["owned"]),
            (&json!(owner), &json!(owner.is_some()))
        );
        let registered = desk.registers().await;
        let why = if development { "registered" } else { "no release of policy is in force" };
        assert!(registered.starts_with(why), "{founders:?} {development}: {registered}");
    }
}

/// What was founded before founders signed goes on, and has its next agent once a release has an owner and an approver.
#[tokio::test]
async fn r_22_a_deployment_of_before_goes_live_by_its_next_release() {
    let house = House::new().await;
    let desk = &house.desk;
    desk.world.put(FactKey::deployment(), &json!({ "founded": 0 })).await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(desk.call("lookup").await, "permitted");
    let why = desk.registers().await;
    assert!(why.starts_with("nobody owns release 1 of policy, which is in force"), "{why}");
    house.release_all(2, "").await;
    assert_eq!(desk.registers().await, "registered");
}

/// As a deployment for development that was founded before has files of nobody.
#[tokio::test]
async fn a_deployment_of_before_knows_no_founders() {
    let desk = Desk::founded_by(&[("dev", None)], (true, None)).await;
    desk.world.put(FactKey::deployment(), &json!({ "founded": 0 })).await;
    let decision = desk.decides().await;
    assert_eq!(desk.behind(&decision).await.1, json!(ROLES));
}
