//! Sets change while calls are decided on other threads.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use authority::NotPermitted;
use pap::Command;
use serde_json::json;

use crate::releases::{CLOSED, House};

/// How many call at once.
const CALLERS: usize = 4;

/// How often each calls while sets change, at most.
const CALLS: usize = 500;

/// Each call is decided by one set, whole, and replays under that.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn i_05_no_decision_mixes_two_sets() {
    let house = House::new().await;
    let (world, is_over) = (&house.desk.world, Arc::new(AtomicBool::new(false)));
    let calling = |_| {
        let act = |_| world.call("lookup", json!({ "amount": 5 }));
        let acts: Vec<_> = (0..CALLS).map(act).collect();
        let (authority, is_over) = (world.authority.clone(), is_over.clone());
        tokio::spawn(async move {
            for act in acts {
                if is_over.load(Ordering::Acquire) {
                    break;
                }
                // Where the facts kept changing, nothing is decided.
                if let Err(NotPermitted::Denied { denial, .. }) = authority.authorize(act).await {
                    assert_eq!(denial.code(), "forbidden");
                }
            }
        })
    };
    let callers: Vec<_> = (0..CALLERS).map(calling).collect();
    for version in 2..8 {
        let (more, answer) =
            if version % 2 == 0 { (CLOSED, "forbidden") } else { ("", "permitted") };
        house.release_all(version, more).await;
        assert_eq!(house.desk.call("lookup").await, answer, "release {version} is in force");
    }
    is_over.store(true, Ordering::Release);
    for caller in callers {
        caller.await.expect("nothing else is answered");
    }
    let replayed = house.desk.run(Command::LogReplay).await.expect("it is replayed");
    assert_eq!(replayed["differ"], json!([]));
    let decisions = world.records("decision").await;
    let told = |member: &str| -> Vec<_> { decisions.iter().map(|it| it.text_of(member)).collect() };
    let answers: BTreeSet<_> = told("policy").into_iter().zip(told("decision")).collect();
    assert_eq!(answers.len(), 2, "both sets decided, and each in its own way: {answers:?}");
}
