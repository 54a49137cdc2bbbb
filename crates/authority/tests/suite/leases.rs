//! R14: what nobody renews ends by itself, and those who answer are reminded before.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use authority::{Cut, LeaseNumbers, Messenger, News};
use model::record::OutcomeKind;
use model::{
    Agent, Clock as _, FactKey, Heard, LEASE_MAX, LeaseReminder, OpenReview, Person, PersonId,
    PersonState, Reminder, ReviewId, Speaker, SponsorLeft, Timestamp,
};
use serde_json::json;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;

use crate::support::{Facts, World, until};

const DAY: Duration = Duration::from_hours(24);

/// A lease, with everything else lasting longer.
fn leased(facts: &mut Facts) {
    let far = facts.task.opened.plus(80 * DAY);
    (facts.mandate.valid_until, facts.task.deadline) = (far, far);
    facts.task.mandate_digest = facts.mandate.digest();
}

/// A call under way ends with the lease, though nothing was written and nobody said anything.
#[tokio::test]
async fn r_14_a_call_under_way_is_cut_when_the_lease_ends() {
    let world = World::with(leased).await;
    let last = Duration::from_millis(1);
    world.clock.advance(LEASE_MAX.saturating_sub(last));
    let permit = world.authorize(world.call("lookup", json!({}))).await.expect("it is permitted");
    let watch = world.authority.watch(&permit);
    let begun = permit.begin(world.clock.as_ref()).expect("it begins");
    let cut = watch.no_longer_permitted();
    tokio::pin!(cut);
    let goes_on = tokio::time::timeout(Duration::from_millis(200), &mut cut).await;
    assert!(goes_on.is_err(), "the lease runs");
    world.clock.advance(last);
    assert_eq!(world.clock.now(), world.standing.agent.leased_until());
    match cut.await {
        Cut::Denied(denial) => assert_eq!(denial.code(), "lease_ended"),
        Cut::Undecidable(why) => panic!("{why}"),
    }
    begun.running.finish(OutcomeKind::Cut, None);
    world.drained().await;
}

/// Somebody who passes on what they are told, or does not.
struct Passing {
    told: mpsc::UnboundedSender<(PersonId, Reminder)>,
    is_deaf: Arc<AtomicBool>,
}

#[async_trait]
impl Messenger for Passing {
    async fn tell(&self, person: &PersonId, news: &News) -> Result<(), String> {
        let News::Reminder(reminder) = news else { return Err("no reminder".to_owned()) };
        if self.is_deaf.load(Ordering::SeqCst) {
            return Err("nobody answers".to_owned());
        }
        self.told.send((person.clone(), reminder.clone())).map_err(|error| error.to_string())
    }
}

/// A deployment whose leases are looked through.
struct Kept {
    world: World,
    told: mpsc::UnboundedReceiver<(PersonId, Reminder)>,
    is_deaf: Arc<AtomicBool>,
    numbers: Arc<LeaseNumbers>,
    running: JoinHandle<()>,
}

impl Kept {
    /// The agent's own sponsor, somebody else, and somebody who has left are asked.
    async fn new() -> Self {
        let gone = crate::support::person("gone", &[]);
        let world = World::with(|facts| {
            leased(facts);
            facts.agent.backups = [facts.other.id.clone(), gone.id.clone()].into();
        })
        .await;
        let state = PersonState::Inactive { since: world.clock.now() };
        world.put(FactKey::person(&gone.id), &Person { state, ..gone.clone() }).await;
        Self::over(world)
    }

    fn over(world: World) -> Self {
        let (sender, told) = mpsc::unbounded_channel();
        let is_deaf = Arc::new(AtomicBool::new(false));
        let messenger = Passing { told: sender, is_deaf: is_deaf.clone() };
        let keeper = world.authority.lease_keeper(Some(Arc::new(messenger)));
        let numbers = keeper.numbers();
        let running = tokio::spawn(keeper.run());
        Self { world, told, is_deaf, numbers, running }
    }

    /// The process ends, and starts again.
    async fn restarted(self) -> Self {
        self.running.abort();
        let _ = self.running.await;
        Self::over(self.world.restarted().await)
    }

    /// Goes to so long after the registration.
    fn goes_to(&self, after: Duration) {
        let at = self.world.standing.agent.registered.plus(after);
        self.world.clock.advance(at.since(self.world.clock.now()));
    }

    /// Who is reminded next that something ends, and of what.
    async fn ends(&mut self) -> (PersonId, LeaseReminder) {
        match self.told.recv().await.expect("somebody tells") {
            (person, Reminder::Ends(reminder)) => (person, reminder),
            (_, Reminder::Stopped(left)) => panic!("nobody left: {left:?}"),
        }
    }

    /// Who is asked next to follow somebody, and whom.
    async fn asked(&mut self) -> (String, SponsorLeft) {
        match self.told.recv().await.expect("somebody tells") {
            (person, Reminder::Stopped(left)) => (person.to_string(), left),
            (_, Reminder::Ends(reminder)) => panic!("nothing ends: {reminder:?}"),
        }
    }

    /// How often it is recorded that somebody was asked.
    async fn are_recorded(&self, count: usize) {
        until("it is recorded", || async {
            let told = self.world.records("system").await;
            told.iter().filter(|it| it.text_of("event") == "sponsor_left_told").count() == count
        })
        .await;
    }

    /// The sponsor becomes `state`, and moved at `moved`.
    async fn becomes(&self, state: PersonState, moved: Option<Timestamp>) {
        let sponsor = self.world.standing.sponsor.clone();
        let manager = Some("boss".parse().expect("a person"));
        let is = Person { state, moved, manager, ..sponsor };
        self.world.put(FactKey::person(&is.id), &is).await;
    }

    /// Both who are asked are told, and that is written.
    async fn are_told(&mut self, days: u32, until: Timestamp) {
        let mut who = Vec::new();
        for _ in 0..2 {
            let (person, reminder) = self.ends().await;
            assert_eq!((reminder.days, reminder.until), (days, until));
            who.push(person);
        }
        who.sort();
        let facts = &self.world.standing;
        assert_eq!(who, [facts.other.id.clone(), facts.sponsor.id.clone()]);
        let key = FactKey::reminded(&facts.agent.name);
        crate::support::until("it is written", || async {
            let loaded =
                store::Store::load(self.world.store.as_ref(), std::slice::from_ref(&key)).await;
            let body = loaded.expect("it can be read").bodies.into_iter().next().flatten();
            let known = body.and_then(|body| serde_json::from_slice::<model::Reminded>(&body).ok());
            known.is_some_and(|known| {
                known.until == until && known.told.get(&days).is_some_and(|told| told.len() == 2)
            })
        })
        .await;
    }

    async fn ending(&self, count: u64) {
        let ending = || self.numbers.ending.load(Ordering::SeqCst);
        until("leases are counted", || async { ending() == count }).await;
    }
}

/// A review awaits an answer, in so long after the registration.
fn in_review(facts: &mut Facts, due: Duration) {
    let (id, due) = (ReviewId::from_bytes([5; 16]), facts.task.opened.plus(due));
    let opened_by = facts.other.id.clone();
    facts.agent.review.open = Some(OpenReview { id, due, opened_by });
}

/// No answer by the date is an end, of what is under way too, though nothing was written.
#[tokio::test]
async fn r_75_a_call_under_way_is_cut_when_nobody_answered_the_review() {
    let world = World::with(|facts| {
        leased(facts);
        in_review(facts, 10 * DAY);
    })
    .await;
    let last = Duration::from_millis(1);
    world.clock.advance((10 * DAY).saturating_sub(last));
    let permit = world.authorize(world.call("lookup", json!({}))).await.expect("it is permitted");
    let watch = world.authority.watch(&permit);
    let begun = permit.begin(world.clock.as_ref()).expect("it begins");
    world.clock.advance(last);
    match watch.no_longer_permitted().await {
        Cut::Denied(denial) => assert_eq!(denial.code(), "review_lapsed"),
        Cut::Undecidable(why) => panic!("{why}"),
    }
    begun.running.finish(OutcomeKind::Cut, None);
    world.drained().await;
}

/// Of a review who opened it is reminded too; of the lease beside it, as if there were none.
#[tokio::test]
async fn r_75_those_who_are_asked_are_reminded_of_a_review() {
    let world = World::with(|facts| {
        leased(facts);
        in_review(facts, 20 * DAY);
    })
    .await;
    let due = world.clock.now().plus(20 * DAY);
    let (sponsor, other) = (world.standing.sponsor.id.clone(), world.standing.other.id.clone());
    let mut kept = Kept::over(world);
    for (day, days) in [(7, 14), (14, 7)] {
        kept.goes_to(day * DAY);
        let mut who = Vec::new();
        for _ in 0..2 {
            let (person, reminder) = kept.ends().await;
            assert_eq!((reminder.days, reminder.until), (days, due));
            assert_eq!(reminder.review, Some(ReviewId::from_bytes([5; 16])));
            who.push(person);
        }
        who.sort();
        assert_eq!(who, [other.clone(), sponsor.clone()]);
    }
    kept.goes_to(16 * DAY);
    let (person, reminder) = kept.ends().await;
    assert_eq!((person, reminder.days, reminder.review), (sponsor, 14, None));
}

/// Nobody who had a reminder is told it again: in what follows, whatever was told twice would come first.
#[tokio::test]
async fn r_14_those_who_are_asked_are_reminded_once_of_each_over_restarts() {
    let mut kept = Kept::new().await;
    let end = kept.world.standing.agent.leased_until();
    kept.goes_to(16 * DAY);
    kept.are_told(14, end).await;
    let mut kept = kept.restarted().await;
    kept.goes_to(16 * DAY + DAY / 2);
    kept.goes_to(23 * DAY);
    kept.are_told(7, end).await;
    kept.ending(1).await;
    let mut kept = kept.restarted().await;
    kept.ending(1).await;
    kept.goes_to(29 * DAY);
    kept.are_told(1, end).await;
    kept.goes_to(30 * DAY);
    kept.ending(0).await;

    // It is renewed too late, and the reminders begin anew.
    let end = kept.world.clock.now().plus(LEASE_MAX);
    let agent = Agent { valid_until: Some(end), ..kept.world.standing.agent.clone() };
    kept.world.put(FactKey::agent(&agent.name), &agent).await;
    kept.goes_to(46 * DAY);
    kept.are_told(14, end).await;
    let told = kept.world.records("system").await;
    let told = told.iter().filter(|it| it.text_of("event") == "lease_reminder_told").count();
    assert_eq!(told, 8);
    assert!(kept.told.try_recv().is_err(), "nobody else was told");
}

/// Who is begun to be looked after late has the nearest reminder only.
#[tokio::test]
async fn who_cannot_be_reminded_is_counted_and_reminded_later_of_what_is_nearest() {
    let mut kept = Kept::new().await;
    let end = kept.world.standing.agent.leased_until();
    let untold = |kept: &Kept| kept.numbers.untold.load(Ordering::SeqCst);
    kept.is_deaf.store(true, Ordering::SeqCst);
    kept.goes_to(17 * DAY);
    until("they are counted", || async { untold(&kept) == 2 }).await;
    kept.is_deaf.store(false, Ordering::SeqCst);
    kept.goes_to(24 * DAY);
    kept.are_told(7, end).await;
    until("all are told", || async { untold(&kept) == 0 }).await;
    assert!(kept.told.try_recv().is_err(), "of nothing else");
}

/// What was told and not written is written later, and not told again.
#[tokio::test]
async fn r_14_what_could_not_be_written_is_not_told_again() {
    let mut kept = Kept::new().await;
    let end = kept.world.standing.agent.leased_until();
    kept.world.store.fail_deferred(2);
    kept.goes_to(16 * DAY);
    for _ in 0..2 {
        kept.told.recv().await.expect("somebody tells");
    }
    until("both are refused", || async { kept.world.store.deferred_failures_left() == 0 }).await;
    kept.goes_to(16 * DAY + DAY / 2);
    until("they are written", || async {
        let told = kept.world.records("system").await;
        told.iter().filter(|it| it.text_of("event") == "lease_reminder_told").count() == 2
    })
    .await;
    kept.goes_to(23 * DAY);
    kept.are_told(7, end).await;
}

/// Nobody follows by themselves: who may is asked, once for each agent that stopped, over restarts.
#[tokio::test]
async fn who_may_follow_is_asked_once_when_a_sponsor_leaves() {
    let mut kept = Kept::new().await;
    let (sponsor, other) = {
        let facts = &kept.world.standing;
        (facts.sponsor.id.clone(), facts.other.id.to_string())
    };
    kept.goes_to(DAY);
    let since = kept.world.clock.now();
    kept.becomes(PersonState::Inactive { since }, None).await;
    kept.goes_to(DAY + DAY / 24);
    let (person, left) = kept.asked().await;
    assert_eq!((person, &left.sponsor, left.since), (other.clone(), &sponsor, since));
    assert_eq!((&left.agent, left.why()), (&kept.world.standing.agent.name, "left"));
    kept.are_recorded(1).await;
    let mut kept = kept.restarted().await;
    // That they are back changes nothing for what they sponsored, and is told nobody.
    let back = PersonState::Active { authorization_cutoff: Some(kept.world.clock.now()) };
    kept.becomes(back, None).await;
    kept.goes_to(2 * DAY);
    // Somebody else took over, and moves: they may affirm it themselves, and are asked beside.
    let now = kept.world.clock.now();
    let taken_over = Agent { registered: now, ..kept.world.standing.agent.clone() };
    kept.world.put(FactKey::agent(&taken_over.name), &taken_over).await;
    kept.goes_to(3 * DAY);
    kept.becomes(back, Some(kept.world.clock.now())).await;
    kept.goes_to(4 * DAY);
    let mut all = [kept.asked().await, kept.asked().await];
    all.sort_by(|one, two| one.0.cmp(&two.0));
    assert_eq!(all.each_ref().map(|(_, left)| left.why()), ["moved", "moved"]);
    let mut expected = [other.clone(), sponsor.to_string()];
    expected.sort();
    assert_eq!(all.map(|(person, _)| person), expected);
    kept.are_recorded(3).await;
    // Then they leave: who is left to follow is asked once more.
    kept.becomes(PersonState::Inactive { since: kept.world.clock.now() }, Some(now)).await;
    kept.goes_to(5 * DAY);
    let (person, left) = kept.asked().await;
    assert_eq!((person, left.why()), (other, "left"));
    kept.are_recorded(4).await;
    assert!(kept.told.try_recv().is_err(), "nobody else was told");
}

/// That a sponsor moved may be undone: who may follow is asked once of each move, under a name of its own.
#[tokio::test]
async fn who_may_follow_is_asked_again_when_a_sponsor_moves_once_more() {
    let mut kept = Kept::new().await;
    let here = PersonState::Active { authorization_cutoff: None };
    let mut ids = BTreeSet::new();
    for (day, recorded) in [(1_u32, 2), (3, 4)] {
        kept.goes_to(day * DAY);
        let moved = kept.world.clock.now();
        kept.becomes(here, Some(moved)).await;
        kept.goes_to(day * DAY + DAY / 24);
        for _ in 0..2 {
            let (person, left) = kept.asked().await;
            assert_eq!((left.since, left.why()), (moved, "moved"));
            let person = person.parse().expect("a person");
            ids.insert(Reminder::Stopped(left).id(&person));
        }
        kept.are_recorded(recorded).await;
        kept.becomes(here, None).await;
        kept.goes_to((day + 1) * DAY);
    }
    assert_eq!(ids.len(), 4);
    assert!(kept.told.try_recv().is_err(), "nobody else was told");
}

/// Who names nobody leaves it to those to whom the sponsor reported, the nearest who is here.
#[tokio::test]
async fn where_nobody_is_named_to_follow_the_line_above_is_asked() {
    let mut kept = Kept::over(World::with(leased).await);
    let here = PersonState::Active { authorization_cutoff: None };
    let gone = PersonState::Inactive { since: kept.world.clock.now() };
    for (id, manager, state) in [("boss", Some("chief"), gone), ("chief", Some("boss"), here)] {
        let manager = manager.map(|id| id.parse().expect("a person"));
        let person = Person { manager, state, ..crate::support::person(id, &[]) };
        kept.world.put(FactKey::person(&person.id), &person).await;
    }
    kept.goes_to(DAY);
    kept.becomes(PersonState::Inactive { since: kept.world.clock.now() }, None).await;
    kept.goes_to(2 * DAY);
    let (person, left) = kept.asked().await;
    assert_eq!((person.as_str(), left.why()), ("chief", "left"));
    kept.are_recorded(1).await;
}

/// How many of those who tell of people have been silent for too long is counted, until they are heard again.
#[tokio::test]
async fn those_who_are_silent_for_too_long_are_counted() {
    let kept = Kept::new().await;
    let hears = async |name: &str, minutes: u64| {
        let last = kept.world.clock.now().plus(Duration::from_mins(minutes));
        let heard = Heard([(Speaker::directory(), last)].into());
        kept.world.put(FactKey::heard(&name.parse().expect("a name")), &heard).await;
    };
    let are_silent = async |count: u64| {
        let silent = || kept.numbers.silent.load(Ordering::SeqCst);
        until("they are counted", || async { silent() == count }).await;
    };
    hears("okta", 15).await;
    hears("hr", 60).await;
    kept.world.clock.advance(Duration::from_mins(15));
    are_silent(1).await;
    kept.world.clock.advance(Duration::from_mins(45));
    are_silent(2).await;
    hears("okta", 15).await;
    kept.world.clock.advance(Duration::from_mins(1));
    are_silent(1).await;
}
