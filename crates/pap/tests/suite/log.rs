//! Reading the log: whence an act came, what is behind a record, and whether it can be decided again.

use model::record::{DecisionRecord, FactsRecord, Verdict};
use model::{FactKey, PolicyId};
use pap::Command;
use serde_json::{Value, json};
use store::Store as _;

use crate::desk::{Desk, ISSUER, word};
use crate::support::World;

async fn replay(desk: &Desk) -> Value {
    desk.run(Command::LogReplay).await.unwrap()
}

/// A deployment in which something of everything happened; gives a decision whose act was lost.
async fn busy() -> (Desk, String) {
    let desk = Desk::new().await;
    assert_eq!(desk.call("lookup").await, "permitted");
    let decision = desk.lose().await;
    assert_eq!(desk.call("refund").await, "outcome_unknown");
    assert_eq!(desk.call("nothing").await, "malformed");
    drop(desk.world.authorize(desk.world.method("tools/list")).await.unwrap());
    let other = desk.world.standing.other.id.clone();
    assert_eq!(word(&desk.run_as(&other, Command::PersonList).await), "refused");
    desk.run(Command::PersonAdd { id: "new".to_owned(), groups: Vec::new() }).await.unwrap();
    let forbid = r#"@id("stop") forbid (principal, action == Action::"crm/lookup", resource);"#;
    let policy = format!("{}{forbid}", crate::support::POLICY);
    desk.publisher.replace(crate::desk::files(&policy)).await.unwrap();
    assert_eq!(desk.call("lookup").await, "forbidden");
    desk.world.drained().await;
    (desk, decision)
}

#[tokio::test]
async fn i_05_every_decision_is_made_again_and_agrees() {
    let (desk, _) = busy().await;
    let told = replay(&desk).await;
    assert_eq!((&told["differ"], &told["erased"]), (&json!([]), &json!(0)));
    let records = desk.world.log().await;
    let decided = records.iter().filter(|it| it.is("decision") || it.is("administration"));
    // That an outcome was unknown its commit saw.
    assert_eq!(told["by_commit"], 1);
    assert_eq!(told["agreed"].as_u64().unwrap(), decided.count() as u64 - 1);
}

/// What was under observation when something was denied comes out again as well.
#[tokio::test]
async fn i_05_what_was_observed_of_a_denial_is_made_again_and_agrees() {
    let desk = Desk::new().await;
    let tried = r#"@id("no") @mode("observe") forbid (principal, action, resource);
        @id("more") @mode("observe") permit (principal, action == Action::"crm/refund", resource);"#;
    let policy = format!("{}{tried}", crate::support::POLICY);
    desk.publisher.replace(crate::desk::files(&policy)).await.unwrap();
    let much = desk.world.call("refund", json!({ "amount": 500 }));
    assert!(desk.world.authorize(much).await.is_err());
    assert_eq!(desk.call("lookup").await, "permitted");
    let observed = desk.world.records("decision").await;
    let observed: Vec<_> = observed.iter().map(|it| it.value["observed"].clone()).collect();
    assert_eq!(observed, [json!(["more", "no"]), json!(["no"])]);
    assert_eq!(replay(&desk).await["differ"], json!([]));
}

/// A decision that rests on what is known of an agent names it.
#[tokio::test]
async fn i_05_what_was_known_of_an_agent_is_decided_on_again() {
    let desk = Desk::new().await;
    let own = desk.world.standing.agent.name.clone();
    let forbid = r#"@id("keep") forbid (principal, action == Action::"agent/suspend", resource)"#;
    let condition = r#"resource.purposes.contains("care") && resource.sponsor.active"#;
    let policy = format!("{}{forbid} when {{ {condition} }};", crate::support::POLICY);
    desk.publisher.replace(crate::desk::files(&policy)).await.unwrap();
    let suspend = Command::AgentSuspend { name: own.to_string(), reason: "review".to_owned() };
    assert_eq!(word(&desk.run(suspend).await), "refused");
    assert_eq!(replay(&desk).await["differ"], json!([]));
}

/// One instance reaches several servers: each decision names the facts of its own one.
#[tokio::test]
async fn i_05_decisions_of_one_instance_on_two_servers_are_made_again_and_agree() {
    let desk = Desk::new().await;
    let mut second = desk.world.standing.server.clone();
    second.name = "second".parse().unwrap();
    desk.world.put(FactKey::server(&second.name), &second).await;
    for _ in 0..2 {
        let mut act = desk.world.method("tools/list");
        drop(desk.world.authorize(act.clone()).await);
        act.request.resource = model::ResourceRef::Server(second.name.clone());
        drop(desk.world.authorize(act).await);
    }
    desk.world.drained().await;
    assert_eq!(replay(&desk).await["differ"], json!([]));
    // Once for each server, not for each decision.
    assert_eq!(desk.world.records("facts").await.len(), 2);
}

/// What stands behind a record is not what it was committed to: the replay says which.
#[tokio::test]
async fn r_61_facts_that_were_tampered_with_do_not_replay() {
    let (desk, _) = busy().await;
    let log = desk.world.log().await;
    let of = |kind: &str| log.iter().filter(|it| it.is(kind)).collect::<Vec<_>>();
    let (facts, decisions) = (of("facts"), of("decision"));
    // The facts of one decision are shown as those of another.
    desk.world.store.swap_disclosure(facts[0].index, facts[1].index);
    let told = replay(&desk).await;
    let differ = told["differ"].as_array().unwrap();
    assert!(differ.iter().any(|it| it.as_str().unwrap().contains(decisions[0].text_of("id"))));
    assert!(differ[0].as_str().unwrap().contains("does not open its commitment"), "{differ:?}");
    // The arguments of one are shown as those of another.
    desk.world.store.swap_disclosure(decisions[0].index, decisions[1].index);
    let told = replay(&desk).await;
    let differ = told["differ"].as_array().unwrap();
    assert_eq!(differ.len(), 1);
    assert!(differ[0].as_str().unwrap().starts_with(decisions[0].text_of("id")));
    // An administrator's act is shown as another one's.
    let acts = of("administration");
    desk.world.store.swap_disclosure(acts[0].index, acts[1].index);
    let told = replay(&desk).await;
    assert!(told["differ"][0].as_str().unwrap().starts_with(acts[0].text_of("id")));
}

#[tokio::test]
async fn r_38_a_policy_set_that_was_tampered_with_does_not_replay() {
    let (desk, _) = busy().await;
    let log = desk.world.records("decision").await;
    let (first, last) = (log[0].text_of("policy"), log.last().unwrap().text_of("policy"));
    assert_ne!(first, last);
    let place = |digest: &str| FactKey::from_text(&format!("policy/set/{digest}"));
    let other = desk.fact(place(last)).await.unwrap();
    desk.world.put(place(first), &other).await;
    let told = replay(&desk).await;
    let differ = told["differ"].as_array().unwrap();
    let about = |id: &str| differ.iter().any(|it| it.as_str().unwrap().starts_with(id));
    assert!(about(log[0].text_of("id")));
    assert!(!about(log.last().unwrap().text_of("id")));
}

/// Erasing what is known of a person leaves a log that verifies, and decisions nobody can repeat.
#[tokio::test]
async fn n_108_what_was_erased_is_counted_as_that() {
    let (desk, decision) = busy().await;
    let sponsor = &desk.world.standing.sponsor.id;
    let effects = vec![store::Effect::Remove { key: FactKey::data_key(sponsor) }];
    desk.world.store.commit(store::Unit { effects, ..store::Unit::default() }).await.unwrap();
    // What is known of the person's key is forgotten with the process.
    let Desk { world, publisher, administration, .. } = desk;
    drop((publisher, administration));
    let world = world.restarted().await;
    let administrator =
        model::Person { id: world.standing.other.id.clone(), ..world.standing.sponsor.clone() };
    world.put(FactKey::person(&administrator.id), &administrator).await;
    let desk = Desk::over(world).await;
    let other = desk.world.standing.other.id.clone();
    let told = desk.run_as(&other, Command::LogReplay).await.unwrap();
    assert_eq!(told["differ"], json!([]));
    assert!(told["erased"].as_u64().unwrap() > 5);
    let chain = desk.run_as(&other, Command::LogChain { id: decision }).await.unwrap();
    assert_eq!(chain["sponsor"], Value::Null);
    assert_eq!(chain["outcome"], "unknown");
}

/// R57: to one sponsor and one organisation, too.
#[tokio::test]
async fn r_66_the_chain_leads_from_a_decision_to_everything_behind_it() {
    let (desk, decision) = busy().await;
    let chain = desk.run(Command::LogChain { id: decision.clone() }).await.unwrap();
    let facts = &desk.world.standing;
    let expected = [
        ("decision", json!(decision)),
        ("what", json!({ "action": "crm/refund", "resource": "Tool::crm/refund" })),
        ("agent", json!("billing")),
        ("instance", json!(facts.instance.id)),
        ("task", json!(facts.task.id)),
        ("mandate", json!(facts.task.mandate_digest)),
        ("purpose", json!("care")),
        ("sponsor", json!(facts.sponsor.id)),
        ("organisation", json!(ISSUER)),
        ("subject", Value::Null),
        ("answer", json!("permit")),
        ("reason", json!("granted")),
        ("policies", json!(["refunds"])),
        ("enforcement", json!("mandatory")),
        ("outcome", json!("unknown")),
    ];
    for (member, value) in expected {
        assert_eq!(chain[member], value, "{member}");
    }
    let shown = desk.run(Command::LogShow { id: decision.clone() }).await.unwrap();
    assert_eq!(shown["record"]["id"], decision);
    assert_eq!(shown["disclosure"]["members"]["arguments"], json!({ "amount": 5 }));
    let act = desk.world.records("administration").await.remove(0);
    let id = act.text_of("id").to_owned();
    assert_eq!(word(&desk.run(Command::LogChain { id }).await), "invalid");
    let nothing = Command::LogChain { id: format!("dec_{}", "0".repeat(32)) };
    assert_eq!(word(&desk.run(nothing).await), "missing");
    assert_eq!(word(&desk.run(Command::LogShow { id: "x".to_owned() }).await), "invalid");
}

fn settle(decision: &str) -> Command {
    let (decision, reason) = (decision.to_owned(), "seen".to_owned());
    Command::OutcomeSettle { decision, did_not_happen: false, reason }
}

#[tokio::test]
async fn an_unknown_outcome_is_settled_once_and_the_act_may_be_done_again() {
    let (desk, decision) = busy().await;
    assert_eq!(word(&desk.run(settle("x")).await), "missing");
    assert_eq!(word(&desk.run(settle(&format!("dec_{}", "0".repeat(32)))).await), "missing");
    assert_eq!(desk.call("refund").await, "outcome_unknown");
    let racers = futures::future::join_all((0..4).map(|_| desk.run(settle(&decision)))).await;
    assert_eq!(racers.iter().filter(|it| it.is_ok()).count(), 1);
    assert_eq!(desk.call("refund").await, "permitted");
    assert_eq!(word(&desk.run(settle(&decision)).await), "missing");
    let record = desk.world.records("administration").await;
    assert!(record.iter().any(|it| it.text_of("action") == "outcome/settle"));
}

/// Of equal acts that were lost at once each is settled by its own decision, once, and until all are none is done
/// again.
#[tokio::test]
async fn equal_acts_that_were_lost_at_once_are_settled_one_by_one() {
    let desk = Desk::new().await;
    let mut begun = Vec::new();
    for _ in 0..2 {
        let act = desk.world.call("refund", json!({ "amount": 5 }));
        let permit = desk.world.authorize(act).await.expect("it is permitted");
        begun.push(permit.begin(desk.world.clock.as_ref()).expect("it begins"));
    }
    let decisions: Vec<_> = begun.iter().map(|it| it.context.decision.to_string()).collect();
    drop(begun);
    desk.world.drained().await;
    for decision in &decisions {
        assert_eq!(desk.call("refund").await, "outcome_unknown");
        desk.run(settle(decision)).await.expect("it is settled");
        assert_eq!(word(&desk.run(settle(decision)).await), "missing");
    }
    assert_eq!(desk.call("refund").await, "permitted");
}

/// A log of more than one page, and how many records it has.
async fn long() -> (Desk, u64) {
    let desk = Desk::new().await;
    for n in 0..1_500 {
        drop(desk.world.authorize(desk.world.call("lookup", json!({ "amount": n }))).await);
    }
    desk.world.drained().await;
    let size = desk.world.store.log_size().await.unwrap();
    (desk, size)
}

/// An export is the log as it was when it began, page by page; its pages are one reading, and
/// nobody gets one without having been permitted the whole.
#[tokio::test]
async fn an_export_ends_and_is_one_reading() {
    let (desk, size) = long().await;
    let readings = desk.world.records("administration").await.len();
    let (mut from, mut export, mut pages) = (0, None, 0);
    loop {
        let page = desk.run(Command::LogExport { from, export }).await.unwrap();
        from += page["records"].as_array().unwrap().len() as u64;
        pages += 1;
        export = page["export"].as_u64();
        if export.is_none() {
            break;
        }
    }
    assert_eq!(from, size, "in {pages} pages");
    assert!(pages > 1);
    assert_eq!(desk.world.records("administration").await.len(), readings + 1);
    // Who begins in the middle begins a reading.
    desk.run(Command::LogExport { from: 1_000, export: None }).await.unwrap();
    assert_eq!(desk.world.records("administration").await.len(), readings + 2);
    let other = desk.world.standing.other.id.clone();
    let middle = Command::LogExport { from: 1_000, export: None };
    assert_eq!(word(&desk.run_as(&other, middle).await), "refused");
}

/// Whatever the same administrator reads beside it, an export is the log as it was when it began; and there
/// is no page of one that did not begin.
#[tokio::test]
async fn exports_beside_each_other_end_each_where_it_began() {
    let (desk, size) = long().await;
    let page = async |from, export| desk.run(Command::LogExport { from, export }).await;
    let first = page(0, None).await.unwrap();
    let grown = desk.world.store.log_size().await.unwrap();
    assert!(grown > size);
    let second = page(0, None).await.unwrap();
    let (one, two) = (first["export"].as_u64().unwrap(), second["export"].as_u64().unwrap());
    assert_ne!(one, two);
    // Whoever waits for a record looks at what is new, again and again, and comes to an end each time.
    let mut from = size;
    for _ in 0..3 {
        let looked = page(from, None).await.unwrap();
        assert_eq!(looked["export"], Value::Null);
        from = looked["next"].as_u64().unwrap();
    }
    let next = first["next"].as_u64().unwrap();
    assert_eq!(second["next"].as_u64().unwrap(), next);
    let end = async |export| {
        let (mut from, mut export) = (next, Some(export));
        while export.is_some() {
            let told = page(from, export).await.unwrap();
            (from, export) = (told["next"].as_u64().unwrap(), told["export"].as_u64());
        }
        from
    };
    let begun = async |number| {
        let readings = desk.world.records("administration").await.len();
        let told = page(next, Some(number)).await;
        assert_eq!(desk.world.records("administration").await.len(), readings);
        word(&told)
    };
    assert_eq!((end(one).await, end(two).await), (size, grown));
    // One that is over, or that nobody began, goes on nowhere.
    assert_eq!((begun(one).await, begun(99).await), ("missing", "missing"));
    for _ in 0..17 {
        page(0, None).await.unwrap();
    }
    assert_eq!((begun(two + 1).await, begun(two + 17).await), ("missing", "done"));
}

/// Writes what `from` has recorded of its decisions into the log of `to`, with the decisions as an earlier
/// build would have recorded them: permitted, in version 1.
async fn recorded_earlier(from: &Desk, to: &Desk) {
    let (into, sponsor) = (&to.world.journal, &from.world.standing.sponsor.id);
    let all = from.world.journal.store().entries(0, 1_000).await.expect("it is read");
    let mut entries = Vec::new();
    for entry in all {
        let disclosure = from.world.journal.disclosure(entry.index).await.expect("it is read");
        let Some(disclosure) = disclosure else { continue };
        let sealed = Some(into.seal(sponsor, &disclosure).await.expect("it is sealed"));
        if let Ok(record) = serde_json::from_slice::<FactsRecord>(&entry.bytes) {
            entries.push(journal::entry(*record.id.as_bytes(), &record, sealed));
        } else if let Ok(record) = serde_json::from_slice::<DecisionRecord>(&entry.bytes) {
            assert_eq!((record.v, record.reason.as_str()), (2, "owners_not_active"));
            let (decision, reason) = (Verdict::Permit, "granted".to_owned());
            let policies = vec![PolicyId::from("refunds")];
            let record = DecisionRecord { decision, reason, policies, v: 1, ..record };
            entries.push(journal::entry(*record.id.as_bytes(), &record, sealed));
        }
    }
    assert_eq!(entries.len(), 2, "a decision, and its facts");
    let unit = store::Unit { entries, ..store::Unit::default() };
    into.store().commit(unit).await.expect("it commits");
}

/// What an earlier build permitted, and a rule that came later denies, is told as that, as long as no
/// decision of this build came before it: then it is not what it says.
#[tokio::test]
async fn i_05_a_permit_of_an_earlier_build_is_not_taken_for_a_forged_one() {
    let nobodys = async || {
        let world = World::with(|facts| facts.agent.bounded_by = None).await;
        Desk::over(world).await
    };
    let from = nobodys().await;
    from.world.clock.advance(std::time::Duration::from_secs(1));
    assert_eq!(from.call("refund").await, "owners_not_active");
    from.world.drained().await;
    for is_after in [false, true] {
        let to = nobodys().await;
        if is_after {
            assert_eq!(to.call("lookup").await, "permitted");
            to.world.drained().await;
        }
        recorded_earlier(&from, &to).await;
        let told = replay(&to).await;
        let differ = told["differ"].as_array().expect("they are told");
        assert_eq!(told["earlier"], json!(u64::from(!is_after)), "{told}");
        assert_eq!(differ.len(), usize::from(is_after), "{told}");
    }
}
