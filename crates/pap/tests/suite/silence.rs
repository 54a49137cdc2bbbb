//! Silence: whose people are unconfirmed, and from when on.

use std::time::Duration;

use model::{Clock as _, FactKey, Heard, Speaker, Timestamp};
use pap::{Command, DirectoryRegistration, StreamRegistration};
use secevent::Polled;
use serde_json::{Value, json};

use crate::desk::word;
use crate::directories::{TOKEN, token, user};
use crate::streams::{CAEP, RISC, SSF, Signals, TOKEN as CAEP_TOKEN, said as registration};
use crate::support::POLICY;

const MINUTE: Duration = Duration::from_mins(1);

/// Until when the speakers for `okta` count as heard.
async fn heard(signals: &Signals) -> Vec<(String, Timestamp)> {
    let place = FactKey::heard(&signals.scene.okta.name);
    let heard = signals.scene.desk.fact(place).await.unwrap_or_else(|| json!({}));
    let heard: Heard = serde_json::from_value(heard).expect("it is one");
    heard.0.into_iter().map(|(speaker, until)| (speaker.to_string(), until)).collect()
}

/// How often it is recorded that somebody was heard again.
async fn again(signals: &Signals) -> usize {
    let records = signals.scene.desk.world.records("system").await;
    records.iter().filter(|it| it.text_of("event") == "heard_again").count()
}

#[tokio::test]
async fn silence_makes_people_unconfirmed_and_nothing_old_breaks_it() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    signals.scene.creates(user("ann")).await;
    let clock = &signals.scene.desk.world.clock;
    let start = clock.now();
    let stream = || "stream/caep".to_owned();
    assert_eq!(heard(&signals).await, [(stream(), start.plus(15 * MINUTE))]);
    // It is not written each time.
    let event = format!("{CAEP}session-presented");
    clock.advance(4 * MINUTE);
    signals.tell(&event, signals.now()).await;
    assert_eq!(heard(&signals).await, [(stream(), start.plus(15 * MINUTE))]);
    clock.advance(2 * MINUTE);
    let token = signals.sign(&signals.claims(&event, signals.now()));
    signals.take(&token).await.expect("it is taken");
    let until = start.plus(21 * MINUTE);
    assert_eq!(heard(&signals).await, [(stream(), until)]);
    assert_eq!(again(&signals).await, 0);
    // Neither the same again, nor one that was held back, nor one of nobody's counts as said now.
    clock.advance(20 * MINUTE);
    signals.take(&token).await.expect("it was taken");
    let mut held_back = signals.claims(&event, signals.now());
    held_back["iat"] = json!(start.as_seconds() + 60);
    held_back["events"] = json!({ event.as_str(): {} });
    signals.take(&signals.sign(&held_back)).await.expect("it is taken");
    let mut foreign = signals.claims(&event, signals.now());
    foreign["aud"] = json!("https://other.example");
    signals.take(&signals.sign(&foreign)).await.expect_err("it is for others");
    assert_eq!(heard(&signals).await, [(stream(), until)]);
    signals.tell(&event, signals.now()).await;
    assert_eq!(heard(&signals).await, [(stream(), clock.now().plus(15 * MINUTE))]);
    assert_eq!(again(&signals).await, 1);
    // A transmitter whose clock is ahead is heard now.
    clock.advance(20 * MINUTE);
    let mut ahead = signals.claims(&event, signals.now());
    ahead["iat"] = json!(signals.now() + 240);
    signals.take(&signals.sign(&ahead)).await.expect("it is taken");
    assert_eq!(heard(&signals).await, [(stream(), clock.now().plus(15 * MINUTE))]);
}

#[tokio::test]
async fn a_directory_is_heard_by_what_it_does_and_who_is_suspended_is_not_waited_for() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    assert_eq!(heard(&signals).await, [], "nobody is waited for who has no bound");
    let add = async |name: &str, silence_min: Option<u32>| {
        let token = token(desk, &format!("{name}.secret"), false);
        let (name, logins) = (name.to_owned(), None);
        let said = DirectoryRegistration { name, logins, token, silence_min };
        word(&desk.run(Command::DirectoryAdd(said)).await)
    };
    assert_eq!(add("none", Some(0)).await, "invalid");
    assert_eq!(add("most", Some(7 * 24 * 60)).await, "done");
    assert_eq!(add("more", Some(7 * 24 * 60 + 1)).await, "invalid");
    assert_eq!(add("entra", Some(60)).await, "done");
    let until = async || -> Value {
        let place = FactKey::heard(&"entra".parse().unwrap());
        desk.fact(place).await.unwrap_or_default()
    };
    let clock = &desk.world.clock;
    let in_an_hour = || json!({ "directory": clock.now().plus(60 * MINUTE).as_millis() });
    assert_eq!(until().await, in_an_hour());
    clock.advance(90 * MINUTE);
    assert!(desk.administration.known_directory("entra.other").await.unwrap().is_none());
    assert_ne!(until().await, in_an_hour());
    let known = async |token: &str| desk.administration.known_directory(token).await.unwrap();
    let entra = known("entra.secret").await.expect("it is known");
    assert_ne!(until().await, in_an_hour(), "nothing that it asked was done yet");
    // Whoever only reads tells of nobody.
    let name = "entra".to_owned();
    let token = token(desk, "entra.reads", true);
    desk.run(Command::DirectoryToken { name, token, alone: false }).await.unwrap();
    let reads = known("entra.reads").await.expect("it is known");
    desk.administration.directory_heard(&reads).await;
    assert_ne!(until().await, in_an_hour());
    desk.administration.directory_heard(&entra).await;
    assert_eq!(until().await, in_an_hour());
    assert_eq!(again(&signals).await, 1);
    let (name, reason) = ("entra".to_owned(), "test".to_owned());
    desk.run(Command::DirectorySuspend { name: name.clone(), reason }).await.unwrap();
    assert_eq!(until().await, json!({}));
    assert!(known("entra.secret").await.is_none());
    desk.administration.directory_heard(&entra).await;
    assert_eq!(until().await, json!({}));
    desk.run(Command::DirectoryResume { name }).await.unwrap();
    assert_eq!(until().await, in_an_hour());
    assert!(desk.administration.known_directory(TOKEN).await.unwrap().is_some());
    assert_eq!(heard(&signals).await, []);
}

/// What is registered without a word of its silence has a bound; `null` is that it has none, and what was
/// registered without one before stays so. Either is said anew.
#[tokio::test]
async fn silence_is_bounded_unless_it_is_said_that_it_is_not() {
    let signals = Signals::set().await;
    let desk = &signals.scene.desk;
    let (now, minutes) = (desk.world.clock.now(), |of: u32| of * MINUTE);
    let until = async |directory: &str| {
        let heard = desk.fact(FactKey::heard(&directory.parse().unwrap())).await;
        let heard: Heard = heard.map(|it| serde_json::from_value(it).unwrap()).unwrap_or_default();
        heard.until()
    };
    let of = |said: Option<Value>, registration: Value| {
        let mut registration = registration;
        registration.as_object_mut().unwrap().remove("silence_min");
        if let Some(said) = said {
            registration["silence_min"] = said;
        }
        registration
    };
    for (number, (said, bound)) in
        [(None, Some(15)), (Some(json!(60)), Some(60)), (Some(Value::Null), None)]
            .into_iter()
            .enumerate()
    {
        let expected = bound.map(|of| now.plus(minutes(of)));
        let name = format!("hr-{number}");
        let token_of = token(desk, &format!("{name}.secret"), false);
        let directory = DirectoryRegistration {
            name: name.clone(),
            logins: None,
            silence_min: None,
            token: token_of,
        };
        let directory = serde_json::from_value(of(said.clone(), json!(directory))).unwrap();
        let told = desk.run(Command::DirectoryAdd(directory)).await.expect("it is registered");
        assert_eq!((&told["silence_min"], until(&name).await), (&json!(bound), expected));
        // A stream, of a directory that has none.
        let nobody = Command::DirectorySilence { name: name.clone(), silence_min: None };
        desk.run(nobody).await.expect("it is said");
        assert_eq!(until(&name).await, None);
        let stream = StreamRegistration {
            name: format!("caep-{number}"),
            directory: name.clone(),
            ..registration(desk, "caep")
        };
        let stream = serde_json::from_value(of(said, json!(stream))).unwrap();
        desk.run(Command::StreamAdd(stream)).await.expect("it is registered");
        assert_eq!(until(&name).await, expected);
        let name = format!("caep-{number}");
        let silence_min = Some(5);
        desk.run(Command::StreamSilence { name, silence_min }).await.expect("it is said");
        assert_eq!(until(&format!("hr-{number}")).await, Some(now.plus(minutes(5))));
    }
    for silence_min in [Some(0), Some(7 * 24 * 60 + 1)] {
        let said = Command::DirectorySilence { name: "okta".to_owned(), silence_min };
        assert_eq!(word(&desk.run(said).await), "invalid");
        let said = Command::StreamSilence { name: "caep".to_owned(), silence_min };
        assert_eq!(word(&desk.run(said).await), "invalid");
    }
    // As it was kept before there was a bound for all.
    let place = FactKey::directory(&signals.scene.okta.name);
    let mut kept = desk.fact(place.clone()).await.expect("it is registered");
    kept.as_object_mut().unwrap().remove("silence_min");
    desk.world.put(place, &kept).await;
    let (name, reason) = (|| "okta".to_owned(), "test".to_owned());
    desk.run(Command::DirectorySuspend { name: name(), reason }).await.unwrap();
    desk.run(Command::DirectoryResume { name: name() }).await.unwrap();
    let known = desk.administration.known_directory(TOKEN).await.unwrap().expect("it is known");
    desk.administration.directory_heard(&known).await;
    assert_eq!(until("okta").await, None);
}

/// Another bound counts from when a stream was heard, and not from when that is said: whoever was silent is so.
#[tokio::test]
async fn another_bound_makes_nobody_heard() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    signals.scene.creates(user("ann")).await;
    let desk = &signals.scene.desk;
    let (clock, start) = (&desk.world.clock, desk.world.clock.now());
    let check = async |silence_min: Option<u32>, expected: Option<Timestamp>| {
        let name = "caep".to_owned();
        desk.run(Command::StreamSilence { name, silence_min }).await.expect("it is said");
        let until = heard(&signals).await.pop().map(|(_, until)| until);
        assert_eq!(until, expected, "{silence_min:?}");
    };
    clock.advance(10 * MINUTE);
    check(Some(30), Some(start.plus(30 * MINUTE))).await;
    clock.advance(25 * MINUTE);
    check(Some(40), Some(start.plus(40 * MINUTE))).await;
    check(Some(5), Some(start.plus(5 * MINUTE))).await;
    check(Some(15), Some(start.plus(15 * MINUTE))).await;
    // Nor is it heard because it goes on, which it did.
    desk.run(Command::StreamResume { name: "caep".to_owned() }).await.expect("it goes on");
    assert_eq!(heard(&signals).await[0].1, start.plus(15 * MINUTE));
    assert_eq!(again(&signals).await, 0);
    signals.tell(&format!("{CAEP}session-presented"), signals.now()).await;
    assert_eq!(heard(&signals).await[0].1, clock.now().plus(15 * MINUTE));
    assert_eq!(again(&signals).await, 1);
    // Nobody waited for it: the bound begins then.
    check(None, None).await;
    clock.advance(MINUTE);
    check(Some(5), Some(clock.now().plus(5 * MINUTE))).await;
}

/// Once the clock is set back, who was heard meanwhile is heard anew, or its bound said anew.
#[tokio::test]
async fn who_was_heard_while_the_clock_ran_ahead_is_so_by_the_right_one() {
    const AHEAD: i64 = 6 * 60 * 60 * 1_000;
    for bound in [None, Some(30), Some(15)] {
        let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
        signals.scene.creates(user("ann")).await;
        let (desk, event) = (&signals.scene.desk, format!("{CAEP}session-presented"));
        let until = |minutes: u32| desk.world.clock.now().plus(minutes * MINUTE);
        desk.world.clock.step_wall(AHEAD);
        signals.tell(&event, signals.now()).await;
        assert_eq!(heard(&signals).await[0].1, until(15));
        desk.world.clock.step_wall(-AHEAD);
        desk.world.authority.trust_clock();
        if let Some(minutes) = bound {
            let (name, silence_min) = ("caep".to_owned(), Some(minutes));
            desk.run(Command::StreamSilence { name, silence_min }).await.expect("it is said");
        } else {
            // What is late tells nothing of the clock.
            let ahead = heard(&signals).await;
            let issued = signals.now() - 3 * 24 * 3_600;
            let mut late = signals.claims(&event, issued);
            late["iat"] = json!(issued);
            signals.take(&signals.sign(&late)).await.expect("it is taken");
            assert_eq!(heard(&signals).await, ahead);
            signals.tell(&event, signals.now()).await;
        }
        assert_eq!(heard(&signals).await[0].1, until(bound.unwrap_or(15)), "{bound:?}");
    }
}

/// What is under way while a bound is shortened is heard for the new one.
#[tokio::test]
async fn a_bound_that_is_shortened_holds_for_what_began_before() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(60), ..it }).await;
    signals.scene.creates(user("ann")).await;
    let (desk, okta) = (&signals.scene.desk, &signals.scene.okta);
    let silence = async |minutes: u32| {
        let (name, silence_min) = ("caep".to_owned(), Some(minutes));
        desk.run(Command::StreamSilence { name, silence_min }).await.expect("it is said");
        let (name, silence_min) = ("okta".to_owned(), Some(minutes));
        desk.run(Command::DirectorySilence { name, silence_min }).await.expect("it is said");
    };
    silence(60).await;
    let caep = signals.receiver.known(("caep", CAEP_TOKEN)).await.expect("it is known");
    let began = desk.administration.known_directory(TOKEN).await.unwrap().expect("it is known");
    assert_eq!(began.name, okta.name);
    let event = format!("{CAEP}session-presented");
    desk.world.clock.advance(10 * MINUTE);
    silence(5).await;
    let token = signals.sign(&signals.claims(&event, signals.now()));
    Box::pin(signals.receiver.take(&caep, &token)).await.expect("it is taken");
    desk.administration.directory_heard(&began).await;
    let until = desk.world.clock.now().plus(5 * MINUTE);
    let told = heard(&signals).await.into_iter().map(|(_, until)| until).collect::<Vec<_>>();
    assert_eq!(told, [until, until]);
}

#[tokio::test]
async fn a_stream_that_is_suspended_is_not_waited_for() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(1), ..it }).await;
    let desk = &signals.scene.desk;
    assert_eq!(heard(&signals).await.len(), 1);
    let name = || "caep".to_owned();
    let reason = "test".to_owned();
    desk.run(Command::StreamSuspend { name: name(), reason }).await.unwrap();
    assert_eq!(heard(&signals).await, []);
    desk.run(Command::StreamResume { name: name() }).await.unwrap();
    let until = desk.world.clock.now().plus(MINUTE);
    assert_eq!(
        heard(&signals).await,
        [(Speaker::stream(&name().parse().unwrap()).to_string(), until)]
    );
}

/// What rests on people says until when they count as confirmed.
#[tokio::test]
async fn a_decision_reads_until_when_the_people_behind_it_are_confirmed() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    let world = &signals.scene.desk.world;
    let sponsor = world.standing.sponsor.id.to_string();
    let standing = async || {
        let read = world.authority.pip().standing(world.standing.instance.id).await;
        read.expect("it can be read").value.clone()
    };
    assert!(standing().await.heard.is_empty(), "nobody tells of the sponsor");
    let name = "okta".to_owned();
    signals.scene.desk.run(Command::DirectoryAdopt { name, person: sponsor }).await.unwrap();
    let now = world.clock.now();
    let until = now.plus(15 * MINUTE);
    let read = standing().await;
    assert_eq!(read.heard.get(&signals.scene.okta.name), Some(&until));
    assert!(read.is_confirmed(now) && !read.is_confirmed(until));
    world.clock.advance(10 * MINUTE);
    signals.tell(&format!("{CAEP}session-presented"), signals.now()).await;
    assert!(standing().await.is_confirmed(until));
}

/// The shipped rule, alone.
fn starter_confirmed() -> &'static str {
    let starter = pdp::STARTER_POLICY;
    let from = starter.find("@id(\"starter-confirmed\")").expect("it is shipped");
    let rule = &starter[from..];
    &rule[..=rule.find(';').expect("it ends")]
}

/// By the shipped rule nothing does more than read, once a directory that had to be heard is silent for too long,
/// until it is heard.
#[tokio::test]
async fn silence_denies_what_does_more_than_read_and_lets_agents_read() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    let desk = &signals.scene.desk;
    let (name, person) = ("okta".to_owned(), desk.world.standing.sponsor.id.to_string());
    desk.run(Command::DirectoryAdopt { name, person }).await.expect("they are of it now");
    desk.world.publish(&[POLICY, starter_confirmed()].concat()).await;
    let check = async |refund: &str, when: &str| {
        assert_eq!(desk.call("lookup").await, "permitted", "{when}: it reads");
        assert_eq!(desk.call("refund").await, refund, "{when}: it moves money");
    };
    check("permitted", "it was just heard").await;
    let last = Duration::from_millis(1);
    desk.world.clock.advance((15 * MINUTE).saturating_sub(last));
    check("permitted", "within the bound").await;
    desk.world.clock.advance(last);
    check("forbidden", "beyond the bound").await;
    signals.tell(&format!("{CAEP}session-presented"), signals.now()).await;
    check("permitted", "it is heard again").await;
}

/// A poll breaks the silence only if nothing that it gave is still to be taken, or was refused.
#[tokio::test]
async fn a_poll_of_which_something_was_not_taken_is_not_heard() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    signals.scene.creates(user("ann")).await;
    let clock = &signals.scene.desk.world.clock;
    let until = clock.now().plus(15 * MINUTE);
    let event = format!("{RISC}account-disabled");
    // Whatever is taken was issued long ago: that alone counts for nothing.
    let mut old = signals.claims(&event, signals.now());
    let good = signals.sign(&old);
    old["aud"] = json!("https://other.example");
    let refused = signals.sign(&old);
    clock.advance(10 * MINUTE);
    let poll = async |sets: Value, more: bool| {
        let polled = json!({ "sets": sets, "moreAvailable": more }).to_string();
        let polled = Polled::parse(polled.as_bytes()).expect("an answer");
        let stream = signals.receiver.stream(&"caep".parse().unwrap()).await.unwrap().unwrap();
        let told = Box::pin(signals.receiver.take_polled(&stream, &polled)).await;
        (told.ack.len(), told.errors.len(), heard(&signals).await[0].1)
    };
    assert_eq!(poll(json!({ "a": refused }), false).await, (0, 1, until));
    assert_eq!(poll(json!({ "a": good, "b": refused }), false).await, (1, 1, until));
    assert_eq!(poll(json!({ "a": good }), true).await, (1, 0, until));
    assert_eq!(poll(json!({}), true).await, (0, 0, until));
    let keys = signals.unpublish();
    assert_eq!(poll(json!({ "a": good }), false).await, (0, 0, until));
    signals.republish(keys);
    let now = clock.now().plus(15 * MINUTE);
    assert_eq!(poll(json!({ "a": good }), false).await, (1, 0, now));
    clock.advance(10 * MINUTE);
    assert_eq!(poll(json!({}), false).await, (0, 0, clock.now().plus(15 * MINUTE)));
}

/// A stream that tells nothing by its transmitter's own word is not heard, by whatever comes of it, until
/// it tells something again or an administrator lets it go on.
#[tokio::test]
async fn a_stream_that_is_paused_is_not_heard() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    let desk = &signals.scene.desk;
    let is_heard = async |status: Option<(&str, i64)>| {
        desk.world.clock.advance(10 * MINUTE);
        let (name, at) =
            status.map_or(("verification", signals.now()), |(_, at)| ("stream-updated", at));
        let event = format!("{SSF}{name}");
        let mut claims = signals.claims(&event, at);
        if let Some((status, _)) = status {
            claims["events"][&event]["status"] = json!(status);
        }
        signals.take(&signals.sign(&claims)).await.expect("it is taken");
        let stream = signals.receiver.stream(&"caep".parse().unwrap()).await.unwrap().unwrap();
        let nothing = Polled::parse(br#"{"sets":{}}"#).unwrap();
        Box::pin(signals.receiver.take_polled(&stream, &nothing)).await;
        heard(&signals).await[0].1 == desk.world.clock.now().plus(15 * MINUTE)
    };
    assert!(is_heard(None).await);
    let paused = signals.now() + 600;
    assert!(!is_heard(Some(("paused", paused))).await);
    assert!(!is_heard(None).await);
    assert!(!is_heard(Some(("enabled", paused))).await, "it was paused at the same time, or later");
    assert!(is_heard(Some(("enabled", paused + 1))).await);
    assert!(is_heard(Some(("disabled", paused - 1))).await, "it is older");
    assert!(!is_heard(Some(("disabled", paused + 2))).await);
    desk.run(Command::StreamResume { name: "caep".to_owned() }).await.unwrap();
    assert!(is_heard(None).await);
}

/// Its operator let it go on and said nothing of it: that it tells something says so.
#[tokio::test]
async fn a_paused_stream_that_tells_all_the_same_is_heard_again() {
    let signals = Signals::with(|it| StreamRegistration { silence_min: Some(15), ..it }).await;
    let clock = &signals.scene.desk.world.clock;
    let (paused, at) = (format!("{SSF}stream-updated"), signals.now());
    let mut claims = signals.claims(&paused, at);
    claims["events"][&paused]["status"] = json!("paused");
    signals.take(&signals.sign(&claims)).await.expect("it is taken");
    let opted = signals.claims(&format!("{RISC}opt-in"), at);
    let verified = signals.claims(&format!("{SSF}verification"), at);
    clock.advance(10 * MINUTE);
    let is_heard = async || heard(&signals).await[0].1 == clock.now().plus(15 * MINUTE);
    signals.take(&signals.sign(&opted)).await.expect("it is taken");
    assert!(!is_heard().await, "it was issued before");
    let mut later = verified;
    later["iat"] = json!(signals.now());
    signals.take(&signals.sign(&later)).await.expect("it is taken");
    assert!(!is_heard().await, "what is told of the stream itself comes all the same");
    signals.tell(&format!("{RISC}opt-in"), signals.now()).await;
    assert!(is_heard().await);
    let system = signals.scene.desk.world.records("system").await;
    assert!(system.iter().any(|it| it.text_of("event") == "stream_tells_again"));
    clock.advance(10 * MINUTE);
    let verified = signals.claims(&format!("{SSF}verification"), signals.now());
    signals.take(&signals.sign(&verified)).await.expect("it is taken");
    assert!(is_heard().await, "and so does whatever follows");
}
