//! Receivers that take nothing, or not all, of what they are told; and how many agents are looked through for them.

use std::time::Duration;

use model::{Covers, Sha256Digest};
use pap::receivers::GONE_AFTER;
use pap::{Command, NewToken, ReceiverRegistration};
use secevent::{PollAsked, StreamAsked};
use serde_json::Value;

use crate::receivers::{SESSION_REVOKED, Telling, said, short};

/// What waited while an administrator had suspended the receiver is told when it goes on, however long that was.
#[tokio::test]
async fn a_receiver_that_was_suspended_for_long_is_not_taken_for_gone() {
    let (telling, id) = Telling::of_all().await;
    telling.suspend("billing").await;
    assert_eq!(telling.poll(&id, &[]).await.len(), 1);
    let (name, reason) = ("siem".to_owned(), "because".to_owned());
    let suspend = Command::ReceiverSuspend { name: name.clone(), reason };
    telling.desk.run(suspend).await.expect("it is suspended");
    telling.desk.world.clock.advance(Duration::from_hours(8 * 24));
    telling.desk.run(Command::ReceiverResume { name }).await.expect("it goes on");
    assert_eq!(telling.told(&id).await.len(), 1);
}

/// Agents are looked through once for all receivers, and not at all for people who sponsor none.
#[tokio::test]
async fn who_stopped_is_looked_for_once_for_all_receivers() {
    let (telling, id) = Telling::of_all().await;
    let desk = &telling.desk;
    let second = "second.secret";
    let said = said(desk, Covers::All);
    let digest = Sha256Digest::of(second.as_bytes());
    let (name, audience) = ("second".to_owned(), "https://other.example".to_owned());
    let token = said.token.map(|token| NewToken { digest, ..token });
    let said = ReceiverRegistration { name, audience, token, ..said };
    desk.run(Command::ReceiverAdd(said)).await.expect("it is registered");
    let second = telling.transmitter.known(second).await.expect("it is known");
    let asked = StreamAsked::parse(b"{}").expect("it can be read");
    telling.transmitter.create(&second, asked).await.expect("it is created");
    let both = ["siem", "second"].map(|name| name.parse().expect("a name"));
    let advance = async || {
        let before = desk.world.store.agents_listed();
        for name in &both {
            telling.transmitter.advance(name).await.expect("it goes on");
        }
        desk.world.store.agents_listed() - before
    };
    let leaves = async |id: &str| {
        let id = id.to_owned();
        let add = Command::PersonAdd { id: id.clone(), groups: Vec::new() };
        desk.run(add).await.expect("they are added");
        desk.run(Command::PersonDeactivate { id }).await.expect("they leave");
    };
    leaves("ann").await;
    assert_eq!(advance().await, 1, "who sponsors is looked up");
    leaves("ben").await;
    assert_eq!(advance().await, 0, "they sponsor nothing");
    // Who came to sponsor something meanwhile is known.
    telling.another("zeta").await;
    let other = Command::PersonDeactivate { id: telling.other.to_string() };
    desk.run(other).await.expect("they are gone");
    assert_eq!(advance().await, 1);
    let told: Vec<_> = telling.told(&id).await.iter().map(short).collect();
    assert_eq!(told, [(SESSION_REVOKED.to_owned(), "zeta".to_owned())]);
}

#[tokio::test]
async fn a_receiver_that_is_gone_is_paused_and_told_of_and_goes_on_where_it_was() {
    let (telling, id) = Telling::of_all().await;
    let desk = &telling.desk;
    let (name, known) = ("siem".parse().unwrap(), telling.known().await);
    telling.suspend("billing").await;
    telling.transmitter.advance(&name).await.unwrap();
    let status = async || telling.transmitter.status(&known, &id).await.unwrap()["status"].clone();
    desk.world.clock.advance(GONE_AFTER.checked_sub(Duration::from_secs(1)).unwrap());
    telling.transmitter.advance(&name).await.unwrap();
    assert_eq!(status().await, "enabled");
    desk.world.clock.advance(Duration::from_secs(1));
    telling.transmitter.advance(&name).await.unwrap();
    assert_eq!(status().await, "paused");
    // With the pause people are to be told of it, though the process ended then.
    assert_eq!(telling.findings().await, [("receiver_gone".to_owned(), 1)]);
    desk.world.clock.advance(Duration::from_secs(1));
    let system = desk.world.records("system").await;
    assert!(system.iter().any(|it| it.text_of("event") == "receiver_gone"));
    // While it is paused, it is told of that alone.
    let told = telling.told(&id).await;
    let told: Vec<_> = told.iter().map(short).collect();
    assert_eq!(told, [("stream-updated".to_owned(), id.clone())]);
    telling.suspend("billing").await;
    assert_eq!(telling.told(&id).await, [] as [Value; 0]);
    let resume = Command::ReceiverResume { name: "siem".to_owned() };
    desk.run(resume).await.expect("it goes on");
    assert_eq!(telling.told(&id).await.len(), 2, "nothing is lost");
}

#[tokio::test]
async fn what_a_receiver_refuses_for_good_is_recorded_and_what_can_be_mended_is_told_again() {
    let (telling, id) = Telling::of_all().await;
    telling.suspend("billing").await;
    let known = telling.known().await;
    let jti = telling.poll(&id, &[]).await[0].0.clone();
    let refuse = async |code: &str| {
        let errors = [(jti.clone(), code.to_owned())].into();
        let asked = PollAsked { max: 16, errors, ..PollAsked::default() };
        telling.transmitter.poll(&known, &id, &asked).await.unwrap().sets.len()
    };
    assert_eq!(refuse("invalid_key").await, 1);
    assert_eq!(telling.findings().await, []);
    assert_eq!(refuse("invalid_request").await, 0);
    assert_eq!(telling.findings().await, [("signals_refused".to_owned(), 1)]);
    let system = telling.desk.world.records("system").await;
    assert!(system.iter().any(|it| it.text_of("event") == "signals_refused"));
}

/// What a receiver cannot digest keeps it from nothing else, and is given up in the end; a receiver that takes
/// others meanwhile is not gone.
#[tokio::test]
async fn a_token_that_is_not_taken_keeps_its_receiver_from_no_other() {
    let (telling, id) = Telling::of_all().await;
    let (desk, known) = (&telling.desk, telling.known().await);
    let names: Vec<_> = (0..16).map(|number| format!("bad-{number}")).collect();
    for name in &names {
        telling.another(name).await;
        telling.suspend(name).await;
    }
    telling.suspend("billing").await;
    let bad = telling.poll(&id, &[]).await;
    assert_eq!(bad.len(), 16, "as many as one answer holds");
    let errors = || bad.iter().map(|(jti, _)| (jti.clone(), "invalid_key".to_owned())).collect();
    let asked = PollAsked { max: 1, errors: errors(), ..PollAsked::default() };
    let next = telling.transmitter.poll(&known, &id, &asked).await.expect("it is answered");
    let (good, _) = next.sets.into_iter().next().expect("the last one comes first now");
    assert!(bad.iter().all(|(jti, _)| *jti != good));
    telling.poll(&id, &[good]).await;
    // A week later others were taken, and these never.
    for _ in 0..7 {
        desk.world.clock.advance(GONE_AFTER / 7);
        telling.suspend("billing").await;
        telling.transmitter.advance(known.name()).await.expect("it goes on");
        let status = telling.transmitter.status(&known, &id).await.expect("it is told");
        assert_eq!(status["status"], "enabled");
        let asked = PollAsked { max: 16, errors: errors(), ..PollAsked::default() };
        let sets = telling.transmitter.poll(&known, &id, &asked).await.expect("it is told").sets;
        let good = sets.into_keys().filter(|jti| bad.iter().all(|(bad, _)| bad != jti));
        telling.poll(&id, &good.collect::<Vec<_>>()).await;
    }
    telling.transmitter.advance(known.name()).await.expect("it goes on");
    assert_eq!(telling.poll(&id, &[]).await, []);
    assert_eq!(telling.findings().await, [("signals_refused".to_owned(), 1)]);
    let refused = desk.world.records("system").await;
    let refused: Vec<_> =
        refused.iter().filter(|it| it.text_of("event") == "signals_refused").collect();
    assert_eq!(refused.len(), 1);
    let records = refused[0].value["details"]["records"].as_str().expect("they are named");
    assert_eq!(records.split(' ').count(), 16);
}
