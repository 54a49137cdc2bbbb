//! Who answers for an agent: nothing passes to anybody by itself.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use model::{Agent, Clock as _, FactKey, LoginSession, MandateBasis, Person, PersonState};
use pap::{By, Command, SPONSORED_MAX, Stands};
use store::Store as _;

use crate::desk::{Desk, word};
use crate::directories::{Scene, user};
use crate::support::stores::OnCommit;
use crate::support::{World, person, put};

/// A deployment whose sponsor reports to `carl`, and he to `dora`.
async fn desk() -> Desk {
    let world = World::with(|facts| {
        facts.sponsor.manager = Some("carl".parse().expect("a person"));
    })
    .await;
    let desk = Desk::over(world).await;
    let below = |manager: Option<&str>, id: &str| {
        let manager = manager.map(|id| id.parse().expect("a person"));
        Person { manager, ..person(id, &[]) }
    };
    for person in [below(Some("dora"), "carl"), below(None, "dora"), below(None, "eve")] {
        let key = desk.world.journal.sealer().new_data_key(&person.id);
        let effects = vec![
            put(FactKey::person(&person.id), &person),
            store::Effect::Put { key: key.key, body: key.body },
        ];
        let unit = store::Unit { effects, ..store::Unit::default() };
        desk.world.journal.store().commit(unit).await.expect("it commits");
    }
    desk
}

impl Desk {
    async fn sponsor(&self) -> Person {
        let key = FactKey::person(&self.world.standing.sponsor.id);
        serde_json::from_value(self.fact(key).await.expect("they are known")).expect("a person")
    }

    /// The sponsor leaves.
    async fn leaves(&self) {
        self.world.clock.advance(Duration::from_secs(1));
        let state = PersonState::Inactive { since: self.world.clock.now() };
        let person = Person { state, ..self.sponsor().await };
        self.world.put(FactKey::person(&person.id), &person).await;
    }

    /// The sponsor reports to somebody else.
    async fn moves(&self) {
        self.world.clock.advance(Duration::from_secs(1));
        let was = self.sponsor().await;
        let is = Person { manager: Some("dora".parse().expect("a person")), ..was.clone() };
        let is = was.becomes(is, self.world.clock.now());
        self.world.put(FactKey::person(&is.id), &is).await;
        self.world.clock.advance(Duration::from_secs(1));
    }

    async fn take_over(&self, who: &str) -> &'static str {
        let name = self.world.standing.agent.name.to_string();
        let by = who.parse().expect("a person");
        let command = Command::AgentTakeOver { name, reason: "they left".to_owned(), word: None };
        word(&self.run_as(&by, command).await)
    }

    async fn affirm(&self, who: &str) -> &'static str {
        let name = self.world.standing.agent.name.to_string();
        let by = who.parse().expect("a person");
        word(&self.run_as(&by, Command::AgentAffirm { name, word: None }).await)
    }

    async fn shown(&self, who: &str) -> Vec<Stands> {
        let person = who.parse().expect("a person");
        let shown = self.administration.sponsored(By::from(&person)).await.expect("it is told");
        shown.into_iter().map(|it| it.stands).collect()
    }

    async fn agent(&self) -> Agent {
        let key = FactKey::agent(&self.world.standing.agent.name);
        serde_json::from_value(self.fact(key).await.expect("it is known")).expect("an agent")
    }
}

/// Whoever the sponsor reported to takes over, and nobody else; not even an administrator.
#[tokio::test]
async fn r_13_those_to_whom_the_sponsor_reported_take_over_when_they_are_gone() {
    for successor in ["carl", "dora"] {
        let desk = desk().await;
        assert_eq!(desk.take_over(successor).await, "invalid", "the sponsor answers for it");
        assert_eq!(desk.shown(successor).await, []);
        desk.leaves().await;
        assert_eq!(desk.call("lookup").await, "sponsor_not_active");
        let administrator = desk.world.standing.sponsor.id.to_string();
        for other in ["eve", &administrator] {
            assert_eq!(desk.take_over(other).await, "refused", "{other}");
            assert_eq!(desk.shown(other).await, [], "{other}");
        }
        assert_eq!(desk.shown(successor).await, [Stands::Vacant]);
        desk.world.clock.advance(Duration::from_secs(1));
        assert_eq!(desk.take_over(successor).await, "done");
        let agent = desk.agent().await;
        assert_eq!(agent.sponsor.as_str(), successor);
        assert_eq!(desk.call("lookup").await, "taken_over", "what it was given before is over");
        assert_eq!(desk.take_over(successor).await, "refused", "it is theirs");
        assert_eq!(desk.shown(successor).await, [Stands::Answered]);
    }
}

/// Who left and came back takes nothing over, and nothing of what was is revived.
#[tokio::test]
async fn r_13_who_comes_back_is_no_successor_of_themselves() {
    let desk = desk().await;
    let sponsor = desk.world.standing.sponsor.id.to_string();
    desk.leaves().await;
    let was = desk.sponsor().await;
    let active = PersonState::Active { authorization_cutoff: None };
    let is = was.becomes(Person { state: active, ..was.clone() }, desk.world.clock.now());
    desk.world.put(FactKey::person(&is.id), &is).await;
    desk.world.clock.advance(Duration::from_secs(1));
    assert_eq!(desk.call("lookup").await, "sponsor_not_active");
    assert_eq!(desk.take_over(&sponsor).await, "refused");
    assert_eq!(desk.shown(&sponsor).await, []);
    assert_eq!(desk.take_over("carl").await, "done");
}

/// A sponsor who moves affirms: what was under way goes on.
#[tokio::test]
async fn r_13_a_sponsor_who_moves_affirms_or_another_takes_over() {
    let desk = desk().await;
    let sponsor = desk.world.standing.sponsor.id.to_string();
    desk.moves().await;
    assert_eq!(desk.call("lookup").await, "sponsor_moved");
    assert_eq!(desk.shown(&sponsor).await, [Stands::ToAffirm]);
    assert_eq!(desk.affirm("eve").await, "refused");
    assert_eq!(desk.affirm(&sponsor).await, "done");
    assert_eq!(desk.call("lookup").await, "permitted");
    assert_eq!(desk.shown(&sponsor).await, [Stands::Answered]);
    desk.moves().await;
    assert_eq!(desk.call("lookup").await, "permitted", "to whom they reported already");
    assert!(desk.agent().await.affirmed.is_some());
}

/// Nobody does anything by a login that is not theirs, or not any more when it is done: a directory gives it to others.
#[tokio::test]
async fn sc_02_nothing_is_done_at_the_pages_by_a_login_that_is_somebody_elses() {
    let desk = desk().await;
    let (facts, login) = (&desk.world.standing, FactKey::login("https://idp.example", "00u1"));
    let person = &facts.sponsor.id;
    let affirms = async || {
        desk.world.clock.advance(Duration::from_secs(1));
        let session = Some(LoginSession { id: None, since: desk.world.clock.now() });
        let by = By { session, login: Some(&login), ..By::from(person) };
        let name = facts.agent.name.as_str();
        word(&Box::pin(desk.administration.agent_affirm(by, Vec::new(), name)).await)
    };
    assert_eq!(affirms().await, "conflict", "it is nobody's");
    desk.has_refused_for("session_outdated").await;
    desk.world.put(login.clone(), person).await;
    let effects = vec![put(login.clone(), &facts.other.id)];
    let becomes = store::Unit { effects, ..store::Unit::default() };
    desk.world.store.on_commit([OnCommit::After(becomes)]);
    assert_eq!(affirms().await, "conflict", "it becomes somebody else's meanwhile");
    assert_eq!(desk.world.store.commits_left(), 0);
    assert_eq!(affirms().await, "conflict", "it is somebody else's");
    desk.world.put(login.clone(), person).await;
    assert_eq!(affirms().await, "done");
}

/// That a sponsor leaves is written of them, and of nothing that they answer for: how much that is does not matter.
#[tokio::test]
async fn r_13_what_is_written_of_a_sponsor_who_leaves_does_not_grow_with_their_agents() {
    let written = async |agents: usize| {
        let world = World::with(|facts| {
            facts.agent.sponsor = "ann".parse().expect("a person");
            facts.mandate.basis = MandateBasis::Standing { sponsor: facts.agent.sponsor.clone() };
            facts.task.mandate_digest = facts.mandate.digest();
        });
        let desk = Desk::over(Box::pin(world).await).await;
        let scene = Box::pin(Scene::over(desk)).await;
        scene.creates(user("ann")).await;
        let world = &scene.desk.world;
        for number in 0..agents {
            let name = format!("more-{number}").parse().expect("a name");
            let more = Agent { name, ..world.standing.agent.clone() };
            world.put(FactKey::agent(&more.name), &more).await;
        }
        assert_eq!(scene.desk.call("lookup").await, "permitted");
        world.drained().await;
        let keys = Arc::new(Mutex::new(BTreeSet::new()));
        let heard = keys.clone();
        world.store.on_change(Arc::new(move |changed: &[FactKey], _| {
            let changed = changed.iter().map(ToString::to_string);
            heard.lock().expect("no test panics while it holds it").extend(changed);
        }));
        scene.activity("ann", false).await.expect("gone");
        let written = keys.lock().expect("no test panics while it holds it").clone();
        assert_eq!(scene.desk.call("lookup").await, "sponsor_not_active");
        written
    };
    let (few, many) = (Box::pin(written(0)).await, Box::pin(written(50)).await);
    assert_eq!(few, many);
    let ann = FactKey::person(&"ann".parse().expect("a person")).to_string();
    assert!(many.contains(&ann), "{many:?}");
    let of_agents = ["agent/", "instance/", "mandate/", "task/"];
    let is_of_agents = |key: &String| of_agents.iter().any(|prefix| key.starts_with(prefix));
    assert!(!many.iter().any(is_of_agents), "{many:?}");
}

#[tokio::test]
async fn a_reason_is_needed_and_not_too_long() {
    let desk = desk().await;
    desk.leaves().await;
    for (length, expected) in [(0, "invalid"), (513, "invalid"), (512, "done")] {
        let name = desk.world.standing.agent.name.to_string();
        let command = Command::AgentTakeOver { name, reason: "x".repeat(length), word: None };
        let by = "carl".parse().expect("a person");
        assert_eq!(word(&desk.run_as(&by, command).await), expected, "{length}");
    }
}

/// Nobody is shown more agents than fit a page.
#[tokio::test]
async fn i_18_what_somebody_answers_for_is_shown_up_to_its_limit() {
    let desk = desk().await;
    let agent = desk.agent().await;
    for number in 0..SPONSORED_MAX {
        let name = format!("more-{number}").parse().expect("a name");
        let more = Agent { name, ..agent.clone() };
        desk.world.put(FactKey::agent(&more.name), &more).await;
    }
    let sponsor = desk.world.standing.sponsor.id.to_string();
    assert_eq!(desk.shown(&sponsor).await.len(), SPONSORED_MAX);
}
