//! A history of tokens, exchanges, calls and ends, all at once, checked from the log alone: after the
//! end of a task nothing is permitted and nothing issued in it, or in what was handed on of it.

use std::collections::BTreeSet;

use authority::Ending;
use futures::future::join_all;
use model::{Entropy as _, TaskEnd};
use serde_json::Value;
use testkit::SeededEntropy;

use crate::client::Sts;
use crate::delegation::{Holder, Party, Way, before, calls, hand_on, part, party};

/// How often each instance does something.
const ACTS: usize = 24;

/// One of all the things that an instance does.
async fn act(sts: &Sts, holder: &Holder, (to, draw): (&Party, u8)) {
    let of = (holder.of.name.as_str(), holder.of.key.as_ref());
    match draw % 4 {
        0 => drop(sts.send(sts.request_of(of, &holder.key)).await),
        1 => drop(hand_on(sts, holder, (to, Way::HandOver), &part(sts)).await),
        2 => drop(hand_on(sts, holder, (to, Way::TakeUp), &part(sts)).await),
        _ => drop(calls(sts, holder, "lookup").await),
    }
}

/// The tasks on which a record rests: its own, and those above.
fn tasks(record: &Value) -> impl Iterator<Item = &str> {
    let above = record["delegators"].as_array().into_iter().flatten();
    std::iter::once(&record["task"]).chain(above.map(|it| &it["task"])).filter_map(Value::as_str)
}

/// Checks the log, and gives how many records of permits and tokens it has before and after ends.
fn check(log: &[Value]) -> (usize, usize) {
    let (mut ended, mut counted) = (BTreeSet::new(), (0, 0));
    for record in log {
        let rests = || tasks(record).any(|task| ended.contains(task));
        match record["kind"].as_str() {
            Some("system") if record["event"] == "task_ended" => {
                ended.insert(record["details"]["task"].as_str().expect("a task").to_owned());
            }
            Some("decision") if record["decision"] == "permit" => {
                assert!(!rests(), "permitted after the end: {record}");
                counted.0 += 1;
            }
            Some("issuance") => {
                assert!(!rests(), "issued after the end: {record}");
                counted.0 += 1;
            }
            Some("decision") if rests() => counted.1 += 1,
            _ => {}
        }
    }
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_019_nothing_is_permitted_or_issued_after_an_end() {
    let (sts, lead, middle) = before().await;
    let mut holders = Vec::new();
    for _ in 0..3 {
        let team =
            hand_on(&sts, &lead, (&middle, Way::TakeUp), &part(&sts)).await.expect("a token");
        let name = format!("hand-{}", holders.len());
        let to = party(&sts, &name).await;
        for _ in 0..3 {
            let hand = hand_on(&sts, &team, (&to, Way::HandOver), &part(&sts)).await;
            holders.push(hand.expect("a token"));
        }
        holders.push(team);
    }
    let deep = party(&sts, "deep").await;
    let acting = holders.iter().enumerate().map(|(number, holder)| {
        let (sts, holder, deep) = (sts.clone(), holder.clone(), deep.clone());
        tokio::spawn(async move {
            let mut draws = [0; ACTS];
            SeededEntropy::new(number as u64).fill(&mut draws);
            for draw in draws {
                act(&sts, &holder, (&deep, draw)).await;
            }
        })
    });
    let acting: Vec<_> = acting.collect();
    // Each ends once about as much was recorded as is done between two ends.
    let ending = async {
        for (number, holder) in holders.iter().enumerate() {
            let enough = 60 * (number + 1);
            crate::support::until("enough happens", || async {
                sts.world.log().await.len() > enough
                    || acting.iter().all(tokio::task::JoinHandle::is_finished)
            })
            .await;
            let (instance, how) = (holder.instance(), TaskEnd::Failed);
            let ending = Ending { instance, how, uses: Vec::new(), workload: None };
            sts.world.authority.end_task(ending).await.expect("it ends");
            assert!(
                calls(&sts, holder, "lookup").await.is_err(),
                "permitted after the end returned"
            );
        }
    };
    ending.await;
    join_all(acting).await.into_iter().for_each(|acted| acted.expect("nobody panicked"));
    sts.world.drained().await;
    let log: Vec<_> = sts.world.log().await.into_iter().map(|entry| entry.value).collect();
    let (before, after) = check(&log);
    assert!(before > 100 && after > 20, "too little happened: {before} before, {after} after");
}
