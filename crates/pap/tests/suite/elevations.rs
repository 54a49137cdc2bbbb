//! One person asks for an elevation, another approves it, and it ends: by its time, by whoever takes it
//! back, with its task, and with those who wanted it.

use std::time::Duration;

use keys::{KeyAlgorithm, SigningKey};
use model::{
    Agreed, Clock as _, ElevationId, FactKey, Harm, InstanceId, MandateBasis, Person, PersonId,
    PersonState, Sha256Digest, TaskId, TaskSubject,
};
use oauth::word::{self, Word};
use pap::{Command, ElevationAsked};
use serde_json::{Value, json};

use crate::desk::{Desk, ISSUER, word as word_of};
use crate::handed_on::{CHILD, PART, calls, hand_on};
use crate::support::{Facts, World};

/// A deployment with two administrators, and work that was handed on.
async fn desk() -> (Desk, [PersonId; 2]) {
    desk_with(|_| {}).await
}

/// The same, with other facts than usual.
async fn desk_with(change: impl FnOnce(&mut Facts)) -> (Desk, [PersonId; 2]) {
    let world = World::with(|facts| {
        change(facts);
        facts.other.groups.insert("administrators".parse().expect("a group"));
        facts.task.deadline = facts.task.opened.plus(Duration::from_hours(20 * 24));
    })
    .await;
    hand_on(&world).await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    (Desk::over(world).await, people)
}

/// What is asked for a refund of the child.
fn wish() -> ElevationAsked {
    ElevationAsked {
        task: TaskId::from_bytes(PART).to_string(),
        name: "month-end".to_owned(),
        tools: vec!["crm/refund".to_owned()],
        max_calls: None,
        lasts_s: 900,
        reason: "the lead is busy".to_owned(),
    }
}

fn ask(change: impl FnOnce(&mut ElevationAsked)) -> Command {
    let mut asked = wish();
    change(&mut asked);
    Command::ElevationAsk { asked, word: None }
}

fn approve(id: &str) -> Command {
    Command::ElevationApprove { id: id.to_owned(), word: None }
}

fn revoke(id: &str) -> Command {
    Command::ElevationRevoke { id: id.to_owned(), reason: "done".to_owned() }
}

/// What `by` asks for, as it is named from then on.
async fn asked(desk: &Desk, by: &PersonId, change: impl FnOnce(&mut ElevationAsked)) -> String {
    let told = desk.run_as(by, ask(change)).await.expect("it waits");
    told["waits"].as_str().expect("an id").to_owned()
}

async fn refunds(desk: &Desk) -> String {
    calls(desk, CHILD, "refund").await
}

/// The newest decision on a call.
async fn newest(desk: &Desk) -> Value {
    desk.world.records("decision").await.pop().expect("a decision").value
}

#[tokio::test]
async fn r_54_two_people_elevate_a_task_and_either_takes_it_back() {
    let (desk, [a, b]) = desk().await;
    assert_eq!(calls(&desk, CHILD, "lookup").await, "permitted");
    assert_eq!(refunds(&desk).await, "outside_scope");
    let id = asked(&desk, &a, |_| {}).await;
    assert_eq!(refunds(&desk).await, "outside_scope", "nobody has approved it");
    let own = desk.run_as(&a, approve(&id)).await;
    let why = own.expect_err("it takes another").to_string();
    assert!(why.ends_with("nobody approves what they asked for themselves"), "{why}");
    assert_eq!(refunds(&desk).await, "outside_scope");
    let told = desk.run_as(&b, approve(&id)).await.expect("it is approved");
    assert_eq!((&told["elevation"], &told["name"]), (&json!(id), &json!("month-end")));
    assert_eq!(refunds(&desk).await, "permitted");
    let decision = newest(&desk).await;
    assert_eq!((&decision["elevation"], &decision["agent"]), (&json!(id), &json!("reader")));
    assert_eq!(word_of(&desk.run_as(&b, approve(&id)).await), "invalid", "once");
    // Of the chain, and in the tree, everybody sees by what.
    let chain = Command::LogChain { id: decision["id"].as_str().expect("an id").to_owned() };
    let chain = desk.run(chain).await.expect("it is traced");
    let elevation = &chain["elevation"];
    assert_eq!((&elevation["asked_by"], &elevation["state"]["by"]), (&json!(a), &json!(b)));
    assert_eq!(elevation["reason"], "the lead is busy");
    let show = Command::TaskShow { id: desk.world.standing.task.id.to_string() };
    let tree = desk.run(show).await.expect("it is shown");
    assert_eq!(tree["elevations"], json!([]));
    assert_eq!(tree["parts"][0]["elevations"][0]["id"], json!(id));
    // What the task holds anyway needs none.
    assert_eq!(calls(&desk, CHILD, "lookup").await, "permitted");
    assert!(newest(&desk).await.get("elevation").is_none());
    desk.run_as(&a, revoke(&id)).await.expect("it is taken back");
    assert_eq!(refunds(&desk).await, "outside_scope");
    assert_eq!(word_of(&desk.run_as(&b, revoke(&id)).await), "invalid", "once");
    assert_eq!(word_of(&desk.run_as(&b, approve(&id)).await), "invalid", "it does not come back");
    let listed = desk.run(Command::ElevationList).await.expect("they are listed");
    assert_eq!(listed[0]["state"]["is"], "revoked");
    desk.world.drained().await;
    let replayed = desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
    desk.has_refused_for("approved_by_the_same_person").await;
}

/// Every sequence of four of: one approves, the other approves, the first takes it back, forty minutes
/// pass. The child refunds only if the other approved what the first asked for within an hour, and for
/// half an hour.
#[tokio::test]
async fn r_54_nothing_is_elevated_by_one_alone_whatever_the_order() {
    let (desk, [a, b]) = desk().await;
    let minutes = |minutes: u64| Duration::from_mins(minutes);
    for sequence in 0..256_u32 {
        let id = asked(&desk, &a, |wish| wish.lasts_s = 30 * 60).await;
        let since = desk.world.clock.monotonic();
        let (mut until, mut revoked) = (None, false);
        for step in (0..4).map(|place| (sequence >> (2 * place)) & 3) {
            let now = desk.world.clock.monotonic();
            match step {
                0 => drop(desk.run_as(&a, approve(&id)).await),
                1 => {
                    let _ = desk.run_as(&b, approve(&id)).await;
                    if !revoked && now < since + minutes(60) {
                        until = until.or(Some(now + minutes(30)));
                    }
                }
                2 => {
                    let _ = desk.run_as(&a, revoke(&id)).await;
                    (until, revoked) = (None, true);
                }
                _ => desk.world.clock.advance(minutes(40)),
            }
        }
        let now = desk.world.clock.monotonic();
        let expected =
            if until.is_some_and(|until| now < until) { "permitted" } else { "outside_scope" };
        assert_eq!(refunds(&desk).await, expected, "sequence {sequence:#x}");
        let _ = desk.run_as(&b, revoke(&id)).await;
    }
}

/// What becomes of who wants an elevation.
#[derive(Clone, Copy, Debug)]
enum Left {
    Stays,
    Leaves,
    ComesBack,
}

impl Left {
    async fn happens(self, desk: &Desk, person: &PersonId) {
        let found = desk.fact(FactKey::person(person)).await.expect("they are registered");
        let mut found: Person = serde_json::from_value(found).expect("a person");
        let now = desk.world.clock.now();
        found.state = match self {
            Self::Stays => return,
            Self::Leaves => PersonState::Inactive { since: now },
            Self::ComesBack => PersonState::Active { authorization_cutoff: Some(now) },
        };
        desk.world.put(FactKey::person(person), &found).await;
    }
}

/// Who asked and who approved stand by it as long as it lasts; before it is approved, who asked.
#[tokio::test]
async fn r_54_an_elevation_ends_with_who_asked_for_it_and_with_who_approved_it() {
    for left in [Left::Stays, Left::Leaves, Left::ComesBack] {
        for (early, who) in [(true, 0), (false, 0), (false, 1)] {
            let (desk, [a, b]) = desk().await;
            let groups = vec!["administrators".to_owned()];
            desk.run(Command::PersonAdd { id: "carol".to_owned(), groups }).await.expect("added");
            let wanted = ["carol".parse().expect("a person"), b];
            let id = asked(&desk, &wanted[0], |_| {}).await;
            if early {
                left.happens(&desk, &wanted[0]).await;
            }
            let approved = desk.run_as(&wanted[1], approve(&id)).await;
            let stays = matches!(left, Left::Stays);
            assert_eq!(word_of(&approved), if early && !stays { "invalid" } else { "done" });
            if !early {
                assert_eq!(refunds(&desk).await, "permitted");
                left.happens(&desk, &wanted[who]).await;
            }
            let expected = if stays { "permitted" } else { "outside_scope" };
            assert_eq!(refunds(&desk).await, expected, "{left:?} {who} {early}");
            let replayed = desk.run_as(&a, Command::LogReplay).await.expect("it is replayed");
            assert_eq!(replayed["differ"], json!([]));
        }
    }
}

/// It is over with its time, and with its task; of a task that is over there is none.
#[tokio::test]
async fn r_54_an_elevation_is_over_with_its_time_and_with_its_task() {
    let (desk, [a, b]) = desk().await;
    let id = asked(&desk, &a, |_| {}).await;
    desk.run_as(&b, approve(&id)).await.expect("it is approved");
    desk.world.clock.advance(Duration::from_millis(15 * 60 * 1_000 - 1));
    assert_eq!(refunds(&desk).await, "permitted");
    desk.world.clock.advance(Duration::from_millis(1));
    assert_eq!(refunds(&desk).await, "outside_scope");
    let (again, waiting) = (asked(&desk, &a, |_| {}).await, asked(&desk, &a, |_| {}).await);
    desk.run_as(&b, approve(&again)).await.expect("what is over is in nobody's way");
    let end = Command::TaskEnd { id: wish().task, reason: "done".to_owned() };
    desk.run(end).await.expect("it ends");
    assert_eq!(refunds(&desk).await, "task_not_open");
    assert_eq!(word_of(&desk.run_as(&b, approve(&waiting)).await), "invalid");
    assert_eq!(word_of(&desk.run_as(&a, ask(|_| {})).await), "invalid");
}

/// One that another instance holds since is not that for which it was asked.
#[tokio::test]
async fn r_54_whoever_takes_the_task_over_is_not_elevated() {
    let (desk, [a, b]) = desk().await;
    let (first, second) = (asked(&desk, &a, |_| {}).await, asked(&desk, &a, |_| {}).await);
    desk.run_as(&b, approve(&first)).await.expect("it is approved");
    let place = FactKey::task(TaskId::from_bytes(PART));
    let mut task = desk.fact(place.clone()).await.expect("a task");
    let instance = FactKey::instance(InstanceId::from_bytes(CHILD));
    let mut next = desk.fact(instance).await.expect("an instance");
    let id = InstanceId::from_bytes([14; 16]);
    (next["id"], task["instance"]) = (json!(id), json!(id));
    desk.world.put(FactKey::instance(id), &next).await;
    desk.world.put(place, &task).await;
    assert_eq!(calls(&desk, [14; 16], "lookup").await, "permitted");
    assert_eq!(calls(&desk, [14; 16], "refund").await, "outside_scope");
    assert_eq!(refunds(&desk).await, "task_not_open");
    assert_eq!(word_of(&desk.run_as(&b, approve(&second)).await), "invalid");
}

/// Nobody is asked to approve what comes to nothing, lasts too long or is no tool.
#[tokio::test]
async fn r_54_what_no_elevation_lifts_is_not_asked_for() {
    let check = async |change: fn(&mut ElevationAsked), expected: &str| {
        let world = World::with(|facts| {
            facts.agent.ceiling.tools =
                ["crm/lookup", "crm/refund"].map(|tool| tool.parse().expect("a tool")).into();
        });
        let desk = Desk::over(world.await).await;
        let by = desk.world.standing.sponsor.id.clone();
        let own = desk.world.standing.task.id.to_string();
        let answer = desk.run_as(
            &by,
            ask(|wish| {
                wish.task = own;
                change(wish);
            }),
        );
        assert_eq!(word_of(&answer.await), expected);
    };
    check(|_| {}, "done").await;
    check(|wish| wish.tools = vec!["crm/deploy".to_owned()], "invalid").await;
    check(|wish| wish.tools.push("crm/nothing".to_owned()), "missing").await;
    check(|wish| wish.tools = vec!["crm/*".to_owned()], "missing").await;
    check(|wish| wish.tools.clear(), "invalid").await;
    check(|wish| wish.tools = vec!["crm/refund".to_owned(); 16], "done").await;
    check(|wish| wish.tools = vec!["crm/refund".to_owned(); 17], "invalid").await;
    check(|wish| wish.lasts_s = 3_600, "done").await;
    check(|wish| wish.lasts_s = 3_601, "invalid").await;
    check(|wish| wish.lasts_s = u64::MAX, "invalid").await;
    check(|wish| wish.lasts_s = 0, "invalid").await;
    check(|wish| wish.name = "Month end".to_owned(), "invalid").await;
    check(|wish| wish.task = TaskId::from_bytes([77; 16]).to_string(), "missing").await;
}

fn refund_of(facts: &mut Facts) -> &mut model::Tool {
    facts.tools.iter_mut().find(|tool| tool.tool.to_string() == "crm/refund").expect("a tool")
}

/// The person `other` consented to that refunds do `harm`.
pub(crate) fn consented(facts: &mut Facts, harm: &[Harm]) {
    let subject = facts.other.id.clone();
    facts.task.subject = TaskSubject::OnBehalfOf { person: subject.clone() };
    let refund = "crm/refund".parse().expect("a tool");
    let harm = [(refund, harm.iter().copied().collect())].into();
    let agreed = Agreed { harm, delegable: true, ..Agreed::default() };
    let request = Sha256Digest::of(b"what they were shown");
    facts.mandate.basis =
        MandateBasis::Consented { subject, request, once: true, agreed, session: None };
}

/// What the kernel would deny all the same is refused when it is asked for, and what to do is said.
#[tokio::test]
async fn r_54_what_would_be_denied_all_the_same_is_not_asked_for() {
    let check = async |change: fn(&mut Facts), expected: Result<(), &str>| {
        let (desk, [a, _]) = desk_with(change).await;
        let told = desk.run_as(&a, ask(|_| {})).await.map(drop).map_err(|error| error.to_string());
        match expected {
            Ok(()) => assert_eq!(told, Ok(())),
            Err(why) => assert!(told.as_ref().is_err_and(|it| it.contains(why)), "{told:?}"),
        }
        // The task that the work began with is not one that was handed on.
        let root = desk.world.standing.task.id.to_string();
        let answer = desk.run_as(&a, ask(|wish| wish.task = root)).await;
        let is_of_part = expected.is_err_and(|why| why.contains("handed on"));
        assert_eq!(word_of(&answer) == "done", expected.is_ok() || is_of_part);
    };
    check(|_| {}, Ok(())).await;
    check(|facts| refund_of(facts).not_delegable = true, Err("may not be handed on")).await;
    check(|facts| refund_of(facts).requires_subject = true, Err("needs a person")).await;
    let touches_other = |facts: &mut Facts| {
        refund_of(facts).data = ["orders".parse().expect("a category")].into();
        facts.purpose.data = ["customers".parse().expect("a category")].into();
    };
    check(touches_other, Err("beyond the mandate")).await;
    let for_a_person = |facts: &mut Facts| {
        refund_of(facts).requires_subject = true;
        consented(facts, &[Harm::MovesMoney]);
    };
    check(for_a_person, Ok(())).await;
    check(|facts| consented(facts, &[Harm::ReadsData]), Err("consent anew")).await;
}

/// Of two that name one tool, and of more than four, there is none; and the calls of one are counted,
/// as everything above counts them.
#[tokio::test]
async fn r_54_a_task_has_few_elevations_and_each_is_limited() {
    let (desk, [a, b]) = desk().await;
    let id = asked(&desk, &a, |wish| wish.max_calls = Some(1)).await;
    let same = asked(&desk, &a, |wish| wish.tools.push("crm/deploy".to_owned())).await;
    desk.run_as(&b, approve(&id)).await.expect("it is approved");
    assert_eq!(word_of(&desk.run_as(&b, approve(&same)).await), "invalid");
    assert_eq!(refunds(&desk).await, "permitted");
    assert_eq!(refunds(&desk).await, "limit_reached");
    assert_eq!(calls(&desk, CHILD, "lookup").await, "permitted");
    desk.run_as(&b, revoke(&id)).await.expect("it is taken back");
    desk.run_as(&b, approve(&same)).await.expect("it is alone now");
    assert_eq!(refunds(&desk).await, "permitted");
    desk.run_as(&b, revoke(&same)).await.expect("it is taken back");
    let mut tool = desk.world.standing.tools[0].clone();
    for number in 0..=model::ELEVATIONS_MAX {
        tool.tool = format!("crm/more-{number}").parse().expect("a tool");
        desk.world.put(FactKey::tool(&tool.tool), &tool).await;
        let id = asked(&desk, &a, |wish| wish.tools = vec![tool.tool.to_string()]).await;
        let expected = if number < model::ELEVATIONS_MAX { "done" } else { "invalid" };
        assert_eq!(word_of(&desk.run_as(&b, approve(&id)).await), expected, "{number}");
    }
    let replayed = desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
}

/// Where all who come look alike, a founder signs for what was asked: for nothing else, and once.
#[tokio::test]
async fn r_54_a_founder_approves_by_their_word_what_it_says() {
    let (desk, [a, b]) = desk().await;
    let key = SigningKey::generate(KeyAlgorithm::Es256).expect("a key");
    let place = FactKey::from_text(&format!("founder-key/{b}"));
    desk.world.put(place, &key.verifying().to_jwk()).await;
    let signed = |command: Value, jti: &str| {
        let now = desk.world.clock.now().as_seconds();
        let word = Word { command, jti: jti.to_owned(), exp: now + word::LIFETIME_MAX_S };
        Some(word::make((b.as_str(), ISSUER), &key, now, &word).expect("signed"))
    };
    let (id, other) =
        (asked(&desk, &a, |_| {}).await, asked(&desk, &a, |wish| wish.lasts_s = 9).await);
    let digest = async |id: &str| {
        let id: ElevationId = id.parse().expect("an id");
        let found = desk.fact(FactKey::elevation(id)).await.expect("it was asked for");
        serde_json::from_value::<model::Elevation>(found).expect("an elevation").digest()
    };
    let approval = |id: &str, digest: &Sha256Digest| json!({ "do": "elevation-approve", "id": id, "digest": digest });
    let (own, others) = (digest(&id).await, digest(&other).await);
    for command in [
        approval(&id, &others),
        approval(&other, &others),
        json!({ "do": "elevation-approve", "id": id }),
        json!({ "do": "elevation-ask", "asked": wish() }),
    ] {
        let word = signed(command.clone(), "1");
        let answer = desk.run_as(&a, Command::ElevationApprove { id: id.clone(), word }).await;
        assert_eq!(word_of(&answer), "refused", "{command}");
        assert_eq!(refunds(&desk).await, "outside_scope");
    }
    let word = signed(approval(&id, &own), "1");
    let command = Command::ElevationApprove { id: id.clone(), word: word.clone() };
    desk.run_as(&a, command.clone()).await.expect("it is approved");
    assert_eq!(refunds(&desk).await, "permitted");
    assert_eq!(word_of(&desk.run_as(&a, command).await), "invalid");
    // What the founder asked for by their word, they do not approve.
    let said = json!({ "do": "elevation-ask", "asked": wish() });
    let command = Command::ElevationAsk { asked: wish(), word: signed(said, "2") };
    let told = desk.run_as(&a, command.clone()).await.expect("it waits");
    assert_eq!(word_of(&desk.run_as(&a, command).await), "conflict", "once");
    let id = told["waits"].as_str().expect("an id").to_owned();
    let word = signed(approval(&id, &digest(&id).await), "3");
    let own = desk.run_as(&a, Command::ElevationApprove { id: id.clone(), word }).await;
    assert_eq!(word_of(&own), "refused");
}

/// Whoever is the service's own user and holds a founder's key is one: at its socket a founder asks, and
/// another approves.
#[tokio::test]
async fn r_54_the_services_own_user_neither_asks_nor_approves() {
    for development in [false, true] {
        let desk = founded(development).await;
        let user = pap::BOOTSTRAP.parse().expect("a person");
        let own = desk.world.standing.task.id.to_string();
        let own = || ask(|wish| wish.task = own.clone());
        let alone = desk.run_as(&user, own()).await;
        assert_eq!(word_of(&alone), if development { "done" } else { "refused" });
        let by = desk.world.standing.sponsor.id.clone();
        let asked = desk.run_as(&by, own()).await.expect("it waits");
        let id = asked["waits"].as_str().expect("an id");
        let approved = desk.run_as(&user, approve(id)).await;
        assert_eq!(word_of(&approved), if development { "done" } else { "refused" });
        if !development {
            let why = approved.expect_err("it is refused").to_string();
            assert!(why.contains("`--as`"), "{why}");
            desk.has_refused_for("word_missing").await;
        }
    }
}

/// A deployment for development has one administrator, who approves what they asked for.
#[tokio::test]
async fn in_a_deployment_for_development_the_one_administrator_approves() {
    for (development, expected) in [(true, "done"), (false, "refused")] {
        let desk = founded(development).await;
        let own = desk.world.standing.task.id.to_string();
        let by = desk.world.standing.sponsor.id.clone();
        let id = asked(&desk, &by, |wish| wish.task = own).await;
        assert_eq!(word_of(&desk.run(approve(&id)).await), expected);
    }
}

/// A deployment that was founded.
async fn founded(development: bool) -> Desk {
    let world = World::new().await;
    crate::desk::found(&world, development).await;
    Desk::over(world).await
}

/// Taking one back waits for no clock; approving one does.
#[tokio::test]
async fn r_54_an_elevation_is_taken_back_though_the_clock_is_unsure() {
    let (desk, [a, b]) = desk().await;
    let (first, second) = (asked(&desk, &a, |_| {}).await, asked(&desk, &a, |_| {}).await);
    desk.run_as(&b, approve(&first)).await.expect("it is approved");
    desk.world.clock.step_wall(5_000);
    assert_eq!(word_of(&desk.run_as(&b, approve(&second)).await), "unavailable");
    assert_eq!(word_of(&desk.run_as(&b, revoke(&first)).await), "done");
    desk.run(Command::ClockTrust { reason: "looked".to_owned() }).await.expect("it is trusted");
    assert_eq!(refunds(&desk).await, "outside_scope");
}

/// What is for emergencies is used by nobody alone, though they say so twice, and not a moment beyond its time;
/// no more is asked for than an hour, and what waits is approved within an hour or not at all.
#[tokio::test]
async fn n_098_an_elevation_is_used_by_nobody_alone_and_not_beyond_its_time() {
    let (desk, [a, b]) = desk().await;
    let clock = &desk.world.clock;
    let too_long = model::ELEVATION_MAX.as_secs() + 1;
    assert_eq!(word_of(&desk.run_as(&a, ask(|wish| wish.lasts_s = too_long)).await), "invalid");
    let id = asked(&desk, &a, |wish| wish.lasts_s = 60).await;
    for _ in 0..2 {
        assert_eq!(word_of(&desk.run_as(&a, approve(&id)).await), "refused");
        assert_eq!(refunds(&desk).await, "outside_scope");
    }
    desk.run_as(&b, approve(&id)).await.expect("it is approved");
    clock.advance(Duration::from_millis(59_999));
    assert_eq!(refunds(&desk).await, "permitted");
    clock.advance(Duration::from_millis(1));
    assert_eq!(refunds(&desk).await, "outside_scope");
    let denied = newest(&desk).await;
    assert_eq!((&denied["decision"], denied.get("elevation")), (&json!("deny"), None));
    assert_eq!(word_of(&desk.run_as(&b, approve(&id)).await), "invalid", "it is not prolonged");
    let late = asked(&desk, &a, |_| {}).await;
    clock.advance(model::ELEVATION_WAITS);
    assert_eq!(word_of(&desk.run_as(&b, approve(&late)).await), "invalid");
    assert_eq!(refunds(&desk).await, "outside_scope");
    desk.has_refused_for("approved_by_the_same_person").await;
}
