//! Callers that are no active agent: each is one finding, told to one person after another until
//! somebody has looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use authority::{
    FINDINGS_OF_SOURCE_MAX, FINDINGS_OPEN_MAX, FindingNumbers, Messenger, News, Reader,
};
use model::{Closed, FactKey, Finding, PersonId, Sha256Digest, Stranger};
use store::Unit;
use tokio::sync::mpsc;

use crate::support::{World, person, put, until};

const ESCALATE_AFTER: Duration = Duration::from_mins(15);

/// How many are told at once, and how long one attempt may take (`docs/findings.md`).
const AT_ONCE: usize = 64;
const ATTEMPT: Duration = Duration::from_secs(10);

/// Of whom nobody hears anything: whoever is told of one hangs.
const STUCK: &str = "stuck";

/// Somebody who passes on what they are told, or does not.
struct Passing {
    told: mpsc::UnboundedSender<(PersonId, Finding)>,
    is_deaf: Arc<AtomicBool>,
    /// How many attempts hang, or were cut off.
    hung: Arc<AtomicUsize>,
}

#[async_trait]
impl Messenger for Passing {
    async fn tell(&self, person: &PersonId, news: &News) -> Result<(), String> {
        let News::UnknownAgent(finding) = news else { return Err("no finding".to_owned()) };
        if self.is_deaf.load(Ordering::SeqCst) {
            return Err("nobody answers".to_owned());
        }
        if finding.stranger.claimed.as_deref().is_some_and(|claimed| claimed.starts_with(STUCK)) {
            self.hung.fetch_add(1, Ordering::SeqCst);
            std::future::pending::<()>().await;
        }
        self.told
            .send((person.clone(), finding.as_ref().clone()))
            .map_err(|error| error.to_string())
    }
}

/// A deployment whose tools belong to `tools.owner`, and whose findings are kept.
struct Kept {
    world: World,
    told: mpsc::UnboundedReceiver<(PersonId, Finding)>,
    is_deaf: Arc<AtomicBool>,
    hung: Arc<AtomicUsize>,
    numbers: Arc<FindingNumbers>,
}

impl Kept {
    async fn new() -> Self {
        Self::with(&[]).await
    }

    /// The same, which has `open` findings in its register already.
    async fn with(open: &[Stranger]) -> Self {
        let owner = person("tools.owner@example.org", &[]);
        let world = World::with(|facts| {
            let tools = facts.tools.iter_mut();
            tools.for_each(|tool| tool.owner = Some(owner.id.clone()));
        });
        let world = world.await;
        let key = FactKey::person(&owner.id);
        commit(&world, vec![put(key, &owner)]).await;
        let open = open.iter().map(|stranger| finding(stranger.clone()));
        let open = open.map(|finding| put(FactKey::finding(&finding.id), &finding));
        commit(&world, open.collect()).await;
        let (sender, told) = mpsc::unbounded_channel();
        let is_deaf = Arc::new(AtomicBool::new(false));
        let hung = Arc::new(AtomicUsize::new(0));
        let messenger = Passing { told: sender, is_deaf: is_deaf.clone(), hung: hung.clone() };
        let messenger = Arc::new(messenger);
        let keeper = world.authority.finding_keeper(Some(messenger), ESCALATE_AFTER).await;
        let keeper = keeper.expect("the store can be read");
        let numbers = keeper.numbers();
        tokio::spawn(keeper.run());
        Self { world, told, is_deaf, hung, numbers }
    }

    fn comes(&self, claimed: &str) -> Sha256Digest {
        self.comes_from(claimed, "192.0.2.7")
    }

    fn comes_from(&self, claimed: &str, source: &str) -> Sha256Digest {
        let stranger = stranger(claimed, source);
        let id = stranger.id();
        self.world.authority.note_stranger(stranger);
        id
    }

    async fn is_told(&mut self, person: &str) -> Finding {
        let (told, finding) = self.told.recv().await.expect("somebody tells");
        assert_eq!(told.as_str(), person);
        finding
    }

    async fn find(&self, id: &Sha256Digest) -> Option<Finding> {
        let mut reader = Reader::new(self.world.authority.pip().store());
        reader.find(FactKey::finding(id)).await.expect("the store can be read")
    }

    async fn stored(&self, id: &Sha256Digest) -> Finding {
        self.find(id).await.expect("it is in the register")
    }

    /// Waits until all who came so far were dealt with: they are, one after another.
    async fn all_seen(&self, known: &str, source: &str) {
        let id = stranger(known, source).id();
        until("it is open", || async { self.find(&id).await.is_some() }).await;
        let before = self.stored(&id).await.count;
        self.comes_from(known, source);
        until("it is counted", || async { self.stored(&id).await.count > before }).await;
    }

    /// Somebody looks at `id`.
    async fn close(&self, id: &Sha256Digest) {
        let by: PersonId = "sam.sponsor@example.org".parse().expect("a person");
        let at = model::Timestamp::from_millis(1);
        let closed = Some(Closed { by, at, reason: "a test".to_owned() });
        let finding = Finding { closed, ..self.stored(id).await };
        commit(&self.world, vec![put(FactKey::finding(id), &finding)]).await;
    }
}

fn stranger(claimed: &str, source: &str) -> Stranger {
    Stranger {
        cause: "client_unknown".to_owned(),
        tried: "token".to_owned(),
        server: Some("crm".parse().expect("a server")),
        source: Some(source.to_owned()),
        credential: Some(Sha256Digest::of(claimed.as_bytes())),
        claimed: Some(claimed.to_owned()),
        client: None,
        proven: None,
        holder: None,
        person: None,
        agents: Vec::new(),
    }
}

/// The open finding of `stranger`, of whom nobody was told.
fn finding(stranger: Stranger) -> Finding {
    let at = model::Timestamp::from_millis(1);
    let (id, state, told) = (stranger.id(), "unknown".to_owned(), Vec::new());
    Finding { id, state, stranger, first: at, last: at, count: 1, told, closed: None }
}

/// `count` strangers, `of_one` from each address.
fn strangers(claimed: &str, count: usize, of_one: usize) -> Vec<Stranger> {
    let one = |n: usize| stranger(&format!("{claimed}-{n}"), &format!("198.51.100.{}", n / of_one));
    (0..count).map(one).collect()
}

async fn commit(world: &World, effects: Vec<store::Effect>) {
    for effects in effects.chunks(store::UNIT_MAX) {
        let unit = Unit { effects: effects.to_vec(), ..Unit::default() };
        world.journal.store().commit(unit).await.expect("it is written");
    }
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

    kept.close(&id).await;
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

/// whoever hangs is one of several who are told at once, and is given up in time.
#[tokio::test]
async fn r_25_who_hangs_when_told_of_one_holds_up_no_other() {
    let mut kept = Kept::with(&strangers(STUCK, AT_ONCE - 1, 16)).await;
    let hang = async |kept: &Kept, count: usize| {
        until("they hang", || async { kept.hung.load(Ordering::SeqCst) == count }).await;
    };
    hang(&kept, AT_ONCE - 1).await;
    kept.comes("first");
    let told = kept.is_told("tools.owner@example.org").await;
    assert_eq!(told.stranger.claimed.as_deref(), Some("first"), "there is one more place");
    assert_eq!(kept.numbers.untold.load(Ordering::SeqCst), 0, "nothing is late yet");

    kept.comes_from(STUCK, "192.0.2.8");
    hang(&kept, AT_ONCE).await;
    kept.comes("second");
    kept.all_seen("second", "192.0.2.7").await;
    assert!(kept.told.try_recv().is_err(), "there is none");
    kept.world.clock.advance(ATTEMPT);
    let told = kept.is_told("tools.owner@example.org").await;
    assert_eq!(told.stranger.claimed.as_deref(), Some("second"), "before those that hung");
    let untold = || kept.numbers.untold.load(Ordering::SeqCst);
    until("they are counted", || async { untold() == AT_ONCE as u64 }).await;
    assert_eq!(kept.stored(&stranger(STUCK, "192.0.2.8").id()).await.told, []);
}

#[tokio::test]
async fn n_113_findings_are_open_up_to_their_limit() {
    let all = strangers(STUCK, FINDINGS_OPEN_MAX - 1, 16);
    let kept = Kept::with(&all).await;
    kept.comes("last");
    let beyond = kept.comes("beyond");
    kept.all_seen("last", "192.0.2.7").await;
    assert_eq!(kept.find(&beyond).await, None, "one too many");
    let open = || kept.numbers.open.load(Ordering::SeqCst);
    assert_eq!(open(), FINDINGS_OPEN_MAX as u64);
    kept.close(&all[0].id()).await;
    until("there is room", || async { open() < FINDINGS_OPEN_MAX as u64 }).await;
    kept.comes("beyond");
    until("it is open", || async { kept.find(&beyond).await.is_some() }).await;
}

#[tokio::test]
async fn n_113_one_address_has_its_share_of_the_findings() {
    let of_one = strangers(STUCK, FINDINGS_OF_SOURCE_MAX - 1, FINDINGS_OF_SOURCE_MAX);
    let kept = Kept::with(&of_one).await;
    let last = kept.comes_from("last", "198.51.100.0");
    let beyond = kept.comes_from("beyond", "198.51.100.0");
    let other = kept.comes("other");
    until("another's is open", || async { kept.find(&other).await.is_some() }).await;
    assert!(kept.find(&last).await.is_some());
    assert_eq!(kept.find(&beyond).await, None, "one too many");
}

/// Whoever comes unknown from an address takes no room from a theft that is found there.
#[tokio::test]
async fn n_007_strangers_hide_no_theft() {
    let kept = Kept::new().await;
    for stranger in strangers("nobody", FINDINGS_OF_SOURCE_MAX, FINDINGS_OF_SOURCE_MAX) {
        kept.world.authority.note_stranger(stranger);
    }
    until("all are open", || async {
        kept.numbers.open.load(Ordering::SeqCst) == FINDINGS_OF_SOURCE_MAX as u64
    })
    .await;
    let theft = |holder: &str| Stranger {
        cause: "holder_absent".to_owned(),
        proven: Some("billing".parse().expect("an agent")),
        holder: Some(holder.to_owned()),
        ..stranger("billing", "198.51.100.0")
    };
    let (one, other) = (theft("ins_one"), theft("ins_other"));
    assert_ne!(one.id(), other.id(), "each whose token it is is a finding of its own");
    for found in [&one, &other] {
        kept.world.authority.note_stranger(found.clone());
        until("it is found", || async { kept.find(&found.id()).await.is_some() }).await;
    }
}
