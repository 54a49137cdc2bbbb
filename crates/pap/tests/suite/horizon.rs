//! Two deployments that rate each other's agents: each is told what the other says by itself, and never what it said.

use std::time::Duration;

use model::{Agent, Covers, FactKey, RiskLevel, Speaker};
use pap::receivers::Transmitter;
use pap::{Command, ReceiverRegistration, StreamRegistration};
use proptest::prelude::*;
use secevent::{PollAsked, StreamAsked};
use serde_json::{Value, json};

use crate::desk::{Desk, word};
use crate::directories::token;
use crate::receivers;
use crate::streams::{self, AUDIENCE, PEER, Signals};

/// What the peer shows that pushes.
const SHOWN: &str = "peer.secret";

/// A deployment that takes what a transmitter of its own, and its peer, say of its agent, and tells the peer.
struct Side {
    signals: Signals,
    transmitter: Transmitter,
    /// The stream by which the peer is told.
    stream: String,
}

impl Side {
    /// One that knows who the receiver is by `issuer`, if it does.
    async fn set(issuer: Option<&str>) -> Self {
        let signals = Box::pin(Signals::set()).await;
        let desk = &signals.scene.desk;
        let (name, person) = ("okta".to_owned(), desk.world.standing.sponsor.id.to_string());
        desk.run(Command::DirectoryAdopt { name, person }).await.expect("adopted");
        let said = StreamRegistration {
            issuer: PEER.to_owned(),
            token: token(desk, SHOWN, false),
            ..streams::said(desk, "peer")
        };
        Box::pin(desk.run(Command::StreamAdd(said))).await.expect("it is registered");
        let issuer = issuer.map(str::to_owned);
        let said = ReceiverRegistration { issuer, ..receivers::said(desk, Covers::All) };
        desk.run(Command::ReceiverAdd(said)).await.expect("it is registered");
        let transmitter = receivers::transmitter(desk);
        let known = transmitter.known(receivers::TOKEN).await.expect("it is known");
        let asked = StreamAsked::parse(b"{}").expect("it can be read");
        let told = transmitter.create(&known, asked).await.expect("it is created");
        let stream = told["stream_id"].as_str().expect("an id").to_owned();
        Self { signals, transmitter, stream }
    }

    fn desk(&self) -> &Desk {
        &self.signals.scene.desk
    }

    /// Its own transmitter says that the agent is at that risk now.
    async fn says(&self, level: &str) {
        let id = &self.desk().world.standing.agent.name;
        let application = json!({ "format": "opaque", "id": id });
        let subject = json!({ "format": "complex", "application": application });
        self.signals.rate(level, ("APPLICATION", &subject), self.signals.now()).await;
    }

    /// The claims of what it tells.
    async fn tells(&self) -> Vec<Value> {
        let known = self.transmitter.known(receivers::TOKEN).await.expect("it is known");
        let (mut told, mut ack) = (Vec::new(), Vec::new());
        loop {
            let asked = PollAsked { max: 16, ack, ..PollAsked::default() };
            let polled = self.transmitter.poll(&known, &self.stream, &asked).await;
            let sets = polled.expect("it is answered").sets;
            if sets.is_empty() {
                return told;
            }
            ack = sets.keys().cloned().collect();
            for (_, set) in sets {
                let claims = set.split('.').nth(1).and_then(keys::from_base64url);
                told.push(serde_json::from_slice(&claims.expect("claims")).expect("JSON"));
            }
        }
    }

    /// The token by which its peer tells it that.
    fn token(&self, mut claims: Value) -> String {
        (claims["iss"], claims["aud"]) = (json!(PEER), json!(AUDIENCE));
        self.signals.sign(&claims)
    }

    async fn takes(&self, token: &str) {
        self.signals.take_by(("peer", SHOWN), token).await.expect("it is taken");
    }

    async fn agent(&self) -> Agent {
        let place = FactKey::agent(&self.desk().world.standing.agent.name);
        serde_json::from_value(self.desk().fact(place).await.expect("it is known")).expect("it is")
    }

    /// What counts here, and what the stream of that name says: nobody says less than that.
    async fn levels(&self, stream: &str) -> (RiskLevel, RiskLevel) {
        let agent = self.agent().await;
        let said = agent.rated.by(&Speaker::stream(&stream.parse().expect("a stream")));
        let low = |level: Option<RiskLevel>| level.unwrap_or(RiskLevel::Low);
        (low(agent.risk_level()), low(said.map(|risk| risk.level)))
    }
}

/// Both, and what is on its way to each.
struct Pair {
    sides: [Side; 2],
    on_way: [Vec<String>; 2],
    /// How much each told.
    told: [usize; 2],
}

impl Pair {
    async fn set(issuer: Option<&str>) -> Self {
        let sides = [Box::pin(Side::set(issuer)).await, Box::pin(Side::set(issuer)).await];
        Self { sides, on_way: [Vec::new(), Vec::new()], told: [0, 0] }
    }

    /// What is told of one second later than this is later.
    async fn says(&self, side: usize, level: &str) {
        for side in &self.sides {
            side.desk().world.clock.advance(Duration::from_secs(2));
        }
        self.sides[side].says(level).await;
    }

    /// What there is to tell is on its way.
    async fn tell(&mut self) {
        for from in 0..2 {
            let (told, other) = (self.sides[from].tells().await, 1 - from);
            self.told[from] += told.len();
            let tokens = told.into_iter().map(|claims| self.sides[other].token(claims));
            self.on_way[other].extend(tokens);
        }
    }

    /// Whatever is on its way arrives, the last first, and what that gives to tell, until there is nothing.
    async fn settle(&mut self) {
        for _ in 0..32 {
            self.tell().await;
            if self.on_way.iter().all(Vec::is_empty) {
                return;
            }
            for (side, on_way) in self.sides.iter().zip(&mut self.on_way) {
                while let Some(token) = on_way.pop() {
                    side.takes(&token).await;
                }
            }
        }
        panic!("they never come to rest");
    }
}

/// A level that is lowered by who said it is lowered on both sides; if the receiver is not known to be the peer, each
/// holds it up by what it was told of the other. That it is the peer may be said later.
#[tokio::test]
async fn r_18_what_is_lowered_is_not_held_up_by_whoever_was_told_of_it() {
    for (issuer, later, expected) in [
        (Some(PEER), None, RiskLevel::Low),
        (None, None, RiskLevel::High),
        (None, Some(PEER), RiskLevel::Low),
    ] {
        let mut pair = Box::pin(Pair::set(issuer)).await;
        for side in pair.sides.iter().filter(|_| later.is_some()) {
            let (name, issuer) = ("siem".to_owned(), later.map(str::to_owned));
            let said = side.desk().run(Command::ReceiverIssuer { name, issuer }).await;
            said.expect("it is said");
        }
        for (said, comes_to) in [("HIGH", RiskLevel::High), ("LOW", expected)] {
            pair.says(0, said).await;
            Box::pin(pair.settle()).await;
            for side in &pair.sides {
                assert_eq!(side.levels("peer").await.0, comes_to, "{issuer:?} {said}");
            }
        }
    }
}

/// Of an issuer that tells us nothing nobody knows what it said: a name that is misspelt keeps nothing back.
#[tokio::test]
async fn a_receiver_is_of_no_issuer_of_which_there_is_no_stream() {
    let signals = Box::pin(Signals::set()).await;
    let desk = &signals.scene.desk;
    for (issuer, expected) in [("https://idp.exmaple", "missing"), (streams::ISSUER, "done")] {
        let issuer = Some(issuer.to_owned());
        let said = ReceiverRegistration { issuer, ..receivers::said(desk, Covers::All) };
        assert_eq!(word(&desk.run(Command::ReceiverAdd(said)).await), expected);
    }
    for (issuer, expected) in
        [(Some("https://idp.exmaple"), "missing"), (None, "done"), (Some(streams::ISSUER), "done")]
    {
        let (name, issuer) = ("siem".to_owned(), issuer.map(str::to_owned));
        let said = Command::ReceiverIssuer { name, issuer };
        assert_eq!(word(&desk.run(said).await), expected);
    }
}

/// What happens.
#[derive(Clone, Copy, Debug)]
enum Step {
    /// The own transmitter of one of them says something.
    Says(usize, &'static str),
    /// What they have to tell is on its way.
    Tell,
    /// Something of what is on its way to one of them arrives, and perhaps once more, later.
    Takes { side: usize, which: prop::sample::Index, again: bool },
}

fn step() -> impl Strategy<Value = Step> {
    let level = prop::sample::select(vec!["LOW", "MEDIUM", "HIGH"]);
    let takes = (0..2_usize, any::<prop::sample::Index>(), prop::bool::weighted(0.2));
    prop_oneof![
        3 => (0..2_usize, level).prop_map(|(side, level)| Step::Says(side, level)),
        2 => Just(Step::Tell),
        3 => takes.prop_map(|(side, which, again)| Step::Takes { side, which, again }),
    ]
}

async fn come_to_rest(steps: &[Step]) {
    let mut pair = Box::pin(Pair::set(Some(PEER))).await;
    let mut said = [0, 0];
    for step in steps {
        match *step {
            Step::Says(side, level) => {
                said[side] += 1;
                pair.says(side, level).await;
            }
            Step::Tell => Box::pin(pair.tell()).await,
            Step::Takes { side, which, again } if !pair.on_way[side].is_empty() => {
                let on_way = &mut pair.on_way[side];
                let which = which.index(on_way.len());
                let token = if again { on_way[which].clone() } else { on_way.remove(which) };
                pair.sides[side].takes(&token).await;
            }
            Step::Takes { .. } => {}
        }
    }
    Box::pin(pair.settle()).await;
    for (side, told) in pair.told.into_iter().enumerate() {
        assert!(told <= said[side], "{side} told {told} of {said:?}, after {steps:?}");
        let (comes_to, own) = pair.sides[side].levels("caep").await;
        let (as_well, heard) = pair.sides[1 - side].levels("peer").await;
        assert_eq!((comes_to, own), (as_well, heard), "{side}, after {steps:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 32,
        max_shrink_iters: 100,
        ..ProptestConfig::default()
    })]

    /// However what they say and are told is mixed, late, out of order and told twice: each tells the other no more
    /// than its own transmitter says, and in the end both know what either says, and the same counts.
    #[test]
    fn r_18_deployments_that_rate_each_others_agents_come_to_rest_on_what_each_says(
        steps in prop::collection::vec(step(), 1..24),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(come_to_rest(&steps));
    }
}
