//! A history of tokens, exchanges and calls, and of all by which they can end, all at once, checked by the log: once
//! something ended nothing is permitted and nothing issued that rests on it, or that was handed on by it.

use std::collections::{BTreeMap, BTreeSet};

use futures::future::join_all;
use keys::SigningKey;
use model::Entropy as _;
use serde_json::Value;
use testkit::SeededEntropy;

use crate::client::Sts;
use crate::delegation::{Holder, Party, WAYS, Way, calls, hand_on, part, party};
use crate::initiations::{self, begun, enter, said};
use crate::taken_away::{End, sponsored};

/// How often each instance does something.
const ACTS: usize = 16;

/// How many records there are between two ends, at least, of what is done meanwhile.
const BETWEEN: usize = 40;

/// By what it ends, each for one tree of those who act.
const ENDS: [End; 8] = [
    End::GivenUp,
    End::Task,
    End::Instance,
    End::Quarantine,
    End::Agent,
    End::Sponsor,
    End::Mandate,
    End::Person,
];

/// A person's work, and who does it: who began it, the agent in the middle, and one below.
type Tree = [Holder; 3];

async fn tree(sts: &Sts, portal: &SigningKey, number: usize) -> Tree {
    let person = enter(sts, &format!("person-{number}")).await;
    let mut said = said(sts);
    (said.subject, said.task.max_calls) = (person.id.to_string(), None);
    let root = begun(sts, portal, &said).await.expect("a token");
    let [team, hand] = ["team", "hand"].map(|name| format!("{name}-{number}"));
    let (team, hand) = (party(sts, &team).await, party(sts, &hand).await);
    sponsored(sts, &team.name).await;
    let asked = part(sts);
    let middle = hand_on(sts, &root, (&team, Way::TakeUp), &asked).await.expect("a token");
    let below = hand_on(sts, &middle, (&hand, Way::HandOver), &asked).await.expect("a token");
    [root, middle, below]
}

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

/// On what a record rests, by name: its task, who holds that, and of which agent; and the same of all above.
fn names(record: &Value) -> impl Iterator<Item = &str> {
    let above = record["delegators"].as_array().into_iter().flatten();
    let all = std::iter::once(record).chain(above);
    let named = all.flat_map(|it| ["task", "instance", "agent"].map(move |member| &it[member]));
    named.filter_map(Value::as_str)
}

/// Checks the log, where what ends by the acts of administrators is in `ends`, by the record of each; gives how many
/// records of permits and tokens it has, and of denials after ends.
fn check(log: &[Value], ends: &BTreeMap<String, String>) -> (usize, usize) {
    let (mut over, mut counted) = (BTreeSet::new(), (0, 0));
    for record in log {
        let rests = || names(record).any(|name| over.contains(name));
        match record["kind"].as_str() {
            Some("system") if record["event"] == "task_ended" => {
                over.insert(record["details"]["task"].as_str().expect("a task").to_owned());
            }
            Some("administration") => {
                over.extend(record["id"].as_str().and_then(|id| ends.get(id)).cloned());
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
    assert_eq!(over.len(), ENDS.len(), "not all ends are on record");
    counted
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn n_019_nothing_is_permitted_or_issued_after_an_end() {
    let (sts, portal) = initiations::before().await;
    let deep = party(&sts, "deep").await;
    let mut trees = Vec::new();
    for number in 0..ENDS.len() {
        trees.push(tree(&sts, &portal, number).await);
    }
    let start = sts.world.log().await.len();
    let acting = trees.iter().flatten().enumerate().map(|(number, holder)| {
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
    let mut draws = [0; ENDS.len()];
    SeededEntropy::new(0).fill(&mut draws);
    let mut order: Vec<_> = ENDS.into_iter().zip(&trees).zip(draws).collect();
    order.sort_by_key(|(_, draw)| *draw);
    let mut ends = BTreeMap::new();
    // Each ends once about as much was recorded as is done between two ends.
    for (number, ((how, [_, middle, _]), _)) in order.into_iter().enumerate() {
        let enough = start + BETWEEN * (number + 1);
        crate::support::until("enough happens", || async {
            sts.world.log().await.len() > enough
                || acting.iter().all(tokio::task::JoinHandle::is_finished)
        })
        .await;
        let record = how.of(&sts, middle).await;
        ends.extend(record.map(|id| (id, how.name(middle))));
        let called = calls(&sts, middle, "lookup").await;
        assert!(called.is_err(), "{how:?}: permitted after it returned");
        for way in WAYS {
            let handed = hand_on(&sts, middle, (&deep, way), &part(&sts)).await;
            assert!(handed.is_err(), "{how:?}, {way:?}: issued after it returned");
        }
    }
    join_all(acting).await.into_iter().for_each(|acted| acted.expect("nobody panicked"));
    sts.world.drained().await;
    let log: Vec<_> = sts.world.log().await.into_iter().map(|entry| entry.value).collect();
    let (before, after) = check(&log, &ends);
    assert!(before > 100 && after > 20, "too little happened: {before} before, {after} after");
}
