//! Two founders make another one, or give one another key; whoever's key is gone signs nothing any more.

use std::time::Duration;

use keys::{KeyAlgorithm, SigningKey};
use model::{
    Clock as _, FOUNDER_WAITS, FactKey, Person, PersonId, PersonState, REKEY_ALONE_MIN,
    ReleaseState, Sha256Digest, StopTarget, WAITS_MAX,
};
use pap::{AdminError, BOOTSTRAP, Command, FounderSaid, WideningSaid};
use serde_json::{Value, json};
use store::{Effect, Store as _, Unit};

use crate::desk::{jwk, word as word_of};
use crate::releases::{CLOSED, House, signed};
use crate::support::stores::OnCommit;

/// A founder with their key.
type Signer = (PersonId, SigningKey);

/// What `id` is to be given, with the half of the code that whoever says it keeps.
fn said(id: &str, half: &str) -> FounderSaid {
    let (id, reason) = (id.to_owned(), "because".to_owned());
    FounderSaid { id, code: Sha256Digest::of(half.as_bytes()), reason }
}

impl House {
    /// With one more person, who is no founder.
    async fn with_carol() -> Self {
        let house = Self::new().await;
        let world = &house.desk.world;
        let carol = Person::new("carol".parse().expect("a person"), std::iter::empty().collect());
        world.put(FactKey::person(&carol.id), &carol).await;
        // What she does is sealed by it.
        let key = world.journal.sealer().new_data_key(&carol.id);
        let effects = vec![Effect::Put { key: key.key, body: key.body }];
        world.store.commit(Unit { effects, ..Unit::default() }).await.expect("it commits");
        house
    }

    /// What `by` signs for, at the service's socket.
    async fn founder(
        &self,
        act: &str,
        by: &Signer,
        said: FounderSaid,
    ) -> Result<Value, AdminError> {
        let waits = self.waits(&said.id).await;
        let command = json!({ "do": act, "said": said, "waits": waits });
        let word = Some(signed(by, &self.desk, command));
        let command = match act {
            "founder-add" => Command::FounderAdd { said, word },
            _ => Command::FounderRekey { said, word },
        };
        self.anybody(command).await
    }

    /// What the service's own user asks for.
    async fn anybody(&self, command: Command) -> Result<Value, AdminError> {
        let user: PersonId = BOOTSTRAP.parse().expect("a person");
        self.desk.run_as(&user, command).await
    }

    async fn waits(&self, id: &str) -> Option<Value> {
        self.desk.fact(FactKey::founder_asked(&id.parse().expect("a person"))).await
    }

    /// Redeems `code`, by which `id` has a key from then on.
    async fn redeem(&self, id: &str, code: &str) -> Result<Signer, AdminError> {
        let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
        let jwk = key.verifying().to_jwk();
        self.anybody(Command::FounderRedeem { code: code.to_owned(), key: jwk }).await?;
        Ok((id.parse().expect("a person"), key))
    }

    /// Makes the person who is none a founder.
    async fn added(&self) -> Signer {
        let (author, approver) = (&self.signers.author, &self.signers.approver);
        self.founder("founder-add", author, said("carol", "one")).await.expect("it waits");
        self.founder("founder-add", approver, said("carol", "two")).await.expect("two agree");
        self.redeem("carol", "one.two").await.expect("it is redeemed")
    }

    /// Who signs by now.
    async fn signers(&self) -> Vec<String> {
        let told = self.desk.run(Command::PolicyHistory).await.expect("it is told");
        let signers = told["signers"].as_array().expect("a list").iter();
        signers.map(|it| it.as_str().expect("a name").to_owned()).collect()
    }

    fn later(&self, time: Duration) {
        self.desk.world.clock.advance(time);
    }
}

/// A second or so: what is signed after it, is signed after it.
const MOMENT: Duration = Duration::from_secs(1);

/// Two, who each know half of the code; neither the user of the service nor one who asks twice.
#[tokio::test]
async fn r_39_nobody_becomes_a_founder_by_one_alone() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let unsigned = Command::FounderAdd { said: said("carol", "one"), word: None };
    let why = house.anybody(unsigned).await.expect_err("nobody signed").to_string();
    assert!(why.contains("a founder signs for this"), "{why}");
    let told = house.founder("founder-add", author, said("carol", "one")).await;
    let told = told.expect("it waits");
    assert_eq!((&told["waits"], &told["alone_from"]), (&json!("carol"), &Value::Null));
    house.later(MOMENT);
    let alone = house.founder("founder-add", author, said("carol", "two")).await;
    assert_eq!(word_of(&alone), "refused", "{alone:?}");
    assert_eq!(word_of(&house.redeem("carol", "one").await.map(|_| Value::Null)), "invalid");
    house.founder("founder-add", approver, said("carol", "two")).await.expect("two agree");
    assert_eq!(house.waits("carol").await, None);
    for half in ["one", "two", "two.one", ".one", "one."] {
        let redeemed = house.redeem("carol", half).await.map(|_| Value::Null);
        assert_eq!(word_of(&redeemed), "invalid", "{half}");
    }
    let carol = house.redeem("carol", "one.two").await.expect("it is redeemed");
    assert_eq!(house.signers().await.len(), 3);
    assert_eq!(word_of(&house.redeem("carol", "one.two").await.map(|_| Value::Null)), "invalid");
    // The newest founder approves like the others.
    house.publish(2, CLOSED).await.expect("it is published");
    house.approve_as(&carol, 2).await.expect("it is approved");
    let again = house.founder("founder-add", author, said("carol", "one")).await;
    assert!(again.expect_err("there is a key").to_string().contains("`founder rekey`"));
}

/// Who agrees agrees to what they were shown, and for nobody who does not stand behind it.
#[tokio::test]
async fn r_39_what_waits_is_agreed_to_as_it_is_and_falls_with_who_asked() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    house.founder("founder-add", author, said("carol", "one")).await.expect("it waits");
    // The word for what waited before it was taken back asks for nothing.
    let waits = house.waits("carol").await;
    let said_two = said("carol", "two");
    let command = json!({ "do": "founder-add", "said": said_two, "waits": waits });
    let word = Some(signed(approver, &house.desk, command));
    let withdraw = Command::FounderWithdraw { id: "carol".to_owned(), reason: "no".to_owned() };
    house.anybody(withdraw.clone()).await.expect("one suffices");
    assert_eq!(word_of(&house.anybody(withdraw).await), "missing");
    let late = house.anybody(Command::FounderAdd { said: said_two, word }).await;
    assert_eq!(word_of(&late), "refused", "{late:?}");
    // For what has waited too long the second is the first.
    house.founder("founder-add", author, said("carol", "one")).await.expect("it waits");
    house.later(FOUNDER_WAITS);
    let told = house.founder("founder-add", approver, said("carol", "two")).await;
    assert_eq!(told.expect("it waits anew")["waits"], "carol");
    // So they are where who asked is gone.
    let mut gone = house.desk.world.standing.other.clone();
    gone.state = PersonState::Inactive { since: house.desk.world.clock.now() };
    house.desk.world.put(FactKey::person(&approver.0), &gone).await;
    let told = house.founder("founder-add", author, said("carol", "one")).await;
    assert_eq!(told.expect("it waits anew")["waits"], "carol");
    // Nobody gets a key by their own word, nor who is not there.
    let own = house.founder("founder-rekey", author, said(author.0.as_str(), "one")).await;
    assert_eq!(word_of(&own), "refused");
    let nobody = house.founder("founder-add", author, said("nobody", "one")).await;
    assert_eq!(word_of(&nobody), "missing");
    let no_founder = house.founder("founder-rekey", author, said("carol", "one")).await;
    assert_eq!(word_of(&no_founder), "invalid");
    let gone = Person { id: "carol".parse().expect("a person"), ..gone };
    house.desk.world.put(FactKey::person(&gone.id), &gone).await;
    let absent = house.founder("founder-add", author, said("carol", "one")).await;
    assert_eq!(word_of(&absent), "invalid");
}

/// Whom two want as a founder is none before they have a key: nobody takes their place by waiting alone.
#[tokio::test]
async fn r_39_who_never_had_a_key_gets_none_by_one_alone() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    house.founder("founder-add", author, said("carol", "five")).await.expect("it waits");
    house.founder("founder-add", approver, said("carol", "six")).await.expect("two agree");
    for after in [Duration::ZERO, FOUNDER_WAITS] {
        house.later(after);
        let alone = house.founder("founder-rekey", author, said("carol", "three")).await;
        assert!(alone.expect_err("she has no key").to_string().contains("is no founder"));
    }
    assert_eq!(word_of(&house.redeem("carol", "five.six").await.map(|_| Value::Null)), "invalid");
    house.added().await;
}

/// Who was stopped at once, as their key was stolen, is back by another one; nothing that was granted before is.
#[tokio::test]
async fn r_39_a_founder_who_was_deactivated_is_back_by_another_key() {
    let house = House::new().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let bob = approver.0.as_str();
    let rekey = async |half: &str| house.founder("founder-rekey", author, said(bob, half)).await;
    let deactivate = || house.anybody(Command::PersonDeactivate { id: bob.to_owned() });
    rekey("early").await.expect("it waits");
    house.later(REKEY_ALONE_MIN);
    deactivate().await.expect("one suffices");
    // What was asked for while they were there brings nobody back.
    assert_eq!(rekey("one").await.expect("it waits anew")["waits"], bob);
    house.later(REKEY_ALONE_MIN);
    rekey("two").await.expect("it is time");
    // Nor does a code once they are sent away again.
    deactivate().await.expect("one suffices");
    let late = house.redeem(bob, "one.two").await.map(|_| Value::Null);
    assert!(late.expect_err("they are gone").to_string().contains("is not active"));
    rekey("three").await.expect("it waits");
    house.later(REKEY_ALONE_MIN);
    rekey("four").await.expect("it is time");
    let back = house.redeem(bob, "three.four").await.expect("it is redeemed");
    let person = house.desk.fact(FactKey::person(&approver.0)).await.expect("they are there");
    let now = house.desk.world.clock.now();
    assert_eq!(person["state"], json!({ "is": "active", "authorization_cutoff": now }));
    house.later(MOMENT);
    house.publish(2, CLOSED).await.expect("it is published");
    assert_eq!(word_of(&house.approve(2).await), "refused", "the key that was stolen is gone");
    house.approve_as(&back, 2).await.expect("the new key approves");
    house.activate(2).await.expect("it is in force");
}

/// Whom a directory sent away has another key, and is back when the directory says so.
#[tokio::test]
async fn r_39_whom_a_directory_sent_away_no_key_brings_back() {
    let house = House::new().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let bob = approver.0.as_str();
    let gone = Person {
        source: Some("hr".parse().expect("a source")),
        state: PersonState::Inactive { since: house.desk.world.clock.now() },
        ..house.desk.world.standing.other.clone()
    };
    house.desk.world.put(FactKey::person(&gone.id), &gone).await;
    house.founder("founder-rekey", author, said(bob, "one")).await.expect("it waits");
    house.later(REKEY_ALONE_MIN);
    house.founder("founder-rekey", author, said(bob, "two")).await.expect("it is time");
    house.redeem(bob, "one.two").await.expect("it is redeemed");
    let person = house.desk.fact(FactKey::person(&gone.id)).await.expect("they are there");
    assert_eq!(person["state"]["is"], "inactive");
}

/// Whoever asks alone waits by what is said when it is done as well, and by what was said before that was loosened.
#[tokio::test]
async fn r_39_nobody_shortens_what_they_wait_for_alone() {
    let house = House::new().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let bob = approver.0.as_str();
    let rekey = async |half: &str| house.founder("founder-rekey", author, said(bob, half)).await;
    let widening = async |after_s: Option<u64>| {
        let said = Some(WideningSaid { groups: Vec::new(), after_s });
        house.anybody(Command::PeopleWidening { said }).await.expect("it is said");
    };
    rekey("one").await.expect("it waits");
    house.later(REKEY_ALONE_MIN);
    widening(None).await;
    assert_eq!(word_of(&rekey("two").await), "refused");
    widening(Some(0)).await;
    assert_eq!(word_of(&rekey("two").await), "refused");
    house.later(FOUNDER_WAITS);
    assert_eq!(rekey("three").await.expect("it waits anew")["alone_from"], Value::Null);
    house.later(REKEY_ALONE_MIN);
    assert_eq!(word_of(&rekey("four").await), "refused");
    house.later(WAITS_MAX);
    assert_ne!(rekey("five").await.expect("it waits anew")["alone_from"], Value::Null);
    house.later(REKEY_ALONE_MIN);
    rekey("six").await.expect("it is time");
    house.redeem(bob, "five.six").await.expect("it is redeemed");
}

/// Of two founders one is left who can sign: they wait, a day at least, however short what widens waits.
#[tokio::test]
async fn r_39_a_lost_key_is_replaced_by_one_who_waited() {
    let house = House::new().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let bob = approver.0.as_str();
    house.founder("founder-rekey", author, said(bob, "one")).await.expect("it waits");
    house.later(Duration::from_secs(24 * 60 * 60 - 1));
    let early = house.founder("founder-rekey", author, said(bob, "two")).await;
    assert_eq!(word_of(&early), "refused", "{early:?}");
    assert_eq!(house.signers().await.len(), 2, "the key counts until it is replaced");
    house.later(MOMENT);
    house.founder("founder-rekey", author, said(bob, "three")).await.expect("it is time");
    assert_eq!(house.signers().await, [author.0.as_str()]);
    // The code of a key that was never made is no way back.
    house.founder("founder-rekey", author, said(bob, "four")).await.expect("it waits");
    house.redeem(bob, "one.three").await.expect("it is redeemed");
    assert_eq!(house.signers().await.len(), 2);
}

/// A key that was replaced signs nothing any more, what it approved and waits falls, and what is in force stays.
#[tokio::test]
async fn r_39_what_a_replaced_key_signed_counts_no_more_where_it_waits() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    house.release_all(2, CLOSED).await;
    house.publish(3, "").await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    let carol = house.added().await;
    let bob = approver.0.as_str();
    house.founder("founder-rekey", author, said(bob, "three")).await.expect("it waits");
    house.founder("founder-rekey", &carol, said(bob, "four")).await.expect("two agree");
    let redeemed = house.redeem(bob, "three.four").await.expect("it is redeemed");
    house.later(MOMENT);
    // In force stays what both signed, also where it is looked at anew.
    assert_eq!(house.follows().await, "in force");
    assert_eq!(house.desk.call("lookup").await, "forbidden");
    let why = house.activate(3).await.expect_err("its approval fell").to_string();
    assert!(why.ends_with("or has another key since: publish the set again"), "{why}");
    assert!(matches!(house.release(3).await.state, ReleaseState::Released { .. }));
    // The key that was replaced signs nothing, nor does it come back under whatever name.
    house.publish(4, "").await.expect("it is published");
    assert_eq!(word_of(&house.approve_as(approver, 4).await), "refused");
    house.approve_as(&redeemed, 4).await.expect("the new key approves");
    house.activate(4).await.expect("it is in force");
    assert_eq!(house.desk.call("lookup").await, "permitted");
    // And back to what the old key approved.
    house.roll_back(5, 2).await.expect("what it signed then is known still");
}

/// What a key signed falls with it, whatever the clock said then; what it put in force stays sound.
#[tokio::test]
async fn r_39_what_a_replaced_key_signed_falls_though_the_clock_was_set_back() {
    const AHEAD_MS: i64 = 3_600_000;
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let step = async |by_ms: i64| {
        house.desk.world.clock.step_wall(by_ms);
        let trust = Command::ClockTrust { reason: "looked".to_owned() };
        house.desk.run(trust).await.expect("it is trusted");
    };
    let what: StopTarget = "tool/crm/refund".parse().expect("a tool");
    let start = async |by: &Signer| {
        let since = house.desk.fact(FactKey::stop(&what)).await.expect("it is stopped");
        let said = json!({ "do": "start", "what": what, "reason": "on", "since": since["since"] });
        let word = Some(signed(by, &house.desk, said));
        let (what, reason) = (what.clone(), "on".to_owned());
        house.anybody(Command::Start { what, reason, word }).await.expect("it is said")
    };
    step(AHEAD_MS).await;
    house.release_all(2, CLOSED).await;
    house.publish(3, "").await.expect("it is published");
    house.approve(3).await.expect("it is approved");
    let stopping = Command::Stop { what: what.clone(), reason: "looked odd".to_owned() };
    house.anybody(stopping).await.expect("one suffices");
    assert_eq!(start(approver).await["waits"], json!(what));
    step(-AHEAD_MS).await;
    let carol = house.added().await;
    let bob = approver.0.as_str();
    house.founder("founder-rekey", author, said(bob, "three")).await.expect("it waits");
    house.founder("founder-rekey", &carol, said(bob, "four")).await.expect("two agree");
    let redeemed = house.redeem(bob, "three.four").await.expect("it is redeemed");
    assert_eq!(house.follows().await, "in force");
    let why = house.activate(3).await.expect_err("its approval fell").to_string();
    assert!(why.ends_with("or has another key since: publish the set again"), "{why}");
    assert_eq!(start(author).await["waits"], json!(what), "nobody else wants it any longer");
    assert_eq!(start(&redeemed).await["started"], json!(what));
}

/// A key that was replaced, or by which somebody is known, is nobody's else.
#[tokio::test]
async fn r_39_a_replaced_key_is_registered_for_nobody() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    house.founder("founder-add", author, said("carol", "one")).await.expect("it waits");
    house.founder("founder-add", approver, said("carol", "two")).await.expect("two agree");
    let redeem = |key: Value| {
        let command = Command::FounderRedeem { code: "one.two".to_owned(), key };
        house.anybody(command)
    };
    let taken = redeem(author.1.verifying().to_jwk()).await;
    assert_eq!(word_of(&taken), "invalid", "a founder has one name: {taken:?}");
    let gone = house.desk.world.standing.task.opened;
    let thumbprint = model::Thumbprint::from_bytes(author.1.verifying().thumbprint());
    house.desk.world.put(FactKey::replaced_key(&thumbprint), &gone).await;
    let place = FactKey::from_text(&format!("founder-key/{}", author.0));
    house.desk.world.put(place, &jwk()).await;
    assert_eq!(word_of(&redeem(author.1.verifying().to_jwk()).await), "conflict");
    assert_eq!(word_of(&redeem(jwk()).await), "done");
}

/// One takes a founder their key, but for the last two.
#[tokio::test]
async fn r_39_a_founder_is_removed_at_once_and_two_are_left() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let remove = |id: &str| Command::FounderRemove { id: id.to_owned(), reason: "left".to_owned() };
    let last = house.anybody(remove(author.0.as_str())).await.expect_err("of two").to_string();
    assert!(last.contains("fewer than 2 sign"), "{last}");
    assert_eq!(word_of(&house.anybody(remove("carol")).await), "missing");
    house.founder("founder-add", author, said("carol", "one")).await.expect("it waits");
    house.founder("founder-add", approver, said("carol", "two")).await.expect("two agree");
    // Who has a code to redeem has it no longer, either.
    house.anybody(remove("carol")).await.expect("one suffices");
    assert_eq!(word_of(&house.redeem("carol", "one.two").await.map(|_| Value::Null)), "invalid");
    house.added().await;
    let told = house.anybody(Command::FounderList).await.expect("it is told");
    assert_eq!(told.as_array().map(Vec::len), Some(3), "{told}");
    house.anybody(remove(approver.0.as_str())).await.expect("two are left");
    house.publish(2, CLOSED).await.expect("it is published");
    assert_eq!(word_of(&house.approve(2).await), "refused", "they sign nothing");
    let person = house.desk.fact(FactKey::person(&approver.0)).await.expect("they are there");
    assert!(!person["groups"].to_string().contains("administrators"), "{person}");
}

/// Who takes somebody's key alone gets nothing with it that was taken from them.
#[tokio::test]
async fn another_key_gives_back_no_group_that_was_taken() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let bob = approver.0.as_str();
    let taken = Person {
        source: Some("hr".parse().expect("a source")),
        groups: std::iter::empty().collect(),
        ..house.desk.world.standing.other.clone()
    };
    house.founder("founder-rekey", author, said(bob, "one")).await.expect("it waits");
    house.later(REKEY_ALONE_MIN);
    house.founder("founder-rekey", author, said(bob, "two")).await.expect("it is time");
    // Whether they go before or after that was agreed to.
    house.desk.world.put(FactKey::person(&taken.id), &taken).await;
    let again = house.redeem(bob, "one.two").await.expect("it is redeemed");
    let person = house.desk.fact(FactKey::person(&taken.id)).await.expect("they are there");
    assert_eq!(person["groups"], json!([]));
    house.later(MOMENT);
    house.publish(2, CLOSED).await.expect("it is published");
    assert_eq!(word_of(&house.approve_as(&again, 2).await), "refused", "they administer nothing");
    // Nor do they count for those who are left.
    house.desk.world.put(FactKey::person(&approver.0), &house.desk.world.standing.other).await;
    house.founder("founder-add", author, said("carol", "three")).await.expect("it waits");
    house.founder("founder-add", &again, said("carol", "four")).await.expect("two agree");
    house.redeem("carol", "three.four").await.expect("it is redeemed");
    house.desk.world.put(FactKey::person(&taken.id), &taken).await;
    let remove = Command::FounderRemove { id: "carol".to_owned(), reason: "left".to_owned() };
    let last = house.anybody(remove).await.expect_err("one administers").to_string();
    assert!(last.contains("fewer than 2 sign"), "{last}");
}

/// With whom the deployment began administers by their first key, also where their code was lost.
#[tokio::test]
async fn a_first_key_administers_though_it_is_another_code() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    let lost = format!("founder/{}", Sha256Digest::of(b"lost"));
    house.desk.world.put(FactKey::from_text(&lost), &json!({ "founder": "carol" })).await;
    house.founder("founder-rekey", author, said("carol", "one")).await.expect("it waits");
    house.founder("founder-rekey", approver, said("carol", "two")).await.expect("two agree");
    house.redeem("carol", "one.two").await.expect("it is redeemed");
    let carol = FactKey::person(&"carol".parse().expect("a person"));
    let person = house.desk.fact(carol).await.expect("she is there");
    assert_eq!(person["groups"], json!(["administrators"]));
}

/// No code comes to be while somebody is removed.
#[tokio::test]
async fn who_is_removed_has_no_code_that_came_meanwhile() {
    let house = House::with_carol().await;
    let (author, approver) = (&house.signers.author, &house.signers.approver);
    house.founder("founder-add", author, said("carol", "one")).await.expect("it waits");
    house.founder("founder-add", approver, said("carol", "two")).await.expect("two agree");
    let told = house.anybody(Command::FounderList).await.expect("it is told");
    let until = told.as_array().into_iter().flatten().find_map(|row| row["redeems_until"].as_i64());
    // The same two agree once more: another code is in place of that one.
    let digest = |half: &str| Sha256Digest::of(half.as_bytes());
    let place = |halves: [&str; 2]| {
        let [first, second] = halves.map(digest);
        let joined = [&[0xff], first.as_bytes().as_slice(), second.as_bytes()].concat();
        FactKey::from_text(&format!("founder/{}", Sha256Digest::of(&joined)))
    };
    let code = json!({ "founder": "carol", "until": until, "change": "add" });
    let body = serde_json::to_vec(&code).expect("JSON");
    let effects = vec![
        Effect::Remove { key: place(["one", "two"]) },
        Effect::PutNew { key: place(["three", "four"]), body },
    ];
    let meanwhile = OnCommit::After(Unit { effects, ..Unit::default() });
    house.desk.world.store.on_commit([meanwhile]);
    let remove = Command::FounderRemove { id: "carol".to_owned(), reason: "left".to_owned() };
    let removed = house.anybody(remove.clone()).await;
    assert_eq!(word_of(&removed), "conflict", "another code came: {removed:?}");
    house.anybody(remove).await.expect("one suffices");
    let late = house.redeem("carol", "three.four").await.map(|_| Value::Null);
    assert_eq!(word_of(&late), "invalid");
}
