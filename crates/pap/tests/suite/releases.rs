//! One person publishes a policy set, another approves it, somebody puts it in force, and two bring an old one back.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use keys::{KeyAlgorithm, SigningKey};
use model::{
    ADMINISTRATORS, Approval, Base, Clock as _, FactKey, Person, PersonId, PolicyDigest, Release,
    ReleaseState, ReleaseTerms, Releases, SignedBy, Timestamp,
};
use oauth::word::{self, Word};
use pap::{AdminError, BOOTSTRAP, Command, PolicyFiles, ReleaseAsked};
use pdp::Bundle;
use serde_json::{Value, json};
use store::Unit;

use crate::desk::{Desk, ISSUER, files, word as word_of};
use crate::support::stores::OnCommit;
use crate::support::{Facts, POLICY, World};

/// Two people with keys of their own.
pub(crate) struct Signers {
    pub(crate) author: (PersonId, SigningKey),
    pub(crate) approver: (PersonId, SigningKey),
}

impl Signers {
    /// Registers keys of these people.
    pub(crate) async fn register(world: &World, [author, approver]: [PersonId; 2]) -> Self {
        let key = || SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let signers = Self { author: (author, key()), approver: (approver, key()) };
        for (person, key) in [&signers.author, &signers.approver] {
            let place = FactKey::from_text(&format!("founder-key/{person}"));
            world.put(place, &key.verifying().to_jwk()).await;
        }
        signers
    }
}

/// How many words were signed: each has an id of its own.
static WORDS: AtomicU64 = AtomicU64::new(0);

/// What `signer` signs now.
pub(crate) fn signed(
    (person, key): &(PersonId, SigningKey),
    desk: &Desk,
    command: Value,
) -> String {
    let now = desk.world.clock.now().as_seconds();
    let jti = WORDS.fetch_add(1, Ordering::Relaxed).to_string();
    let word = Word { command, jti, exp: now + word::LIFETIME_MAX_S };
    word::make((person.as_str(), ISSUER), key, now, &word).expect("it is signed")
}

/// The set of the tests, with more policies.
fn set(more: &str) -> PolicyFiles {
    PolicyFiles { policies: files(&format!("{POLICY}{more}")), ..PolicyFiles::default() }
}

/// The digest of a set without tools.
fn content(files: &PolicyFiles) -> PolicyDigest {
    Bundle::from(files.clone()).digest()
}

/// What is published as `version`.
pub(crate) fn asked(version: u64, more: &str) -> (ReleaseAsked, PolicyFiles) {
    let files = set(more);
    let (content, expires, rollback_of, proof, owner) = (content(&files), None, None, None, None);
    (ReleaseAsked { version, content, expires, rollback_of, proof, owner }, files)
}

/// Forbids a lookup.
pub(crate) const CLOSED: &str =
    r#"@id("closed") forbid (principal, action == Action::"crm/lookup", resource);"#;

/// A founded deployment that runs releases, and two people who sign.
pub(crate) struct House {
    pub(crate) desk: Desk,
    pub(crate) signers: Signers,
}

impl House {
    pub(crate) async fn new() -> Self {
        Self::with(|_| {}).await
    }

    pub(crate) async fn with(change: impl FnOnce(&mut Facts)) -> Self {
        let world = World::with(|facts| {
            facts.other.groups.insert("administrators".parse().expect("a group"));
            change(facts);
        })
        .await;
        let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
        let signers = Signers::register(&world, people).await;
        Self { desk: Desk::released(world).await, signers }
    }

    pub(crate) fn published(&self, asked: ReleaseAsked, files: Option<PolicyFiles>) -> Command {
        let said = ReleaseTerms::from(asked.clone()).published();
        let word = Some(signed(&self.signers.author, &self.desk, said));
        Command::PolicyPublish { asked, files, word }
    }

    pub(crate) async fn publish(&self, version: u64, more: &str) -> Result<Value, AdminError> {
        let (asked, files) = asked(version, more);
        self.desk.run(self.published(asked, Some(files))).await
    }

    pub(crate) async fn roll_back(&self, version: u64, to: u64) -> Result<Value, AdminError> {
        let content = self.release(to).await.terms.content;
        let asked = ReleaseAsked { content, rollback_of: Some(to), ..asked(version, "").0 };
        self.desk.run(self.published(asked, None)).await
    }

    pub(crate) async fn approve_as(
        &self,
        by: &(PersonId, SigningKey),
        version: u64,
    ) -> Result<Value, AdminError> {
        let said = self.release(version).await.approval_over(&self.base().await);
        let word = Some(signed(by, &self.desk, said));
        self.desk.run(Command::PolicyApprove { version, word }).await
    }

    pub(crate) async fn approve(&self, version: u64) -> Result<Value, AdminError> {
        self.approve_as(&self.signers.approver, version).await
    }

    pub(crate) async fn activate(&self, version: u64) -> Result<Value, AdminError> {
        self.desk.run(Command::PolicyActivate { version, content: None }).await
    }

    /// What a release would replace now.
    pub(crate) async fn base(&self) -> Base {
        let told = self.desk.run(Command::PolicyHistory).await.expect("it is told");
        serde_json::from_value(told["base"].clone()).expect("a base")
    }

    /// Publishes, approves and puts in force.
    pub(crate) async fn release_all(&self, version: u64, more: &str) {
        self.publish(version, more).await.expect("it is published");
        self.approve(version).await.expect("it is approved");
        self.activate(version).await.expect("it is in force");
    }

    /// The same, with a minute until its time is over.
    pub(crate) async fn release_for_a_minute(&self, version: u64, more: &str) {
        let (asked, files) = asked(version, more);
        let expires = Some(self.desk.world.clock.now().plus(Duration::from_mins(1)));
        let asked = ReleaseAsked { expires, ..asked };
        self.desk.run(self.published(asked, Some(files))).await.expect("it is published");
        self.approve(version).await.expect("it is approved");
        self.activate(version).await.expect("it is in force");
    }

    pub(crate) async fn release(&self, version: u64) -> Release {
        let found = self.desk.fact(FactKey::release(version)).await.expect("it is kept");
        serde_json::from_value(found).expect("a release")
    }

    pub(crate) async fn newest(&self, kind: &str) -> Value {
        self.desk.world.records(kind).await.pop().expect("a record").value
    }

    /// Whether the release that the store says is active is in force, or why not.
    pub(crate) async fn follows(&self) -> String {
        let followed = self.desk.administration.follow_releases().await;
        followed.err().unwrap_or_else(|| "in force".to_owned())
    }
}

#[tokio::test]
async fn r_39_two_people_release_a_set_and_bring_the_old_one_back() {
    let house = House::new().await;
    let desk = &house.desk;
    assert_eq!(desk.call("lookup").await, "permitted");
    house.publish(2, CLOSED).await.expect("it is published");
    assert_eq!(word_of(&house.activate(2).await), "invalid", "nobody approved it");
    house.approve(2).await.expect("it is approved");
    assert_eq!(desk.call("lookup").await, "permitted", "it is not in force");
    house.activate(2).await.expect("it is in force");
    assert_eq!(desk.call("lookup").await, "forbidden");
    let record = house.newest("system").await;
    let in_force = desk.world.authority.pip().policy().snapshot.digest().to_string();
    assert_eq!(record["details"], json!({ "from": "release 2", "policy": in_force }));
    // The answers are those of before once the old content is released again, as a version of its own.
    assert_eq!(word_of(&house.activate(1).await), "refused", "versions only go forward");
    house.roll_back(3, 1).await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    house.activate(3).await.expect("it is in force");
    assert_eq!(desk.call("lookup").await, "permitted");
    let told = desk.run(Command::PolicyHistory).await.expect("it is told");
    assert_eq!((&told["active"], &told["in_force"]["release"]), (&json!(3), &json!(3)));
    let states: Vec<_> = told["releases"].as_array().expect("a list").iter().collect();
    let is = |it: &&Value| it["state"]["is"].as_str().expect("a state").to_owned();
    assert_eq!(states.iter().map(is).collect::<Vec<_>>(), ["superseded", "superseded", "active"]);
    assert_eq!(states[2]["terms"]["rollback_of"], 1);
    assert_eq!(states[2]["terms"]["content"], states[0]["terms"]["content"]);
    let replayed = desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
    // What changes the tools keeps the release in force.
    desk.publisher.publish().await.expect("it compiles");
    assert_eq!(desk.call("lookup").await, "permitted");
    assert_eq!(house.follows().await, "in force");
}

/// Every act is recorded with all who are behind it.
#[tokio::test]
async fn r_39_the_record_of_an_activation_names_everybody() {
    let house = House::new().await;
    house.release_all(2, CLOSED).await;
    let id = house.newest("administration").await["id"].as_str().expect("an id").to_owned();
    let shown = house.desk.run(Command::LogShow { id }).await.expect("it is shown");
    let change = &shown["disclosure"]["change"];
    let told = if change.is_null() { shown.to_string() } else { change.to_string() };
    let Signers { author, approver } = &house.signers;
    for part in [author.0.as_str(), approver.0.as_str(), "activation", "signature", "word"] {
        assert!(told.contains(part), "{part}: {shown}");
    }
}

#[tokio::test]
async fn n_094_nobody_changes_policy_alone() {
    let house = House::new().await;
    let (desk, Signers { author, approver }) = (&house.desk, &house.signers);
    let (asked, files) = asked(2, CLOSED);
    // The service's own user is nobody who signs.
    let unsigned =
        || Command::PolicyPublish { asked: asked.clone(), files: Some(files.clone()), word: None };
    let user: PersonId = BOOTSTRAP.parse().expect("a person");
    assert_eq!(word_of(&desk.run_as(&user, unsigned()).await), "refused");
    let why = desk.run_as(&author.0, unsigned()).await.expect_err("it is not signed");
    assert!(why.to_string().contains("`--as`"), "{why}");
    // Nor does a word for something else count.
    let other = ReleaseTerms { version: 3, ..asked.clone().into() }.published();
    let word = Some(signed(author, desk, other));
    let command = Command::PolicyPublish { asked: asked.clone(), files: Some(files.clone()), word };
    assert_eq!(word_of(&desk.run(command).await), "refused");
    house.publish(2, CLOSED).await.expect("it is published");
    let own = house.approve_as(author, 2).await.expect_err("it takes another");
    assert!(own.to_string().ends_with("nobody approves what they asked for themselves"), "{own}");
    let unsigned = Command::PolicyApprove { version: 2, word: None };
    assert_eq!(word_of(&desk.run_as(&user, unsigned.clone()).await), "refused");
    assert_eq!(word_of(&desk.run_as(&approver.0, unsigned).await), "invalid");
    // What is not permitted is not done, whoever signs.
    let mut person = desk.world.standing.other.clone();
    person.groups.clear();
    desk.world.put(FactKey::person(&approver.0), &person).await;
    assert_eq!(word_of(&house.approve(2).await), "refused");
    assert_eq!(house.release(2).await.state, ReleaseState::Proposed);
    assert_eq!(desk.call("lookup").await, "permitted");
}

/// What is wrong with what is published, and nothing changes.
#[tokio::test]
async fn n_128_what_is_not_whole_is_not_published() {
    let house = House::new().await;
    let check = async |asked: ReleaseAsked, files: Option<PolicyFiles>, says: &str| {
        let revision = house.desk.revision().await;
        let command = house.published(asked, files);
        let why = house.desk.run(command).await.expect_err(says).to_string();
        assert!(why.contains(says), "{why}");
        // But that the word is used up.
        assert_eq!(house.desk.revision().await, revision);
        assert_eq!(house.desk.fact(FactKey::release(2)).await, None);
    };
    let (good, whole) = asked(2, CLOSED);
    for version in [1, 3] {
        let asked = ReleaseAsked { version, ..good.clone() };
        check(asked, Some(whole.clone()), "the next version is 2").await;
    }
    check(good.clone(), Some(set("")), "not what its digest says").await;
    check(good.clone(), None, "or is a rollback").await;
    let expires = Some(house.desk.world.clock.now());
    check(ReleaseAsked { expires, ..good.clone() }, Some(whole.clone()), "expired").await;
    let expires = Some(Timestamp::from_millis(i64::MAX >> 10));
    check(ReleaseAsked { expires, ..good.clone() }, Some(whole.clone()), "expires within").await;
    let half = PolicyFiles { policies: files(&POLICY[..POLICY.len() / 2]), ..whole.clone() };
    let part = ("own.cedarschema".to_owned(), "entity Desk".to_owned());
    let schema = PolicyFiles { schema: [part].into(), ..whole.clone() };
    let fails = set(r#"@id("fails") forbid (principal, action == Action::"crm/lookup", resource)
        when { context.subject.active };"#);
    for (wrong, says) in [
        (half, "test.cedar"),
        (PolicyFiles::default(), "there is no policy"),
        (schema, "own.cedarschema:1: "),
        (fails, "policy `fails`: unable to guarantee safety of access to optional attribute"),
    ] {
        let asked = ReleaseAsked { content: content(&wrong), ..good.clone() };
        check(asked, Some(wrong), says).await;
    }
    for old in [1, 7] {
        let asked = ReleaseAsked { rollback_of: Some(old), ..good.clone() };
        check(asked, None, &format!("release {old}")).await;
    }
}

/// What the store holds is held against what was signed: each part of it, before it is in force and after.
#[tokio::test]
async fn n_094_a_release_that_was_altered_is_refused_and_the_last_good_set_stays() {
    type Change = fn(&mut Release, &mut Value);
    let forged: [(&str, Change); 10] = [
        ("not what its digest says", |_, content| {
            content["policies"]["test.cedar"] = json!("permit (principal, action, resource);");
        }),
        ("not what its digest says", |_, content| {
            content["tools"] = json!({ "crm/x": { "input_schema": {} } });
        }),
        ("it is not whole", |_, content| *content = json!("{\"policies\":{\"test.ced")),
        ("its author did not sign it", |release, _| {
            release.terms.expires = Some(Timestamp::from_millis(4_102_444_800_000));
        }),
        ("its author did not sign it", |release, _| {
            let SignedBy { word, .. } = release.author.as_mut().expect("an author");
            word.truncate(word.len() / 2);
        }),
        ("its approver did not sign it", |release, _| {
            if let ReleaseState::Active { approval: Some(approval), .. } = &mut release.state {
                approval.by.word = release.author.as_ref().expect("an author").word.clone();
            }
        }),
        ("its approver did not sign it", |release, _| release.author = None),
        ("its approver did not sign it", |release, _| {
            if let ReleaseState::Active { approval: Some(approval), .. } = &mut release.state {
                approval.base.version = 7;
            }
        }),
        ("did not countersign it", |release, _| {
            if let ReleaseState::Active { approval, .. } = &mut release.state {
                *approval = None;
            }
        }),
        ("did not countersign it", |release, _| {
            if let ReleaseState::Active { activation, .. } = &mut release.state {
                activation.by = "somebody".parse().expect("a person");
            }
        }),
    ];
    let house = House::new().await;
    house.release_all(2, CLOSED).await;
    let good = house.release(2).await;
    let place = FactKey::policy(&good.terms.content);
    let content = house.desk.fact(place.clone()).await.expect("it is kept");
    for (says, forge) in forged {
        let (mut release, mut body) = (good.clone(), content.clone());
        forge(&mut release, &mut body);
        house.desk.world.put(FactKey::release(2), &release).await;
        house.desk.world.put(place.clone(), &body).await;
        let why = house.follows().await;
        assert!(why.contains(says), "{says}: {why}");
        assert_eq!(house.desk.call("lookup").await, "forbidden", "the last good set stays");
        house.desk.world.put(FactKey::release(2), &good).await;
        house.desk.world.put(place.clone(), &content).await;
        assert_eq!(house.follows().await, "in force");
    }
    // One that is older, though everything about it holds.
    let first = house.release(1).await;
    house
        .desk
        .world
        .put(FactKey::releases(), &Releases { newest: 2, active: 1, observed: None })
        .await;
    assert!(house.follows().await.contains("older than 2"));
    house
        .desk
        .world
        .put(FactKey::releases(), &Releases { newest: 2, active: 2, observed: None })
        .await;
    assert_eq!(first.author, None);
}

/// Nothing altered is approved, put in force or brought back either.
#[tokio::test]
async fn n_094_what_was_altered_goes_no_step_further() {
    let house = House::new().await;
    house.publish(2, CLOSED).await.expect("it is published");
    let good = house.release(2).await;
    let place = FactKey::policy(&good.terms.content);
    let content = house.desk.fact(place.clone()).await.expect("it is kept");
    let altered = json!({ "policies": { "test.cedar": "permit (principal, action, resource);" } });
    house.desk.world.put(place.clone(), &altered).await;
    assert_eq!(word_of(&house.approve(2).await), "refused");
    house.desk.world.put(place.clone(), &content).await;
    house.approve(2).await.expect("it is approved");
    house.desk.world.put(place.clone(), &altered).await;
    assert_eq!(word_of(&house.activate(2).await), "refused");
    house.desk.world.put(place.clone(), &content).await;
    house.activate(2).await.expect("it is in force");
    assert_eq!(house.desk.call("lookup").await, "forbidden");
}

#[tokio::test]
async fn r_39_a_release_ends_when_its_author_said() {
    let house = House::new().await;
    house.release_for_a_minute(2, CLOSED).await;
    assert_eq!(house.follows().await, "in force");
    house.desk.world.clock.advance(Duration::from_mins(1));
    assert!(house.follows().await.contains("expired"));
    assert_eq!(house.desk.call("lookup").await, "forbidden", "the last good set stays");
    // The next one goes on.
    house.release_all(3, "").await;
    assert_eq!(house.follows().await, "in force");
    assert_eq!(house.desk.call("lookup").await, "permitted");
}

/// What was activated and could not be put in force is, by whoever looks next.
#[tokio::test]
async fn r_39_what_was_activated_is_in_force_though_that_failed_at_first() {
    let house = House::new().await;
    house.publish(2, CLOSED).await.expect("it is published");
    house.approve(2).await.expect("it is approved");
    let full = authority::CommitError::Unavailable("the disk is full".into());
    house.desk.world.store.on_commit([OnCommit::After(Unit::default()), OnCommit::Refuse(full)]);
    assert_eq!(word_of(&house.activate(2).await), "unavailable");
    assert_eq!(house.desk.call("lookup").await, "permitted");
    assert_eq!(house.follows().await, "in force");
    assert_eq!(house.desk.call("lookup").await, "forbidden");
}

/// While files are in force, releases change nothing: not until the service is started without.
#[tokio::test]
async fn files_stay_in_force_where_they_are_meant() {
    let world = World::with(|facts| {
        facts.other.groups.insert("administrators".parse().expect("a group"));
    })
    .await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    let signers = Signers::register(&world, people).await;
    crate::desk::found(&world, false).await;
    let house = House { desk: Desk::over(world).await, signers };
    house.publish(2, CLOSED).await.expect("it is published");
    house.approve(2).await.expect("it is approved");
    let told = house.activate(2).await.expect("it is active");
    assert_eq!(told["in_force"], false);
    assert_eq!(house.desk.call("lookup").await, "permitted");
    assert_eq!(house.follows().await, "in force", "there is nothing to follow");
}

/// Releases for the matrix: one that waits for approval, one that waits to be put in force.
pub(crate) async fn furnish(desk: &Desk) -> Signers {
    let group = ADMINISTRATORS.parse().expect("a group");
    let author = Person::new("author".parse().expect("a person"), [group].into());
    desk.world.put(FactKey::person(&author.id), &author).await;
    let people = [author.id, desk.world.standing.sponsor.id.clone()];
    let signers = Signers::register(&desk.world, people).await;
    for version in [1, 2] {
        let (asked, files) = asked(version, "");
        let terms = ReleaseTerms::from(asked);
        desk.world.put(FactKey::policy(&terms.content), &Bundle::from(files)).await;
        let by = |signer: &(PersonId, SigningKey), said| SignedBy {
            person: signer.0.clone(),
            at: desk.world.clock.now(),
            url: ISSUER.to_owned(),
            word: signed(signer, desk, said),
        };
        let author = Some(by(&signers.author, terms.published()));
        let mut release = Release { terms, author, cases: None, state: ReleaseState::Proposed };
        if version == 2 {
            let approver = by(&signers.approver, release.approval_over(&Base::NOTHING));
            let approval = Approval { base: Base::NOTHING, by: approver };
            release = release.approved(approval).expect("it waits for that");
        }
        desk.world.put(FactKey::release(version), &release).await;
    }
    desk.world.put(FactKey::releases(), &Releases { newest: 2, active: 0, observed: None }).await;
    signers
}

impl Signers {
    /// The command as who administers sends it: signed, if it is one that is.
    pub(crate) async fn sign(&self, desk: &Desk, command: Command) -> Command {
        match command {
            Command::PolicyPublish { asked, files, .. } => {
                let said = ReleaseTerms::from(asked.clone()).published();
                let word = Some(signed(&self.approver, desk, said));
                Command::PolicyPublish { asked, files, word }
            }
            Command::PolicyApprove { version, .. } => {
                let found = desk.fact(FactKey::release(version)).await.expect("it is there");
                let release: Release = serde_json::from_value(found).expect("a release");
                let word =
                    Some(signed(&self.approver, desk, release.approval_over(&Base::NOTHING)));
                Command::PolicyApprove { version, word }
            }
            other => other,
        }
    }
}
