//! What calls and opened tasks are counted against, all in the commit of what permits them.
//!
//! INVARIANT: nobody begins anew what is used up: what has a limit for a day is counted by names that
//! outlive instances and tasks (`n_088_…`).

use model::{ElevationId, Standing, Timestamp};
use store::{CounterKey, Effect};

use crate::Limits;
use crate::pip::calls_counter;

/// Days begin at midnight UTC.
const SECONDS_OF_A_DAY: i64 = 24 * 60 * 60;

/// What one call is counted against: the elevation that it rests on, if it does; the mandate, the
/// person on whose behalf it is and every agent of the chain for this day, if they have a limit; every
/// task of the chain that has a limit, which holds over all its branches; and last the session.
pub(crate) fn call(
    standing: &Standing,
    elevation: Option<ElevationId>,
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
    let tasks = counted.map(|task| one(calls_counter(task.id), task.scope.max_calls));
    elevation.chain(own).chain(person).chain(agents).chain(tasks).collect()
}

/// The limits of calls that hold for `standing`: what each is counted by, and the most.
pub fn limits_of_calls(
    standing: &Standing,
    now: Timestamp,
    limits: &Limits,
) -> Vec<(CounterKey, i64)> {
    let counted = call(standing, None, (now, limits)).into_iter();
    let limited = counted.filter_map(|effect| {
        let Effect::Count { counter, limit, .. } = effect else { return None };
        Some((counter, limit?))
    });
    limited.collect()
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
    let day = now.as_seconds().div_euclid(SECONDS_OF_A_DAY);
    most.map(|_| one(CounterKey(format!("{who}/day-{day}/{what}")), most))
}

fn one(counter: CounterKey, most: Option<u64>) -> Effect {
    let limit = most.and_then(|most| i64::try_from(most).ok());
    Effect::Count { counter, amount: 1, limit }
}
