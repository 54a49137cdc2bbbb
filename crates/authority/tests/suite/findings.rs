//! Callers that are no active agent: each is one finding, told to one person after another until
//! somebody has looked.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use authority::{
    FINDINGS_OF_NOBODY_MAX, FINDINGS_OF_SOURCE_MAX, FINDINGS_OPEN_MAX, FindingNumbers, Messenger,
    News, Reader, STRANGERS_WAITING_MAX,
};
use model::{
    Agent, Closed, FactKey, Finding, PersonId, PersonState, Sha256Digest, Stranger, Timestamp,
};
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
        Self::behind(false, open).await
    }

    /// The same, behind a proxy if it `is_behind_proxy`.
    async fn behind(is_behind_proxy: bool, open: &[Stranger]) -> Self {
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
        let keeper = keeper.expect("the store can be read").behind_proxy(is_behind_proxy);
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

    /// Who came counts among many.
    async fn counts(&self, stranger: Stranger) {
        let many = stranger.clone().among_many().id();
        until("it counts", || async { self.find(&many).await.is_some() }).await;
        let before = self.stored(&many).await.count;
        self.world.authority.note_stranger(stranger.clone());
        until("it counts", || async { self.stored(&many).await.count > before }).await;
        assert_eq!(self.find(&stranger.id()).await, None, "one too many");
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
        let at = Timestamp::from_millis(1);
        let closed = Some(Closed { by, at, reason: "a test".to_owned() });
        let finding = Finding { closed, ..self.stored(id).await };
        commit(&self.world, vec![put(FactKey::finding(id), &finding)]).await;
    }
}

fn stranger(claimed: &str, source: &str) -> Stranger {
    let network = source.parse().ok().and_then(model::network);
    Stranger {
        cause: "client_unknown".to_owned(),
        tried: "token".to_owned(),
        server: Some("crm".parse().expect("a server")),
        source: Some(source.to_owned()),
        network: network.map(|network| network.to_string()),
        credential: Some(Sha256Digest::of(claimed.as_bytes())),
        claimed: Some(claimed.to_owned()),
        ..Stranger::default()
    }
}

/// The open finding of `stranger`, of whom nobody was told.
fn finding(stranger: Stranger) -> Finding {
    let at = Timestamp::from_millis(1);
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
    kept.counts(stranger("beyond", "192.0.2.7")).await;
    let open = || kept.numbers.open.load(Ordering::SeqCst);
    assert_eq!(open(), FINDINGS_OPEN_MAX as u64 + 1);
    kept.close(&all[0].id()).await;
    kept.close(&all[1].id()).await;
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
    kept.counts(stranger("beyond", "198.51.100.0")).await;
}

/// However many addresses a network has, it is one; and where all connect by one address, that is nobody's.
#[tokio::test]
async fn n_113_a_share_is_of_a_network_where_one_can_be_told() {
    let fill = |source: fn(usize) -> String, count: usize| {
        let one = |n: usize| stranger(&format!("{STUCK}-{n}"), &source(n));
        (0..count).map(one).collect::<Vec<_>>()
    };
    let beyond = stranger("beyond", "2001:db8:0:ff::1");
    let kept = Kept::with(&fill(|n| format!("2001:db8::{n}"), FINDINGS_OF_SOURCE_MAX)).await;
    kept.world.authority.note_stranger(beyond.clone());
    kept.counts(beyond).await;

    for (is_behind_proxy, source) in [(false, "127.0.0.1"), (true, "192.0.2.7")] {
        let of_nobody = fill(|_| "127.0.0.1".to_owned(), FINDINGS_OF_NOBODY_MAX - 1);
        let kept = Kept::behind(is_behind_proxy, &of_nobody).await;
        let [last, beyond] = ["last", "beyond"].map(|claimed| {
            kept.comes_from(claimed, source);
            Stranger { network: None, ..stranger(claimed, source) }
        });
        kept.counts(beyond).await;
        assert!(kept.find(&last.id()).await.is_some(), "{source}");
    }
}

/// Whoever makes up names and servers hides nobody: who comes after is told to who answers, as one of many.
#[tokio::test]
async fn r_24_a_flood_of_made_up_callers_blinds_nobody() {
    let mut kept = Kept::new().await;
    for n in 0..=FINDINGS_OF_SOURCE_MAX {
        let server = Some(format!("a{n}").parse().expect("a server"));
        kept.world.authority.note_stranger(Stranger { server, ..stranger("one", "192.0.2.7") });
    }
    let nowhere = Stranger { server: None, ..stranger("one", "192.0.2.7") };
    let times = FINDINGS_OF_SOURCE_MAX as u64 + 1;
    until("they are one", || async {
        kept.find(&nowhere.id()).await.is_some_and(|found| found.count == times)
    })
    .await;
    assert_eq!(kept.is_told("sam.sponsor@example.org").await.id, nowhere.id());
    for n in 1..FINDINGS_OF_SOURCE_MAX {
        kept.comes(&format!("made-up-{n}"));
    }
    for _ in 1..FINDINGS_OF_SOURCE_MAX {
        kept.is_told("tools.owner@example.org").await;
    }
    kept.comes("beyond");
    let many = kept.is_told("tools.owner@example.org").await;
    assert_eq!(many.id, stranger("beyond", "192.0.2.7").among_many().id());
    assert_eq!(many.stranger.source.as_deref(), Some("192.0.2.7"), "the last of them");
}

/// Owners, then each whom they report to, past who has left, and at last who administers.
#[tokio::test]
async fn r_25_a_finding_goes_up_the_line() {
    let mut kept = Kept::new().await;
    let reports = |id: &str, manager: &str, state: Option<PersonState>| {
        let mut person = person(&format!("{id}@example.org"), &[]);
        person.manager = Some(format!("{manager}@example.org").parse().expect("a person"));
        person.state = state.unwrap_or(person.state);
        put(FactKey::person(&person.id), &person)
    };
    let left = Some(PersonState::Inactive { since: Timestamp::from_millis(1) });
    let people = [
        reports("tools.owner", "gone", None),
        reports("gone", "head", left),
        reports("head", "tools.owner", None),
    ];
    commit(&kept.world, people.into()).await;
    kept.comes("nobody");
    for who in ["tools.owner@example.org", "head@example.org", "sam.sponsor@example.org"] {
        let told = kept.is_told(who).await;
        let count = told.told.len() + 1;
        until("it is kept", || async { kept.stored(&told.id).await.told.len() == count }).await;
        kept.world.clock.advance(ESCALATE_AFTER);
    }
}

/// However many findings are open, one look reads so many of them at once, and people once.
#[tokio::test]
async fn what_a_look_reads_does_not_grow_with_what_is_due() {
    let all = strangers("nobody", FINDINGS_OPEN_MAX, 16).into_iter();
    let all: Vec<_> = all.map(|stranger| Stranger { server: None, ..stranger }).collect();
    let kept = Kept::with(&all).await;
    kept.is_deaf.store(true, Ordering::SeqCst);
    let store = &kept.world.store;
    let (loaded, listed) = (store.loaded(), store.people_listed());
    let untold = || kept.numbers.untold.load(Ordering::SeqCst);
    until("three looks are over", || async { untold() > 2 * AT_ONCE as u64 }).await;
    let looks = usize::try_from(untold()).expect("a number") / AT_ONCE + 2;
    let (loaded, listed) = (store.loaded() - loaded, store.people_listed() - listed);
    assert!(listed <= looks, "{listed} listings in {looks} looks");
    assert!(loaded <= looks * (FINDINGS_OPEN_MAX / 64 + 1), "{loaded} readings in {looks} looks");
}

/// Strangers wait to be written down up to a limit, beyond which they are in refusal records only.
#[tokio::test]
async fn n_113_so_many_strangers_wait_to_be_written_down() {
    let world = World::new().await;
    let one = stranger("nobody", "192.0.2.7");
    let keeper = world.authority.finding_keeper(None, ESCALATE_AFTER).await;
    for _ in 0..=STRANGERS_WAITING_MAX {
        world.authority.note_stranger(one.clone());
    }
    tokio::spawn(keeper.expect("the store can be read").run());
    let count = async || {
        let mut reader = Reader::new(world.authority.pip().store());
        let found = reader.find::<Finding>(FactKey::finding(&one.id())).await;
        found.expect("the store can be read").map_or(0, |finding| finding.count)
    };
    let most = STRANGERS_WAITING_MAX as u64;
    until("all who wait are written down", || async { count().await == most }).await;
    world.authority.note_stranger(one.clone());
    until("there was no other", || async { count().await == most + 1 }).await;
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

/// However many strangers wait, whoever is told is told of what was committed with what came of it.
#[tokio::test]
async fn strangers_keep_nobody_from_hearing_of_what_was_committed() {
    let world = World::new().await;
    let authority = &world.authority;
    let keeper = authority.finding_keeper(None, ESCALATE_AFTER).await;
    let keeper = keeper.expect("the store can be read");
    let numbers = keeper.numbers();
    for _ in 0..=STRANGERS_WAITING_MAX {
        authority.note_stranger(stranger("nobody", "192.0.2.7"));
    }
    let mut reader = Reader::new(authority.pip().store());
    let found = authority.found(&mut reader, stranger("receiver", "192.0.2.8")).await;
    let (finding, record) = found.expect("the store can be read");
    let effects = vec![put(FactKey::finding(&finding.id), &finding)];
    let unit = Unit { entries: vec![record], effects, ..Unit::default() };
    world.journal.store().commit(unit).await.expect("it commits");
    authority.note_committed();
    tokio::spawn(keeper.run());
    until("both are open", || async { numbers.open.load(Ordering::SeqCst) == 2 }).await;
}

/// Of an agent that departs from what is declared of it hears who keeps it running, then its sponsor.
#[tokio::test]
async fn r_48_a_departure_is_told_to_those_who_answer_for_the_agent() {
    let mut kept = Kept::new().await;
    let owner = "tools.owner@example.org";
    let technical_owner = owner.parse().expect("a person");
    let agent = Agent { technical_owner, ..kept.world.standing.agent.clone() };
    kept.world.put(FactKey::agent(&agent.name), &agent).await;
    let (id, tool) = (kept.world.standing.instance.id, "other/tool".parse().expect("a tool"));
    for _ in 0..3 {
        kept.world.authority.asked_for(id, &tool).await;
    }
    assert_eq!(kept.is_told(owner).await.stranger.cause, "departed_tool");
    kept.world.clock.advance(ESCALATE_AFTER);
    kept.is_told("sam.sponsor@example.org").await;
}
