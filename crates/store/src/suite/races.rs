//! Races: 64 at once, and exactly as many win as may.

use std::sync::Arc;

use super::{BackEnd, count, counter, open_permit, put_new, unit, use_once};
use crate::{CheckpointRow, CommitError, Committed, Effect, Store, Unit};

/// How many race.
const RACERS: usize = 64;

async fn race(
    store: &Arc<dyn Store>,
    unit_of: impl Fn(usize) -> Unit,
) -> Vec<Result<Committed, CommitError>> {
    let start = Arc::new(tokio::sync::Barrier::new(RACERS));
    let mut tasks = Vec::new();
    for racer in 0..RACERS {
        let (store, start, unit) = (store.clone(), start.clone(), unit_of(racer));
        tasks.push(tokio::spawn(async move {
            start.wait().await;
            let _on_its_way = store.announce();
            store.commit(unit).await
        }));
    }
    let mut answers = Vec::new();
    for task in tasks {
        answers.push(task.await.unwrap());
    }
    answers
}

fn winners(answers: &[Result<Committed, CommitError>]) -> usize {
    answers.iter().filter(|answer| answer.is_ok()).count()
}

/// A proof, an assertion, a code: one redeems it, and only its record is written.
pub async fn promise_4_of_64_racers_exactly_one_uses_a_thing(back_end: &impl BackEnd) {
    let store = back_end.store();
    for round in 0..8_u8 {
        let answers = race(&store, |_| unit(vec![use_once(round), open_permit(0)])).await;
        assert_eq!(winners(&answers), 1);
        let refused = answers.iter().filter(|a| matches!(a, Err(CommitError::Used(_)))).count();
        assert_eq!(refused, RACERS - 1);
        assert_eq!(store.log_size().await.unwrap(), u64::from(round) + 1);
        assert_eq!(store.open_permits().await.unwrap().len(), usize::from(round) + 1);
    }
    let answers = race(&store, |_| unit(vec![put_new("one")])).await;
    assert_eq!(winners(&answers), 1);
}

/// Parallel branches of one session cannot overshoot together.
pub async fn of_64_racers_as_many_count_as_the_limit_lets(back_end: &impl BackEnd) {
    let store = back_end.store();
    // Each used something up before it was refused: that is given back.
    let of = |racer: usize| {
        let id = u8::try_from(racer).unwrap();
        unit(vec![use_once(id), count("calls", 3, Some(30)), open_permit(0)])
    };
    let answers = race(&store, of).await;
    assert_eq!(winners(&answers), 10);
    assert_eq!(store.counters(&[counter("calls")]).await.unwrap(), [30]);
    assert_eq!(store.log_size().await.unwrap(), 10);
    for (racer, answer) in answers.iter().enumerate() {
        let id = u8::try_from(racer).unwrap();
        let again = store.commit(unit(vec![use_once(id)])).await;
        assert_eq!(again.is_err(), answer.is_ok(), "{racer}");
    }
}

/// Some of them refused: every index is given once, and none is left out.
pub async fn i_14_64_racers_leave_no_gap(back_end: &impl BackEnd) {
    let store = back_end.store();
    let mut indices = Vec::new();
    for round in 0..4 {
        let of = |racer: usize| {
            let mut unit = unit(vec![put_new(&format!("{round}/{}", racer / 2))]);
            unit.entries.extend((0..racer % 3).map(|_| super::entry()));
            unit
        };
        let answers = race(&store, of).await;
        assert_eq!(winners(&answers), RACERS / 2);
        indices.extend(answers.into_iter().flatten().flat_map(|committed| committed.indices));
    }
    indices.sort_unstable();
    let size = store.log_size().await.unwrap();
    assert_eq!(indices, (0..size).collect::<Vec<_>>());
    let entries = store.entries(0, crate::PAGE_MAX).await.unwrap();
    let found: Vec<_> = entries.iter().map(|entry| entry.index).collect();
    assert_eq!(found, indices);
}

/// Both hold the newest checkpoint and make a successor of it: one log has one history.
pub async fn n_104_of_two_writers_one_replaces_the_checkpoint(back_end: &impl BackEnd) {
    let store = back_end.store();
    let row = |size, by: u8| CheckpointRow { size, note: vec![by] };
    for (from, size) in [(None, 1), (Some(1), 2), (Some(2), 3)] {
        let (one, two) = (row(size, 1), row(size, 2));
        let swaps =
            tokio::join!(store.swap_checkpoint(from, &one), store.swap_checkpoint(from, &two));
        let won = [swaps.0.unwrap(), swaps.1.unwrap()];
        assert_eq!(won.iter().filter(|won| **won).count(), 1, "{won:?}");
        let newest = store.checkpoint().await.unwrap().unwrap();
        assert_eq!(newest, if won[0] { one } else { two });
    }
}

/// An outcome, and a sweep that says *unknown*: one of them is recorded.
pub async fn of_64_racers_one_closes_a_permit(back_end: &impl BackEnd) {
    let store = back_end.store();
    let index = store.commit(unit(vec![open_permit(0)])).await.unwrap().indices[0];
    let answers = race(&store, |_| unit(vec![Effect::ClosePermit { index }])).await;
    assert_eq!(winners(&answers), 1);
    assert_eq!(store.log_size().await.unwrap(), 2);
    assert_eq!(store.open_permits().await.unwrap(), []);
}
