//! One administrator stops at once, two different ones start again.

use std::time::Duration;

use keys::{KeyAlgorithm, SigningKey};
use model::{Clock as _, FactKey, PersonId, PersonState};
use oauth::word::{self, Word};
use pap::Command;
use serde_json::{Value, json};

use crate::desk::{Desk, ISSUER, word as word_of};

fn stop(what: &str) -> Command {
    Command::Stop { what: what.parse().expect("it can be stopped"), reason: "test".to_owned() }
}

fn start(what: &str, word: Option<String>) -> Command {
    Command::Start {
        what: what.parse().expect("it can be stopped"),
        reason: "test".to_owned(),
        word,
    }
}

/// A deployment with a second administrator, and both.
async fn desk() -> (Desk, [PersonId; 2]) {
    let world = crate::support::World::with(|facts| {
        facts.other.groups.insert("administrators".parse().expect("a group"));
    })
    .await;
    let people = [world.standing.sponsor.id.clone(), world.standing.other.id.clone()];
    (Desk::over(world).await, people)
}

/// A name that is misspelt stops nothing, and is told.
#[tokio::test]
async fn what_is_not_there_is_not_stopped() {
    let (desk, [a, _]) = desk().await;
    for (what, told) in [("agent/biling", "agent `biling`"), ("tool/crm/lokup", "tool `crm/lokup`")]
    {
        let error = desk.run_as(&a, stop(what)).await.expect_err("it is not there").to_string();
        assert_eq!(error, format!("there is no {told}"));
    }
    assert_eq!(desk.call("lookup").await, "permitted");
}

#[tokio::test]
async fn n_098_one_stops_at_once_and_another_must_agree_to_start() {
    for (what, code) in
        [("all", "stopped"), ("agent/billing", "stopped"), ("tool/crm/lookup", "stopped")]
    {
        let (desk, [a, b]) = desk().await;
        assert_eq!(desk.call("lookup").await, "permitted");
        desk.run_as(&a, stop(what)).await.unwrap();
        assert_eq!(desk.call("lookup").await, code, "{what}");
        // The first wants it, the same again is refused, and nothing moves.
        let told = desk.run_as(&a, start(what, None)).await.unwrap();
        assert_eq!(told["waits"], what);
        let again = desk.run_as(&a, start(what, None)).await;
        assert_eq!(word_of(&again), "refused");
        let why = again.expect_err("it is refused").to_string();
        assert!(why.ends_with("nobody approves what they asked for themselves"), "{why}");
        assert_eq!(desk.call("lookup").await, code);
        let told = desk.run_as(&b, start(what, None)).await.unwrap();
        assert_eq!(told["started"], what);
        assert_eq!(desk.call("lookup").await, "permitted");
        assert_eq!(word_of(&desk.run_as(&b, start(what, None)).await), "missing");
        desk.has_refused_for("started_by_the_same_person").await;
    }
}

/// Every sequence of four of: one starts, the other starts, eight minutes pass, one stops it again.
/// What was stopped runs only if two different people wanted it within fifteen minutes.
#[tokio::test]
async fn n_098_nothing_runs_again_by_fewer_than_two_whatever_the_order() {
    let (desk, [a, b]) = desk().await;
    let minutes = |minutes: u64| Duration::from_mins(minutes);
    for sequence in 0..256_u32 {
        desk.run_as(&a, stop("tool/crm/refund")).await.unwrap();
        let (mut wanted, mut started): (Vec<(usize, Duration)>, _) = (Vec::new(), false);
        for step in (0..4).map(|place| (sequence >> (2 * place)) & 3) {
            let now = desk.world.clock.monotonic();
            match step {
                0 | 1 => {
                    let who = usize::from(step == 1);
                    let _ = desk.run_as([&a, &b][who], start("tool/crm/refund", None)).await;
                    started |=
                        wanted.iter().any(|(other, at)| *other != who && now < *at + minutes(15));
                    wanted.push((who, now));
                }
                2 => desk.world.clock.advance(minutes(8)),
                _ => {
                    desk.run_as(&b, stop("tool/crm/refund")).await.unwrap();
                    (wanted, started) = (Vec::new(), false);
                }
            }
            let stopped = desk.fact(FactKey::from_text("stop/tool/crm/refund")).await.is_some();
            assert_eq!(stopped, !started, "sequence {sequence:#x}");
            if started {
                break;
            }
        }
    }
}

/// What takes away waits for no clock, what gives does.
#[tokio::test]
async fn n_120_what_takes_away_is_done_though_the_clock_is_unsure() {
    let (desk, _) = desk().await;
    let ordinary = Command::PersonAdd { id: "ordinary".to_owned(), groups: Vec::new() };
    desk.run(ordinary).await.unwrap();
    desk.world.clock.step_wall(600_000);
    assert_eq!(word_of(&desk.run(start("all", None)).await), "unavailable");
    let add = Command::PersonAdd { id: "new".to_owned(), groups: Vec::new() };
    assert_eq!(word_of(&desk.run(add).await), "unavailable");
    let facts = &desk.world.standing;
    let reason = || "test".to_owned();
    let (agent, instance) = (facts.agent.name.to_string(), facts.instance.id.to_string());
    for command in [
        stop("all"),
        stop("agent/billing"),
        stop("tool/crm/lookup"),
        Command::PersonDeactivate { id: "ordinary".to_owned() },
        Command::InstanceQuarantine { id: instance.clone(), reason: reason() },
        Command::InstanceRevoke { id: instance, reason: reason() },
        Command::TaskEnd { id: facts.task.id.to_string(), reason: reason() },
        Command::MandateWithdraw { id: facts.mandate.id.to_string(), reason: reason() },
        Command::AgentSuspend { name: agent, reason: reason() },
    ] {
        let told = format!("{command:?}");
        assert_eq!(word_of(&desk.run(command).await), "done", "{told}");
    }
}

#[tokio::test]
async fn a_wish_of_somebody_who_left_starts_nothing() {
    let (desk, [a, b]) = desk().await;
    desk.run_as(&a, stop("all")).await.unwrap();
    desk.run_as(&b, start("all", None)).await.unwrap();
    let mut gone = desk.world.standing.other.clone();
    gone.state = PersonState::Inactive { since: desk.world.clock.now() };
    desk.world.put(FactKey::person(&b), &gone).await;
    let told = desk.run_as(&a, start("all", None)).await.unwrap();
    assert_eq!(told["waits"], "all");
    // Who comes back has to say so again, too.
    let cutoff = Some(desk.world.clock.now());
    gone.state = PersonState::Active { authorization_cutoff: cutoff };
    desk.world.put(FactKey::person(&b), &gone).await;
    assert_eq!(desk.call("lookup").await, "stopped");
    desk.run_as(&b, start("all", None)).await.unwrap();
    assert_eq!(desk.call("lookup").await, "permitted");
}

/// While all is stopped, administrators administer, read the log, and see what is stopped; and the
/// log can be decided again.
#[tokio::test]
async fn what_is_stopped_is_seen_and_administration_goes_on() {
    let (desk, [a, _]) = desk().await;
    for what in ["agent/nobody", "tool/crm/nothing"] {
        assert_eq!(word_of(&desk.run(stop(what)).await), "missing", "{what}");
    }
    for what in ["all", "agent/billing", "tool/crm/lookup"] {
        desk.run(stop(what)).await.unwrap();
    }
    assert_eq!(desk.call("lookup").await, "stopped");
    assert_eq!(desk.call("refund").await, "stopped");
    let stops = desk.run(Command::StopList).await.unwrap();
    let whats: Vec<_> = stops.as_array().unwrap().iter().map(|stop| &stop["what"]).collect();
    assert_eq!(whats, ["agent/billing", "all", "tool/crm/lookup"]);
    assert_eq!((&stops[1]["by"], &stops[1]["reason"]), (&json!(a), &json!("test")));
    let agents = desk.run(Command::AgentList { as_of: None }).await.unwrap();
    assert_eq!(agents[0]["stopped"], json!(["agent/billing", "all"]));
    let listed = desk.run(Command::ServerList).await.unwrap();
    let row = |tool: &str| listed.as_array().unwrap().iter().find(|row| row["tool"] == tool);
    assert_eq!(row("crm/lookup").unwrap()["stopped"], json!(["all", "tool/crm/lookup"]));
    assert_eq!(row("crm/refund").unwrap()["stopped"], json!(["all"]));
    let person = Command::PersonAdd { id: "new".to_owned(), groups: Vec::new() };
    assert_eq!(word_of(&desk.run(person).await), "done");
    let replayed = desk.run(Command::LogReplay).await.unwrap();
    assert_eq!(replayed["differ"], json!([]), "{replayed}");
}

struct Signer {
    desk: Desk,
    key: SigningKey,
}

impl Signer {
    /// Whoever signs by a new key of the founder `person`.
    async fn of(desk: Desk, person: &PersonId) -> Self {
        let key = SigningKey::generate(KeyAlgorithm::Es256).unwrap();
        let place = FactKey::from_text(&format!("founder-key/{person}"));
        desk.world.put(place, &key.verifying().to_jwk()).await;
        Self { desk, key }
    }

    fn word(&self, person: &str, command: Value, jti: &str) -> String {
        let now = self.desk.world.clock.now().as_seconds();
        let word = Word { command, jti: jti.to_owned(), exp: now + word::LIFETIME_MAX_S };
        word::make((person, ISSUER), &self.key, now, &word).expect("signed")
    }
}

/// Where all who come look alike, a founder's key says who it is: for one act, once.
#[tokio::test]
async fn a_founder_is_known_by_the_word_that_their_key_signs() {
    let (desk, [a, b]) = desk().await;
    let signer = Signer::of(desk, &b).await;
    let desk = &signer.desk;
    let stopped = desk.world.clock.now();
    let asked =
        |what: &str| json!({ "do": "start", "what": what, "reason": "test", "since": stopped });
    desk.run_as(&a, stop("all")).await.unwrap();
    desk.run_as(&a, start("all", None)).await.unwrap();
    let check = async |word: String| {
        let answer = desk.run_as(&a, start("all", Some(word))).await;
        assert_eq!(word_of(&answer), "refused");
        let why = answer.expect_err("it is refused").to_string();
        assert_eq!(why, "not permitted: it is not signed by an administrator whose key is known");
        assert_eq!(desk.call("lookup").await, "stopped");
    };
    check("nothing".to_owned()).await;
    check(signer.word(a.as_str(), asked("all"), "1")).await;
    check(signer.word("nobody", asked("all"), "1")).await;
    check(signer.word(b.as_str(), asked("agent/billing"), "1")).await;
    check(signer.word(b.as_str(), json!({ "do": "stop", "what": "all" }), "1")).await;
    let unbound = json!({ "do": "start", "what": "all", "reason": "test" });
    check(signer.word(b.as_str(), unbound, "1")).await;
    let late = signer.word(b.as_str(), asked("all"), "1");
    desk.world.clock.advance(Duration::from_secs(301));
    check(late).await;
    let word = signer.word(b.as_str(), asked("all"), "1");
    let told = desk.run_as(&a, start("all", Some(word.clone()))).await.unwrap();
    assert_eq!(told["started"], "all");
    assert_eq!(desk.call("lookup").await, "permitted");
    // Once: stopped again, the same word does not even ask.
    desk.run_as(&a, stop("all")).await.unwrap();
    check(word).await;
    let stops = desk.run(Command::StopList).await.unwrap();
    assert!(stops[0].get("wish").is_none(), "{stops}");
}

/// A word is for the stop that its founder saw: not for one that comes after it, and not for later.
#[tokio::test]
async fn n_098_a_founders_word_is_for_one_stop_and_used_up_by_a_refusal() {
    let (desk, [a, b]) = desk().await;
    let signer = Signer::of(desk, &b).await;
    let desk = &signer.desk;
    let of = |since: model::Timestamp, jti: &str| {
        let command = json!({ "do": "start", "what": "all", "reason": "test", "since": since });
        signer.word(b.as_str(), command, jti)
    };
    let check = async |word: String, expected: &str| {
        let answer = desk.run_as(&a, start("all", Some(word))).await;
        assert_eq!(word_of(&answer), expected, "{answer:?}");
    };
    desk.run_as(&a, stop("all")).await.unwrap();
    let first = desk.world.clock.now();
    desk.world.clock.advance(Duration::from_secs(1));
    desk.run_as(&a, stop("all")).await.unwrap();
    check(of(first, "1"), "refused").await;
    // Bob wants it already: his second word is refused, and of no use when his wish is over.
    let second = desk.world.clock.now();
    check(of(second, "2"), "done").await;
    let refused = of(second, "3");
    check(refused.clone(), "refused").await;
    desk.run_as(&a, start("all", None)).await.unwrap();
    let mut again = desk.world.standing.other.clone();
    again.groups.clear();
    desk.run_as(&a, stop("all")).await.unwrap();
    check(refused, "conflict").await;
    // Nor is one that policy refused, once its founder administers again.
    desk.world.put(FactKey::person(&b), &again).await;
    let denied = of(second, "4");
    check(denied.clone(), "refused").await;
    desk.world.put(FactKey::person(&b), &desk.world.standing.other).await;
    check(denied, "conflict").await;
    assert_eq!(desk.call("lookup").await, "stopped");
}

/// A deployment for development has one administrator, who starts alone; in no other does anybody.
#[tokio::test]
async fn a_deployment_for_development_is_started_by_its_one_administrator() {
    for (development, expected) in [(true, "permitted"), (false, "stopped")] {
        let world = crate::support::World::new().await;
        crate::desk::found(&world, development).await;
        let desk = Desk::over(world).await;
        desk.run(stop("agent/billing")).await.unwrap();
        desk.run(start("agent/billing", None)).await.unwrap();
        assert_eq!(desk.call("lookup").await, expected);
    }
}
