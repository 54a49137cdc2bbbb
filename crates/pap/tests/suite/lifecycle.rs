//! The life of an agent against a model, over whatever happens to it and the people behind it in whatever
//! order: signals of a directory, of its groups too, and of a stream, calls for nobody and on somebody's behalf,
//! renewals, leases, consents and reviews that run out, logouts, affirmations, takeovers, quarantines, silence, risk,
//! departures, mistakes that are undone, and restarts over the same database. The real authority and the model agree
//! after every step on every call, and why.

use std::time::Duration;

use authority::NotPermitted;
use model::{
    Agent, Agreed, Clock as _, FactKey, Instance, InstanceId, Mandate, MandateBasis, MandateId,
    Principal, RiskLevel, RiskTarget, Sha256Digest, Task, TaskId, Thumbprint,
};
use pap::directory::UserChange;
use pap::{Command, ReviewAsked, StreamRegistration};
use proptest::prelude::*;
use serde_json::{Value, json};

use crate::desk::{Desk, ISSUER, word};
use crate::directories::{Scene, at_work};
use crate::lifecycle_model::{Model, SILENCE_MIN, Whom};
use crate::lifecycle_people::PEOPLE;
use crate::lifecycle_rules::{LEADS, mistaken, ruled};
use crate::lifecycle_steps::{Of, Step, step};
use crate::streams::{self, CAEP, RISC, Signals};
use crate::support::World;

/// The deployment, with what acts in it.
struct Life {
    signals: Signals,
    /// The group that makes eligible, as the directory names it.
    leads: String,
    model: Model,
    /// What acts, the first of it first.
    instances: Vec<InstanceId>,
    /// What the stream told last.
    last: Option<String>,
}

impl Life {
    async fn begin() -> Self {
        let world = World::with(|facts| {
            let far = facts.task.opened.plus(Duration::from_hours(3_650 * 24));
            facts.task.deadline = far;
            facts.other.groups.insert("administrators".parse().expect("a group"));
            facts.agent.sponsor = "ann".parse().expect("a person");
            facts.mandate.basis = MandateBasis::Standing { sponsor: facts.agent.sponsor.clone() };
            facts.task.mandate_digest = facts.mandate.digest();
        });
        let desk = Desk::over(Box::pin(world).await).await;
        let scene = Box::pin(Scene::over(desk)).await;
        let bounded = |said: StreamRegistration| {
            let silence_min = Some(SILENCE_MIN);
            StreamRegistration { silence_min, ..said }
        };
        let signals = Box::pin(Signals::over(scene, bounded)).await;
        for (name, manager) in PEOPLE.into_iter().zip(["carl", "carl", "dora", ""]) {
            signals.scene.creates(put(name, (true, false), manager)).await;
        }
        let world = &signals.scene.desk.world;
        ruled(world).await;
        let leads = signals.scene.group(LEADS, &[PEOPLE[0]]).await.expect("a group");
        let Agent { registered, valid_until, key_expires, .. } = world.standing.agent.clone();
        let leased = valid_until.expect("it is leased").as_millis();
        let of_agent = (registered.as_millis(), leased, key_expires.as_millis());
        let until = world.standing.mandate.valid_until.as_millis();
        let model = Model::new(world.clock.now().as_millis(), of_agent, until);
        let instances = vec![world.standing.instance.id];
        Self { signals, leads, model, instances, last: None }
    }

    fn desk(&self) -> &Desk {
        &self.signals.scene.desk
    }

    async fn step(mut self, step: Step) -> Self {
        let now = self.model.now;
        match step {
            Step::Put { who, active, manager, elsewhere } => {
                let named = manager.map_or("", |manager| PEOPLE[manager]);
                let said = put(PEOPLE[who], (active, elsewhere), named);
                if self.is_user(who).await {
                    self.signals.scene.replaces(PEOPLE[who], said).await.expect("it is said");
                } else {
                    self.signals.scene.creates(said).await;
                }
                self.model.people[who].put((active, manager, elsewhere), now);
            }
            Step::Delete { who } if self.is_user(who).await => {
                let deleted = self.signals.scene.change(PEOPLE[who], &UserChange::Delete).await;
                deleted.expect("it is said");
                self.model.people[who].delete(now);
            }
            Step::Delete { .. } => {}
            Step::Lead { who, joins } => {
                if self.model.people[who].leads(joins, now) {
                    self.regroups(PEOPLE[who], joins).await;
                }
            }
            Step::Tell { who, left, ago } => {
                let at = now / 1_000 - ago;
                let event = if left { "account-disabled" } else { "account-enabled" };
                self.tell(who, (event, at)).await;
                let person = &mut self.model.people[who];
                if left { person.disabled(at * 1_000) } else { person.enabled(at * 1_000, now) }
            }
            Step::LoggedOut { who } => {
                self.tell(who, ("sessions-revoked", now / 1_000)).await;
                self.model.people[who].logs_out(now);
            }
            Step::Rate { of, level, ago } => self.rate(of, (level, now / 1_000 - ago)).await,
            Step::Depart { which, times } => {
                let number = which.index(self.instances.len());
                self.departs(number, times).await;
            }
            Step::Replay => {
                if let Some(last) = self.last.clone() {
                    self.take(&last).await;
                }
            }
            Step::Wait { seconds } => {
                self.desk().world.clock.advance(Duration::from_secs(seconds));
                self.model.now += i64::try_from(seconds).expect("it is short") * 1_000;
            }
            Step::Begin { whose } => {
                let (begun, expected) = (self.begins(whose).await, self.model.begin(whose));
                assert_eq!(begun, expected, "to begin something for {whose:?}");
            }
            Step::Restart => {
                // What a process that ended so never told of would be unknown.
                self.desk().world.authority.drained().await;
                self.signals = Box::pin(self.signals.restarted()).await;
                ruled(&self.signals.scene.desk.world).await;
            }
            act => self.act(act).await,
        }
        self
    }

    /// Somebody does something by themselves, and comes to what the model says.
    async fn act(&mut self, act: Step) {
        let by = |who: usize| PEOPLE[who].parse().expect("a person");
        let name = || "billing".to_owned();
        let reason = || "a test".to_owned();
        match act {
            Step::Affirm { who } => {
                let command = Command::AgentAffirm { name: name(), word: None };
                let told = self.does(by(who), command).await;
                assert_eq!(told, self.model.affirm(who));
            }
            Step::Renew { who } => {
                let command =
                    Command::AgentRenew { name: name(), key: None, compromised: false, word: None };
                let told = self.does(by(who), command).await;
                assert_eq!(told, self.model.renew(who));
            }
            Step::TakeOver { who } => {
                let (name, reason) = (name(), reason());
                let command = Command::AgentTakeOver { name, reason, word: None };
                let told = self.does(by(who), command).await;
                assert_eq!(told, self.model.take_over(who));
            }
            Step::Reinstate { who } => {
                let (name, reason) = (name(), reason());
                let command = Command::AgentReinstate { name, reason, word: None };
                let told = self.does(by(who), command).await;
                assert_eq!(told, self.model.reinstate(who));
            }
            Step::Review { days } => {
                let told = self.reviews(days).await;
                assert_eq!(told, self.model.review(days));
            }
            Step::Mistake { who, leaves } => self.mistakes(who, leaves).await,
            Step::Certify => {
                if let Some(told) = self.certifies().await {
                    assert_eq!(told, self.model.certify());
                }
            }
            other => self.looks(other).await,
        }
    }

    /// Of whom somebody here says a risk, as the model has it, and as they do.
    fn whom(&self, of: Of) -> (Whom, RiskTarget) {
        match of {
            Of::Person(who) => {
                let id = PEOPLE[who].parse().expect("a person");
                (Whom::Person(who), RiskTarget::Person(id))
            }
            Of::Agent => {
                let name = self.desk().world.standing.agent.name.clone();
                (Whom::Agent, RiskTarget::Agent(name))
            }
            Of::Work(which) => {
                let number = which.index(self.instances.len());
                (Whom::Work(number), RiskTarget::Instance(self.instances[number]))
            }
        }
    }

    /// An administrator says at which risk something is, or does something about what acts.
    async fn looks(&mut self, act: Step) {
        let reason = "a test".to_owned();
        let (command, expected) = match act {
            Step::Raise { of, level } => {
                let (whom, what) = self.whom(of);
                (Command::RiskRaise { what, level, reason }, self.model.raise(whom, level))
            }
            Step::Lower { of, level } => {
                let (whom, what) = self.whom(of);
                let command = Command::RiskLower { what, level, reason, word: None };
                (command, self.model.lower(whom, level))
            }
            other => return self.stops(other).await,
        };
        let told = word(&Box::pin(self.desk().run(command)).await);
        assert_eq!(told, expected, "{act:?}");
    }

    /// An administrator stops what acts, for good or not, or lets it act again.
    async fn stops(&mut self, act: Step) {
        let (Step::Quarantine { which } | Step::Revoke { which } | Step::Release { which }) = act
        else {
            unreachable!("nobody does {act:?}")
        };
        let number = which.index(self.instances.len());
        let (id, reason) = (self.instances[number].to_string(), "a test".to_owned());
        let (command, expected) = match act {
            Step::Quarantine { .. } => {
                (Command::InstanceQuarantine { id, reason }, self.model.quarantine(number))
            }
            Step::Revoke { .. } => {
                (Command::InstanceRevoke { id, reason }, self.model.revoke(number))
            }
            _ => {
                let command = Command::InstanceRelease { id, reason, word: None };
                (command, self.model.release(number))
            }
        };
        let told = word(&Box::pin(self.desk().run(command)).await);
        assert_eq!(told, expected, "{act:?}");
    }

    async fn does(&self, by: model::PersonId, command: Command) -> &'static str {
        word(&Box::pin(self.desk().run_as(&by, command)).await)
    }

    async fn is_user(&self, who: usize) -> bool {
        let place = FactKey::scim_user(&self.signals.scene.okta.name, PEOPLE[who]);
        self.desk().fact(place).await.is_some()
    }

    /// The directory says that somebody joins the group that makes eligible, or leaves it.
    async fn regroups(&self, who: &str, joins: bool) {
        let operation = if joins {
            json!({ "op": "add", "path": "members", "value": [{ "value": who }] })
        } else {
            json!({ "op": "remove", "path": format!("members[value eq \"{who}\"]") })
        };
        let said = Box::pin(self.signals.scene.regroup(&self.leads, operation)).await;
        said.expect("it is said");
    }

    /// The directory says by mistake that somebody left, or works at the other desk, which two people undo.
    async fn mistakes(&mut self, who: usize, leaves: bool) {
        let Some((_, manager, elsewhere)) = self.model.people[who].said_here() else { return };
        let named = manager.map_or("", |manager| PEOPLE[manager]);
        let place = if leaves { (false, elsewhere) } else { (true, !elsewhere) };
        Box::pin(mistaken(&self.signals, PEOPLE[who], put(PEOPLE[who], place, named))).await;
        self.model.undoes(who, leaves);
    }

    /// The stream tells of `event` at that time.
    async fn tell(&mut self, who: usize, (event, at): (&str, i64)) {
        let mut claims = self.signals.claims(&format!("{RISC}{event}"), at);
        claims["sub_id"]["sub"] = json!(format!("x-{}", PEOPLE[who]));
        self.hears(&claims).await;
    }

    /// It tells at which risk something was at that time.
    async fn rate(&mut self, of: Of, (level, at): (RiskLevel, i64)) {
        let event = format!("{CAEP}risk-level-change");
        let mut claims = self.signals.claims(&event, at);
        let (whom, what) = self.whom(of);
        let application = json!({ "format": "opaque", "id": "billing" });
        let of_agent = json!({ "format": "complex", "application": application });
        let (principal, subject) = match what {
            RiskTarget::Person(id) => {
                let sub = format!("x-{id}");
                ("USER", json!({ "format": "iss_sub", "iss": streams::ISSUER, "sub": sub }))
            }
            RiskTarget::Agent(_) => ("APPLICATION", of_agent),
            RiskTarget::Instance(id) => {
                let mut subject = of_agent;
                subject["session"] = json!({ "format": "iss_sub", "iss": ISSUER, "sub": id });
                ("SESSION", subject)
            }
        };
        claims["sub_id"] = subject;
        claims["events"][&event]["current_level"] = json!(level.as_str().to_uppercase());
        claims["events"][&event]["principal"] = json!(principal);
        self.hears(&claims).await;
        self.model.rates(whom, level, at * 1_000);
    }

    /// What does the work of that number asks so many times for a tool that is not declared of it.
    async fn departs(&mut self, number: usize, times: u8) {
        let tool = "other/tool".parse().expect("a tool");
        for _ in 0..times {
            self.desk().world.authority.asked_for(self.instances[number], &tool).await;
            self.model.departs(number);
        }
    }

    /// The stream tells what `claims` say.
    async fn hears(&mut self, claims: &Value) {
        let token = self.signals.sign(claims);
        self.take(&token).await;
        self.model.hears();
        self.last = Some(token);
    }

    async fn take(&self, token: &str) {
        let stream = self.signals.receiver.stream(&"caep".parse().expect("a stream")).await;
        let stream = stream.expect("it can be read").expect("it is known");
        let told = Box::pin(self.signals.receiver.take(&stream, token)).await;
        // A token that is too old to come again is no news either.
        assert!(told.is_ok() || self.last.as_deref() == Some(token), "{told:?}");
    }

    async fn agent(&self) -> Agent {
        let place = FactKey::agent(&self.desk().world.standing.agent.name);
        serde_json::from_value(self.desk().fact(place).await.expect("it is known")).expect("it is")
    }

    /// An instance begins, on the standing mandate that there is, or on what somebody consents to now: whoever begins
    /// anything may do so.
    async fn begins(&mut self, whose: Option<usize>) -> &'static str {
        let world = &self.signals.scene.desk.world;
        let (facts, now) = (&world.standing, world.clock.now());
        let mut reader = world.authority.pip().reader();
        let begins = authority::may_begin(&mut reader, &facts.agent.name, now).await;
        let agent = match begins.expect("it can be read") {
            Ok(agent) => agent,
            Err(why) => return why.code(),
        };
        let mandate = match whose {
            None => {
                let place = FactKey::standing_mandate(&facts.agent.name, &facts.purpose.id);
                let id: MandateId = reader.need(place).await.expect("there is one");
                reader.need::<Mandate>(FactKey::mandate(id)).await.expect("there is")
            }
            Some(who) => match self.consents(PEOPLE[who]).await {
                Some(mandate) => mandate,
                None => return "nobody_consents",
            },
        };
        let number = u8::try_from(self.instances.len()).expect("there are few");
        let (id, task) = ([100 + number; 16], TaskId::from_bytes([100 + number; 16]));
        let instance = Instance {
            id: InstanceId::from_bytes(id),
            key: Some(Thumbprint::from_bytes([100 + number; 32])),
            task,
            departed: agent.departed.filter(|it| it.level_at(now).is_some()),
            started: now,
            risk: agent.risk_of_new,
            ..facts.instance.clone()
        };
        let task = Task {
            id: task,
            instance: instance.id,
            mandate: mandate.id,
            mandate_digest: mandate.digest(),
            subject: mandate.basis.subject(),
            opened: now,
            ..facts.task.clone()
        };
        world.put(FactKey::task(task.id), &task).await;
        world.put(FactKey::instance(instance.id), &instance).await;
        self.instances.push(instance.id);
        "begun"
    }

    /// What somebody who is here gives by consent for a day, in a login session that nobody names.
    async fn consents(&self, who: &str) -> Option<Mandate> {
        if !self.signals.is_active(who).await {
            return None;
        }
        let world = &self.desk().world;
        let number = u8::try_from(self.instances.len()).expect("there are few");
        let given = world.clock.now();
        let mandate = Mandate {
            id: MandateId::from_bytes([100 + number; 16]),
            basis: MandateBasis::Consented {
                subject: who.parse().expect("a person"),
                request: Sha256Digest::of(b"what they were shown"),
                once: true,
                agreed: Agreed::default(),
                session: None,
            },
            given,
            valid_until: given.plus(Duration::from_hours(24)),
            ..world.standing.mandate.clone()
        };
        world.put(FactKey::mandate(mandate.id), &mandate).await;
        Some(mandate)
    }

    async fn reviews(&self, days: i64) -> &'static str {
        let days = u64::try_from(days).expect("it is to come");
        let due = self.desk().world.clock.now().plus(Duration::from_hours(24 * days));
        let agents = vec!["billing".to_owned()];
        let asked = ReviewAsked { agents, sponsor: None, due: due.to_string() };
        word(&Box::pin(self.desk().run(Command::ReviewOpen(asked))).await)
    }

    /// Somebody answers the review that there is.
    async fn certifies(&self) -> Option<&'static str> {
        let agent = self.agent().await;
        let id = agent.review.open.as_ref()?.id.to_string();
        let reviewer = &self.desk().world.standing.sponsor.id;
        let file = format!(
            "item,version,decision,reviewer,reason\n{id}/billing,{},keep,{reviewer},a test\n",
            agent.version()
        );
        Some(word(&Box::pin(self.desk().run(Command::ReviewImport { id, file })).await))
    }

    /// What a call of `tool` comes to.
    async fn call(&self, instance: InstanceId, tool: &str) -> String {
        let world = &self.desk().world;
        let mut act = world.call(tool, json!({ "amount": 5 }));
        act.request.principal = Principal::Instance(instance);
        act.circumstances.actor = authority::Actor::Known(instance);
        match world.authorize(act).await {
            Ok(_) => "permitted".to_owned(),
            Err(NotPermitted::Denied { denial, .. }) => denial.code().to_owned(),
            Err(other) => other.to_string(),
        }
    }

    /// Whether the model says the same of everybody, and of whatever acts.
    async fn agrees(&self, done: &[Step]) {
        assert_eq!(self.desk().world.clock.now().as_millis(), self.model.now);
        for (name, person) in PEOPLE.into_iter().zip(&self.model.people) {
            let is_active = self.signals.is_active(name).await;
            assert_eq!(is_active, person.is_active, "{name}: {person:?}, after {done:?}");
        }
        assert_eq!(self.instances.len(), self.model.works());
        for (number, instance) in self.instances.iter().enumerate() {
            for (tool, does_more) in [("lookup", false), ("refund", true)] {
                let (told, expected) =
                    (self.call(*instance, tool).await, self.model.call(number, does_more));
                assert_eq!(told, expected, "{tool} in work {number}, after {done:?}");
            }
        }
    }
}

/// What a directory says whole of a user.
fn put(name: &str, (active, elsewhere): (bool, bool), manager: &str) -> Value {
    let mut said = at_work(name, if elsewhere { "bench" } else { "desk" }, manager);
    said["active"] = json!(active);
    said
}

async fn lives(steps: &[Step]) {
    let mut life = Box::pin(Life::begin()).await;
    life.agrees(&[]).await;
    for (number, step) in steps.iter().enumerate() {
        life = Box::pin(life.step(*step)).await;
        Box::pin(life.agrees(&steps[..=number])).await;
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 64,
        max_shrink_iters: 200,
        ..ProptestConfig::default()
    })]

    /// Whatever happens in whatever order: nobody acts whom the promises let not act, and whoever they let
    /// act does.
    #[test]
    fn sc_02_r_13_r_14_whatever_happens_calls_are_as_promised(
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(lives(&steps));
    }
}
