//! Callers that are no active agent: each is one finding, told to one person after another until
//! somebody has looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use authority::{FindingNumbers, Messenger, Reader};
use model::{Closed, FactKey, Finding, PersonId, Sha256Digest, Stranger};
use store::Unit;
use tokio::sync::mpsc;

use crate::support::{World, person, put, until};

const ESCALATE_AFTER: Duration = Duration::from_mins(15);

/// Somebody who passes on what they are told, or does not.
struct Passing {
    told: mpsc::UnboundedSender<(PersonId, Finding)>,
    is_deaf: Arc<AtomicBool>,
}

#[async_trait]
impl Messenger for Passing {
    async fn tell(&self, person: &PersonId, finding: &Finding) -> Result<(), String> {
        if self.is_deaf.load(Ordering::SeqCst) {
            return Err("nobody answers".to_owned());
        }
        self.told.send((person.clone(), finding.clone())).map_err(|error| error.to_string())
    }
}

/// A deployment whose tools belong to `tools.owner`, and whose findings are kept.
struct Kept {
    world: World,
    told: mpsc::UnboundedReceiver<(PersonId, Finding)>,
    is_deaf: Arc<AtomicBool>,
    numbers: Arc<FindingNumbers>,
}

impl Kept {
    async fn new() -> Self {
        let owner = person("tools.owner@example.org", &[]);
        let world = World::with(|facts| {
            let tools = facts.tools.iter_mut();
            tools.for_each(|tool| tool.owner = Some(owner.id.clone()));
        });
        let world = world.await;
        let key = FactKey::person(&owner.id);
        commit(&world, vec![put(key, &owner)]).await;
        let (sender, told) = mpsc::unbounded_channel();
        let is_deaf = Arc::new(AtomicBool::new(false));
        let messenger = Arc::new(Passing { told: sender, is_deaf: is_deaf.clone() });
        let keeper = world.authority.finding_keeper(Some(messenger), ESCALATE_AFTER).await;
        let keeper = keeper.expect("the store can be read");
        let numbers = keeper.numbers();
        tokio::spawn(keeper.run());
        Self { world, told, is_deaf, numbers }
    }

    fn comes(&self, claimed: &str) -> Sha256Digest {
        let stranger = Stranger {
            cause: "client_unknown".to_owned(),
            tried: "token".to_owned(),
            server: Some("crm".parse().expect("a server")),
            source: Some("192.0.2.7".to_owned()),
            credential: Some(Sha256Digest::of(claimed.as_bytes())),
            claimed: Some(claimed.to_owned()),
            client: None,
        };
        let id = stranger.id();
        self.world.authority.note_stranger(stranger);
        id
    }

    async fn is_told(&mut self, person: &str) -> Finding {
        let (told, finding) = self.told.recv().await.expect("somebody tells");
        assert_eq!(told.as_str(), person);
        finding
    }

    async fn stored(&self, id: &Sha256Digest) -> Finding {
        let mut reader = Reader::new(self.world.authority.pip().store());
        reader.need(FactKey::finding(id)).await.expect("it is in the register")
    }
}

async fn commit(world: &World, effects: Vec<store::Effect>) {
    let unit = Unit { effects, ..Unit::default() };
    world.journal.store().commit(unit).await.expect("it is written");
}

#[tokio::test]
async fn r_24_r_25_an_unknown_caller_is_one_finding_told_up_the_line_until_somebody_looks() {
    let mut kept = Kept::new().await;
    let id = kept.comes("nobody");
    assert_eq!(kept.comes("nobody"), id);
    let finding = kept.is_told("tools.owner@example.org").await;
    assert_eq!((finding.id, finding.state.as_str()), (id, "unknown"));
    assert_eq!(finding.stranger.source.as_deref(), Some("192.0.2.7"));
    until("it is counted", || async { kept.stored(&id).await.count == 2 }).await;
    // Nobody has looked: the next in line is told, once.
    kept.world.clock.advance(ESCALATE_AFTER);
    kept.is_told("sam.sponsor@example.org").await;
    until("it is kept", || async { kept.stored(&id).await.told.len() == 2 }).await;
    kept.world.clock.advance(2 * ESCALATE_AFTER);

    let events: Vec<_> = kept.world.records("system").await;
    let events: Vec<_> = events.iter().map(|it| it.text_of("event")).collect();
    assert_eq!(events, ["unknown_agent", "unknown_agent_told", "unknown_agent_told"]);

    let by: PersonId = "sam.sponsor@example.org".parse().expect("a person");
    let closed = Closed { by, at: model::Timestamp::from_millis(1), reason: "a test".to_owned() };
    let finding = Finding { closed: Some(closed), ..kept.stored(&id).await };
    commit(&kept.world, vec![put(FactKey::finding(&id), &finding)]).await;
    until("it is closed", || async { kept.numbers.open.load(Ordering::SeqCst) == 0 }).await;
    // It comes again: it is open again, and those who answer are told again.
    kept.comes("nobody");
    let again = kept.is_told("tools.owner@example.org").await;
    assert_eq!((again.id, again.count, again.closed), (id, 3, None));
    assert!(kept.told.try_recv().is_err(), "nobody else was told");
}

#[tokio::test]
async fn who_cannot_be_told_is_counted_and_told_later() {
    let mut kept = Kept::new().await;
    kept.is_deaf.store(true, Ordering::SeqCst);
    kept.comes("nobody");
    until("it is counted", || async { kept.numbers.untold.load(Ordering::SeqCst) == 1 }).await;
    kept.is_deaf.store(false, Ordering::SeqCst);
    kept.is_told("tools.owner@example.org").await;
    until("it is told", || async { kept.numbers.untold.load(Ordering::SeqCst) == 0 }).await;
}
