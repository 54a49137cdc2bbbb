//! People as a directory says them: the newest list holds, whole, and nothing else changes.

use keys::{KeyAlgorithm, SigningKey};
use model::{Clock as _, FactKey, PersonId, Sha256Digest};
use oauth::people::{ListedPerson, Login, People};
use pap::Command;
use serde_json::{Value, json};
use store::{CommitError, Unit};

use crate::desk::{Desk, ISSUER, jwk, registers, source_key, word};
use crate::support::stores::OnCommit;

fn person(id: &str) -> ListedPerson {
    let (groups, unit, manager, logins) = (Vec::new(), None, None, Vec::new());
    ListedPerson { id: id.to_owned(), active: true, groups, unit, manager, logins }
}

fn login(subject: &str) -> Login {
    Login { issuer: "https://idp.example".to_owned(), subject: subject.to_owned() }
}

fn ann() -> ListedPerson {
    let (groups, unit) = (vec!["staff".to_owned()], Some("CC-47".to_owned()));
    ListedPerson { groups, unit, logins: vec![login("1")], ..person("ann") }
}

fn ben() -> ListedPerson {
    ListedPerson { manager: Some("ann".to_owned()), logins: vec![login("2")], ..person("ben") }
}

/// A deployment with the directory `hr`, of which version 3 is in force: Ann, and Ben below her.
async fn desk() -> Desk {
    let desk = Desk::new().await;
    desk.directory().await;
    desk.applies(3, &[ann(), ben()]).await;
    desk
}

impl Desk {
    async fn apply(&self, file: String) -> Result<Value, pap::AdminError> {
        self.run(Command::PeopleApply { file }).await
    }

    async fn applies(&self, version: u64, people: &[ListedPerson]) -> Value {
        self.apply(self.signed(&self.hr, version, people)).await.expect("it holds")
    }

    async fn person(&self, id: &str) -> Value {
        let key = FactKey::person(&id.parse().expect("a person"));
        self.fact(key).await.expect("the person is known")
    }

    async fn whose(&self, subject: &str) -> Option<Value> {
        let Login { issuer, subject } = login(subject);
        self.fact(FactKey::login(&issuer, &subject)).await
    }
}

#[tokio::test]
async fn the_newest_list_says_who_is_there_and_who_is_not() {
    let desk = desk().await;
    let ann_is = desk.person("ann").await;
    assert_eq!((&ann_is["unit"], &ann_is["source"]), (&json!("CC-47"), &json!("hr")));
    assert_eq!(desk.person("ben").await["manager"], "ann");
    assert_eq!(desk.whose("2").await, Some(json!("ben")));
    // Ben is left out, and Ann's login is now Cleo's.
    let cleo = ListedPerson { logins: vec![login("1")], ..person("cleo") };
    let ann = ListedPerson { logins: Vec::new(), ..ann() };
    let told = desk.applies(4, &[ann.clone(), cleo.clone()]).await;
    assert_eq!(told["people"], json!({ "added": 1, "deactivated": 1 }), "{told}");
    assert_eq!(desk.person("ben").await["state"]["is"], "inactive");
    assert_eq!((desk.whose("1").await, desk.whose("2").await), (Some(json!("cleo")), None));
    assert_eq!(desk.person("ann").await, ann_is, "nobody else is written");
    // Who comes back revives nothing, and stays so.
    desk.world.clock.advance(std::time::Duration::from_secs(5));
    let told = desk.applies(5, &[ann.clone(), cleo.clone(), ben()]).await;
    assert_eq!(told["people"], json!({ "returned": 1 }));
    let back = desk.person("ben").await;
    assert_eq!(back["state"]["authorization_cutoff"], desk.world.clock.now().as_millis());
    let off = ListedPerson { active: false, ..cleo };
    let told = desk.applies(6, &[ann, off, ben()]).await;
    assert_eq!(told["people"], json!({ "deactivated": 1 }));
    assert_eq!((desk.person("ben").await, desk.whose("1").await), (back, None));
    let acts = desk.world.records("administration").await;
    let applied = acts.iter().filter(|it| it.text_of("action") == "people/apply").count();
    assert_eq!(applied, 4, "each is recorded");
}

/// what hangs on a person ends with the list that no longer has them, and a later list that
/// has them again revives none of it.
#[tokio::test]
async fn r_13_a_sponsor_whom_the_list_leaves_out_stops_the_agent_for_good() {
    let world = crate::support::World::with(|facts| {
        facts.sponsor.source = Some("hr".parse().expect("a source"));
        // Who leaves the administrators affirms anew.
        std::mem::swap(&mut facts.sponsor.groups, &mut facts.other.groups);
    })
    .await;
    let desk = Desk::over(world).await;
    let facts = &desk.world.standing;
    let (sponsor, other) = (facts.sponsor.id.to_string(), facts.other.id.clone());
    let source = source_key("hr", desk.hr.verifying().to_jwk());
    desk.run_as(&other, registers(source)).await.expect("it is registered");
    let apply = |version, people: &[ListedPerson]| {
        let file = desk.signed(&desk.hr, version, people);
        desk.administration.run(&other, Command::PeopleApply { file })
    };
    apply(1, &[person(&sponsor)]).await.unwrap();
    assert_eq!(desk.call("lookup").await, "permitted");
    let permit = desk.world.authorize(desk.world.call("lookup", json!({}))).await.unwrap();
    let watch = desk.world.authority.watch(&permit);
    let _begun = permit.begin(desk.world.clock.as_ref()).unwrap();
    apply(2, &[]).await.unwrap();
    let cut = watch.no_longer_permitted().await;
    assert_eq!(cut.to_string(), "denied by the built-in rule `sponsor_not_active`");
    apply(3, &[person(&sponsor)]).await.unwrap();
    assert_eq!(desk.call("lookup").await, "sponsor_not_active");
}

/// A list that is refused says why, changes nothing, and leaves a record that it was refused.
async fn refused(desk: &Desk, file: String, says: &str) {
    let before = desk.revision().await;
    let answer = desk.apply(file).await;
    assert_eq!(word(&answer), "invalid", "{says}: {answer:?}");
    let error = answer.expect_err(says).to_string();
    assert!(error.contains(says), "{error}");
    assert_eq!(desk.revision().await, before, "{says}");
}

#[tokio::test]
async fn n_097_a_list_that_is_forged_old_or_for_somebody_else_changes_nothing() {
    let desk = desk().await;
    let own = &desk.hr;
    let other = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    let check = async |file: String, says: &str| refused(&desk, file, says).await;
    let list = |version| desk.signed(own, version, &[ann()]);
    check(list(3), "version 3 of `hr` is not newer than version 3").await;
    check(list(2), "version 2 of `hr` is not newer than version 3").await;
    check(desk.signed(&other, 4, &[]), "the signature does not verify").await;
    let of = |source: &str, issuer: &str| {
        let people = People { version: 4, people: Vec::new() };
        let now = desk.world.clock.now().as_seconds();
        oauth::people::make((source, issuer), own, now, &people).unwrap()
    };
    check(of("hr", "https://other.example"), "the claim `aud`").await;
    check(of("payroll", ISSUER), "`payroll` is no source of people").await;
    check("nothing".to_owned(), "not a compact JWS").await;
    let altered = list(4).replacen('.', ".e", 1);
    check(altered, "").await;
    crate::support::until("each is recorded", || async {
        let refusals = desk.world.records("refusal").await;
        refusals.iter().filter(|it| it.text_of("cause") == "people_refused").count() == 7
    })
    .await;
    // A key counts until it expires or is replaced.
    let said = source_key("hr", other.verifying().to_jwk());
    desk.run(Command::PeopleSourceRekey(said)).await.unwrap();
    check(list(4), "the signature does not verify").await;
    desk.world.clock.advance(std::time::Duration::from_hours(24));
    check(desk.signed(&other, 4, &[]), "the key of `hr` expired").await;
    assert_eq!(desk.person("ann").await["state"]["is"], "active");
}

/// However high the number that a thief gave a list, the directory goes on by another key.
#[tokio::test]
async fn n_097_after_a_rekey_a_list_of_the_stolen_key_is_superseded() {
    let desk = desk().await;
    let last = 3 + model::VERSION_STEP_MAX;
    let leap = desk.signed(&desk.hr, last + 1, &[]);
    refused(&desk, leap, "is more than 1048576 beyond what is in force").await;
    desk.applies(last, &[]).await;
    assert_eq!(desk.person("ann").await["state"]["is"], "inactive");
    // The same key for longer forgets nothing.
    let rekey = async |key: &SigningKey| {
        let said = source_key("hr", key.verifying().to_jwk());
        desk.run(Command::PeopleSourceRekey(said)).await.unwrap();
    };
    rekey(&desk.hr).await;
    let earlier = desk.signed(&desk.hr, last, &[ann()]);
    refused(&desk, earlier, "is not newer than version").await;
    let new = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
    rekey(&new).await;
    let stolen = desk.signed(&desk.hr, last + 1, &[]);
    refused(&desk, stolen, "the signature does not verify").await;
    desk.apply(desk.signed(&new, 1, &[ann(), ben()])).await.unwrap();
    assert_eq!(desk.person("ann").await["state"]["is"], "active");
    refused(&desk, desk.signed(&new, 1, &[]), "is not newer than version 1").await;
}

#[tokio::test]
async fn a_list_that_makes_no_sense_changes_nothing() {
    let desk = desk().await;
    let check = async |people: &[ListedPerson], says: &str| {
        refused(&desk, desk.signed(&desk.hr, 4, people), says).await;
    };
    let below = |id: &str, manager: &str| {
        let manager = Some(manager.to_owned());
        ListedPerson { manager, ..person(id) }
    };
    let known_by = |id: &str, subject: &str| {
        let logins = vec![login(subject)];
        ListedPerson { logins, ..person(id) }
    };
    check(&[below("a", "a")], "is their own manager").await;
    check(&[below("a", "b"), below("b", "c"), below("c", "a")], "is their own manager").await;
    check(&[below("a", "nobody")], "the manager `nobody` is not in the list").await;
    check(&[person("a"), person("a")], "`a` stands twice").await;
    check(&[known_by("a", "9"), known_by("b", "9")], "the login `9` of `https://idp.example`")
        .await;
    check(&[person("no one")], "is not a person id").await;
    let chief = ListedPerson { groups: vec!["administrators".to_owned()], ..person("mallory") };
    check(&[chief], "`mallory` cannot be one of the `administrators`").await;
    let groups = |count| ListedPerson {
        groups: (0..count).map(|n| format!("g{n}")).collect(),
        ..person("a")
    };
    check(&[groups(65)], "more than 64 groups").await;
    let logins = |count: usize| ListedPerson {
        logins: (0..count).map(|n| login(&format!("x{n}"))).collect(),
        ..person("a")
    };
    check(&[logins(9)], "more than 8 logins").await;
    check(&[known_by("a", "")], "empty or too long").await;
    check(&[known_by("a", &"x".repeat(256))], "empty or too long").await;
    desk.applies(4, &[ListedPerson { logins: logins(8).logins, ..groups(64) }]).await;
}

/// N-037: who is in the register by somebody else's word stays as they are.
#[tokio::test]
async fn people_of_one_source_are_never_changed_by_another() {
    let desk = desk().await;
    let payroll = SigningKey::generate(KeyAlgorithm::EdDsa).unwrap();
    let said = source_key("payroll", payroll.verifying().to_jwk());
    desk.run(registers(said)).await.unwrap();
    desk.run(Command::PersonAdd { id: "hand".to_owned(), groups: Vec::new() }).await.unwrap();
    let of_payroll = |people: &[ListedPerson]| {
        let people = People { version: 1, people: people.to_vec() };
        let now = desk.world.clock.now().as_seconds();
        oauth::people::make(("payroll", ISSUER), &payroll, now, &people).unwrap()
    };
    let ids = ["ann", "ben", "hand", desk.world.standing.sponsor.id.as_str()];
    let mut before = Vec::new();
    for id in ids {
        before.push(desk.person(id).await);
    }
    // Each entry that is not its own is left out, and what is its own counts.
    let off = |id: &str| ListedPerson { active: false, groups: vec!["g".to_owned()], ..person(id) };
    let dan = ListedPerson { logins: vec![login("1"), login("9")], ..person("dan") };
    let listed = [off("hand"), off("ann"), off(ids[3]), dan];
    let answer = desk.apply(of_payroll(&listed)).await;
    assert_eq!(word(&answer), "conflict", "{answer:?}");
    let told = answer.expect_err("some are not its own").to_string();
    assert!(told.starts_with("version 1 of `payroll` is in force, but for"), "{told}");
    for says in ["`hand` is in the register, and not by this source", "is that of `ann`"] {
        assert!(told.contains(says), "{told}");
    }
    for (id, before) in ids.into_iter().zip(before) {
        assert_eq!(desk.person(id).await, before, "{id}");
    }
    assert_eq!(desk.whose("1").await, Some(json!("ann")));
    assert_eq!(desk.whose("9").await, Some(json!("dan")));
    // A source is registered once, by a public key that expires within a year.
    let again = source_key("hr", jwk());
    assert_eq!(word(&desk.run(registers(again)).await), "conflict");
    let missing = source_key("nothing", jwk());
    assert_eq!(word(&desk.run(Command::PeopleSourceRekey(missing)).await), "missing");
    let mut late = source_key("late", jwk());
    late.expires = late.expires.plus(std::time::Duration::from_hours(366 * 24));
    assert_eq!(word(&desk.run(registers(late)).await), "invalid");
    let mut private = source_key("private", jwk());
    private.key["d"] = json!("AA");
    assert_eq!(word(&desk.run(registers(private)).await), "invalid");
}

/// One entry of somebody else's keeps nobody who leaves: not the person, a login, nor a group.
#[tokio::test]
async fn r_13_a_conflict_keeps_nobody_who_leaves() {
    let desk = desk().await;
    desk.run(Command::PersonAdd { id: "hand".to_owned(), groups: Vec::new() }).await.unwrap();
    let ann = ListedPerson { groups: Vec::new(), logins: Vec::new(), ..ann() };
    let answer = desk.apply(desk.signed(&desk.hr, 4, &[ann, person("hand")])).await;
    assert_eq!(word(&answer), "conflict", "{answer:?}");
    assert_eq!(desk.person("ben").await["state"]["is"], "inactive");
    assert_eq!(desk.person("ann").await["groups"], json!([]));
    assert_eq!(desk.whose("1").await, None);
    let source = desk.run(Command::PeopleSourceList).await.unwrap()[0].clone();
    assert_eq!(source["applied"]["version"], 4);
    desk.has_refused_for("people_conflict").await;
}

/// A list of many parts that is interrupted says so, has put out who leaves, and goes on where it was.
#[tokio::test]
async fn a_list_that_is_half_in_force_is_seen_as_that_and_applied_again() {
    let desk = desk().await;
    let many: Vec<_> = (0..90).map(|n| person(&format!("p{n}"))).chain([ann()]).collect();
    let file = desk.signed(&desk.hr, 4, &many);
    // The first part is written, the second is not.
    let pass = || OnCommit::After(Unit::default());
    desk.world.store.on_commit([pass(), OnCommit::Refuse(CommitError::Lost)]);
    let error = desk.apply(file.clone()).await.expect_err("the second part is lost").to_string();
    assert!(error.ends_with("1 of 3 parts are in force: apply it again"), "{error}");
    let source = desk.run(Command::PeopleSourceList).await.unwrap()[0].clone();
    assert_eq!(
        (&source["applied"]["version"], &source["applying"]["version"]),
        (&json!(3), &json!(4))
    );
    assert_eq!(source["applying"]["file"], json!(Sha256Digest::of(file.as_bytes())));
    assert_eq!(desk.person("ben").await["state"]["is"], "inactive", "who leaves goes first");
    let last: PersonId = "p9".parse().unwrap();
    assert_eq!(desk.fact(FactKey::person(&last)).await, None);
    // Neither what was before nor something else under that number.
    refused(&desk, desk.signed(&desk.hr, 3, &[]), "not newer than version 3").await;
    refused(&desk, desk.signed(&desk.hr, 4, &[]), "is in force in part").await;
    let told = desk.apply(file.clone()).await.unwrap();
    assert_eq!(told["parts"], 2, "{told}");
    assert!(desk.fact(FactKey::person(&last)).await.is_some());
    let source = desk.run(Command::PeopleSourceList).await.unwrap()[0].clone();
    assert_eq!((&source["applied"]["version"], source.get("applying")), (&json!(4), None));
    refused(&desk, file, "not newer").await;
}

/// Of two who apply at once, one is told that something changed.
#[tokio::test]
async fn what_changes_while_a_list_is_applied_is_not_written_over() {
    let desk = desk().await;
    let mut ann_left = desk.person("ann").await;
    ann_left["state"] = json!({ "is": "inactive", "since": 1 });
    let key = FactKey::person(&"ann".parse().unwrap());
    let effects = vec![crate::support::put(key, &ann_left)];
    desk.world.store.on_commit([OnCommit::After(Unit { effects, ..Unit::default() })]);
    let moved = ListedPerson { unit: Some("CC-48".to_owned()), ..ann() };
    let answer = desk.apply(desk.signed(&desk.hr, 4, &[moved, ben()])).await;
    assert_eq!(word(&answer), "conflict", "{answer:?}");
    assert_eq!(desk.person("ann").await, ann_left);
}
