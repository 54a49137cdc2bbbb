//! What calls and opened tasks are counted against, all in the commit of what permits them. What a call took
//! is given back where it is sure that nothing happened ([`crate::Reserved`]); a task that was opened counts.
//!
//! INVARIANT: nobody begins anew what is used up: what has a limit for a day is counted by names that
//! outlive instances and tasks (`n_088_…`).

use std::collections::BTreeMap;

use model::{
    Amount, Departure, ElevationId, Grant, InstanceId, MandateId, Spend, Standing, TaskId,
    Timestamp, ToolRef,
};
use pdp::{Every, Per, Shown};
use store::{CounterKey, Effect, Store, StoreError, Unit};

use crate::Limits;

/// What one call is counted against: the elevation that it rests on, if it does; the mandate, the
/// person on whose behalf it is and every agent of the chain for this day, if they have a limit; every
/// task of the chain that has a limit, which holds over all its branches; last the session, and in that
/// the `tool`, if policy looks at how often it was called.
pub(crate) fn call(
    standing: &Standing,
    (elevation, tool): (Option<ElevationId>, Option<&ToolRef>),
    (now, limits): (Timestamp, &Limits),
) -> Vec<Effect> {
    let today = |who: String, most: Option<u64>| of_day((who, "calls"), most, now);
    let elevations = standing.elevations.iter().map(|it| &it.elevation);
    let elevation = elevations.filter(|it| Some(it.id) == elevation && it.max_calls.is_some());
    let elevation = elevation.map(|it| one(CounterKey(format!("{}/calls", it.id)), it.max_calls));
    let mandate = &standing.mandate;
    let own = today(mandate.id.to_string(), mandate.scope.max_calls);
    let person = standing.subject.as_ref();
    let person = person.and_then(|it| today(format!("person/{}", it.id), limits.calls_of_person));
    let agents = standing
        .hops()
        .filter_map(|hop| today(format!("agent/{}", hop.agent.name), hop.agent.ceiling.max_calls));
    let root = standing.root().id;
    let tasks = standing.hops().map(|hop| hop.task);
    let counted = tasks.filter(|task| task.id == root || task.scope.max_calls.is_some());
    let tasks = counted.map(|task| one(calls_counter(task.id, None), task.scope.max_calls));
    let of_tool = tool.map(|tool| one(calls_counter(root, Some(tool)), None));
    elevation.chain(own).chain(person).chain(agents).chain(tasks).chain(of_tool).collect()
}

/// The limits of calls that hold for `standing`: what each is counted by, and the most.
pub fn limits_of_calls(
    standing: &Standing,
    now: Timestamp,
    limits: &Limits,
) -> Vec<(CounterKey, i64)> {
    let counted = call(standing, (None, None), (now, limits)).into_iter();
    let limited = counted.filter_map(|effect| {
        let Effect::Count { counter, limit, .. } = effect else { return None };
        Some((counter, limit?))
    });
    limited.collect()
}

/// What policy calls the counter of permitted calls, of all tools or of one.
pub(crate) fn counter_name(tool: Option<&ToolRef>) -> String {
    tool.map_or_else(|| "calls".to_owned(), ToString::to_string)
}

/// The counter of permitted calls in a session, of all tools or of one.
pub(crate) fn calls_counter(session: TaskId, tool: Option<&ToolRef>) -> CounterKey {
    CounterKey(match tool {
        Some(tool) => format!("{session}/calls/{tool}"),
        None => format!("{session}/calls"),
    })
}

/// Which counters of `unit` are of calls of `session`: the place of each among all that it counts.
pub(crate) fn of_session(unit: &Unit, session: TaskId) -> Vec<(usize, CounterKey)> {
    let all = calls_counter(session, None);
    let counters = unit.effects.iter().filter_map(|effect| match effect {
        Effect::Count { counter, .. } => Some(counter),
        _ => None,
    });
    let of_session = counters.enumerate().filter(|(_, counter)| counter.0.starts_with(&all.0));
    of_session.map(|(place, counter)| (place, counter.clone())).collect()
}

/// What the task of `standing`, which is opened now, is counted against for this day: its agent; and
/// where it is no part of another task, its mandate and the person on whose behalf it is.
pub fn opening(standing: &Standing, now: Timestamp, limits: &Limits) -> Vec<Effect> {
    let today = |who: String, most: Option<u64>| of_day((who, "tasks"), most, now);
    let Standing { agent, mandate, subject, task, .. } = standing;
    let own = today(format!("agent/{}", agent.name), agent.ceiling.max_tasks_a_day);
    if task.delegation.is_some() {
        return own.into_iter().collect();
    }
    let mandated = today(mandate.id.to_string(), mandate.scope.max_tasks_a_day);
    let person = subject.as_ref();
    let person = person.and_then(|it| today(format!("person/{}", it.id), limits.tasks_of_person));
    own.into_iter().chain(mandated).chain(person).collect()
}

/// Counts one more of `what` against `who` for the day of `now`, if that has a limit.
fn of_day((who, what): (String, &str), most: Option<u64>, now: Timestamp) -> Option<Effect> {
    let day = pdp::window(Some(Every::Day), now);
    most.map(|_| one(CounterKey(format!("{who}/{day}/{what}")), most))
}

/// How often an instance departed so in the hour of `now`; of the rate, how often it asked.
pub(crate) fn departure(instance: InstanceId, kind: Departure, now: Timestamp) -> CounterKey {
    let hour = pdp::window(Some(Every::Hour), now);
    CounterKey(format!("{instance}/{hour}/{}", kind.signal()))
}

/// How the names of counters begin that are of budgets.
const OF_BUDGETS: &str = "budget/";

/// What a permit uses up of budgets, whatever the budgets were when others used them: a counter is of a
/// name, so who changes how much there is does not begin anew what is used up.
pub(crate) fn spent(spends: &[Spend]) -> impl Iterator<Item = Effect> {
    let used = spends.iter().filter(|spend| spend.amount.parts() != 0);
    used.map(|spend| {
        let (amount, limit) = (spend.amount.parts(), Some(spend.cap.parts()));
        Effect::Count { counter: counter(spend), amount, limit }
    })
}

fn counter(spend: &Spend) -> CounterKey {
    CounterKey(format!("{OF_BUDGETS}{}", spend.counter()))
}

/// How long anything counts by a counter.
pub(crate) enum Counts {
    /// Until its hour or day is over.
    Until(Timestamp),
    /// While the task is worked on,
    InTask(TaskId),
    /// or the one that an instance has,
    ByInstance(InstanceId),
    /// or under the mandate,
    UnderMandate(MandateId),
    /// or in which somebody may do more.
    OnElevation(ElevationId),
}

/// How long anything counts by `counter`; none, if that is for ever.
pub(crate) fn counts(counter: &CounterKey) -> Option<Counts> {
    let name = &counter.0;
    if let Some(of_budget) = name.strip_prefix(OF_BUDGETS) {
        let mut parts = of_budget.splitn(3, '/').skip(1);
        let (window, who) = (parts.next()?, parts.next()?);
        let task = || who.strip_prefix(Per::Task.place())?.parse().ok().map(Counts::InTask);
        let instance =
            || who.strip_prefix(Per::Instance.place())?.parse().ok().map(Counts::ByInstance);
        let mandate =
            || who.strip_prefix(Per::Mandate.place())?.parse().ok().map(Counts::UnderMandate);
        let until = pdp::window_end(window).map(Counts::Until);
        return until.or_else(task).or_else(instance).or_else(mandate);
    }
    let (whose, _) = name.split_once('/')?;
    let task = || whose.parse().ok().map(Counts::InTask);
    let elevation = || whose.parse().ok().map(Counts::OnElevation);
    window_end(name).map(Counts::Until).or_else(task).or_else(elevation)
}

/// When the day or the hour is over for which something is counted by the name of who has it, if it is for one.
fn window_end(name: &str) -> Option<Timestamp> {
    let (rest, what) = name.rsplit_once('/')?;
    let (who, window) = rest.rsplit_once('/')?;
    // A tool of a session may be called like that as well.
    let has_days =
        who.starts_with("agent/") || who.starts_with("person/") || who.parse::<MandateId>().is_ok();
    let is_of_day = has_days && ["calls", "tasks"].contains(&what);
    let departs = || Departure::ALL.iter().any(|kind| kind.signal() == what);
    let is_of_hour = || who.parse::<InstanceId>().is_ok() && departs();
    (is_of_day || is_of_hour()).then(|| pdp::window_end(window)).flatten()
}

/// Whether `counter` is of a budget: what is used up of it is a fact, on which is decided.
pub(crate) fn is_of_budget(counter: &CounterKey) -> bool {
    counter.0.starts_with(OF_BUDGETS)
}

/// What is used up by now where the first of what `grant` uses has too little left; nothing, if it all fits.
pub(crate) async fn used_up(
    store: &dyn Store,
    grant: &Grant,
) -> Result<BTreeMap<String, Amount>, StoreError> {
    let counters: Vec<_> = grant.spends.iter().map(counter).collect();
    let used = store.counters(&counters).await?.into_iter().map(Amount::from_parts);
    let used: BTreeMap<_, _> = grant.spends.iter().map(Spend::counter).zip(used).collect();
    let over = grant.over(|spend| used[&spend.counter()]);
    Ok(over.map(|spend| (spend.counter(), used[&spend.counter()])).into_iter().collect())
}

/// Of a budget, whom `place` names and how much they have used.
pub type UsedBy = (String, Amount);

/// The first of those who have used something of `budget` in the time `window`, up to `most`, in the order
/// of their names; none that used it when it was per something else.
pub async fn used(
    store: &dyn Store,
    (budget, window): (&Shown<'_>, &str),
    most: usize,
) -> Result<Vec<UsedBy>, StoreError> {
    let prefix = format!("{OF_BUDGETS}{}/{window}/", budget.budget);
    let places = format!("{prefix}{}", budget.per.place());
    let listed = store.list_counters(&places, None, most).await?.into_iter();
    Ok(listed
        .map(|(counter, parts)| {
            let who = counter.0.strip_prefix(&prefix).unwrap_or(&counter.0).to_owned();
            (who, Amount::from_parts(parts))
        })
        .collect())
}

pub(crate) fn one(counter: CounterKey, most: Option<u64>) -> Effect {
    let limit = most.and_then(|most| i64::try_from(most).ok());
    Effect::Count { counter, amount: 1, limit }
}
