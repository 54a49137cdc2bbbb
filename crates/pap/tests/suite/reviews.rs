//! Reviews of agents: what nobody answers by the date is over, whoever is there; what is answered is taken
//! whole or not at all.

use std::time::Duration;

use model::{Agent, Clock as _, FactKey, REVIEW_ITEMS_MAX, REVIEW_MAX, REVIEW_MIN, SETTLED_BEFORE};
use pap::{AdminError, Command, ReviewAsked, ReviewFormat};
use serde_json::{Value, json};

use crate::desk::{Desk, word};
use crate::support::World;

pub(crate) const DAY: Duration = Duration::from_hours(24);

const HEADER: &str = "item,version,decision,reviewer,reason\n";

/// A deployment in which all but leases last for years, with `rita`, who reviews, and `gus`, who has left.
pub(crate) async fn desk() -> Desk {
    let world = World::with(|facts| {
        let far = facts.task.opened.plus(3_650 * DAY);
        (facts.mandate.valid_until, facts.task.deadline) = (far, far);
        facts.agent.valid_until = Some(facts.task.opened.plus(29 * DAY));
        facts.task.mandate_digest = facts.mandate.digest();
    });
    let desk = Desk::over(world.await).await;
    for id in ["rita", "gus"] {
        let add = Command::PersonAdd { id: id.to_owned(), groups: Vec::new() };
        desk.run(add).await.expect("they are added");
    }
    desk.run(Command::PersonDeactivate { id: "gus".to_owned() }).await.expect("they left");
    desk.world.clock.advance(Duration::from_secs(1));
    desk
}

impl Desk {
    /// Opens a review of all agents that is due after so long; gives its id.
    pub(crate) async fn review(&self, after: Duration) -> String {
        let told = self.opens(&[], after).await.expect("it is opened");
        told["review"].as_str().expect("an id").to_owned()
    }

    pub(crate) async fn opens(
        &self,
        agents: &[&str],
        after: Duration,
    ) -> Result<Value, AdminError> {
        let due = self.world.clock.now().plus(after).to_string();
        let agents = agents.iter().map(|&name| name.to_owned()).collect();
        let asked = ReviewAsked { agents, sponsor: None, due };
        Box::pin(self.run(Command::ReviewOpen(asked))).await
    }

    pub(crate) async fn reviewed(&self, name: &str) -> Agent {
        let key = FactKey::agent(&name.parse().expect("a name"));
        serde_json::from_value(self.fact(key).await.expect("it is known")).expect("an agent")
    }

    /// A line of a file that decides of `agent` as it is now.
    pub(crate) async fn line(&self, review: &str, agent: &str, decision: &str) -> String {
        let version = self.reviewed(agent).await.version();
        format!("{review}/{agent},{version},{decision},rita,it does its work\n")
    }

    pub(crate) async fn imports(&self, review: &str, lines: &str) -> Result<Value, AdminError> {
        let by = self.world.standing.other.id.clone();
        self.imports_as(&by, review, lines).await
    }

    pub(crate) async fn imports_as(
        &self,
        by: &model::PersonId,
        review: &str,
        lines: &str,
    ) -> Result<Value, AdminError> {
        let (id, file) = (review.to_owned(), format!("{HEADER}{lines}"));
        Box::pin(self.run_as(by, Command::ReviewImport { id, file })).await
    }

    /// The export of a review.
    pub(crate) async fn exported(&self, review: &str, format: ReviewFormat) -> String {
        let asked = Command::ReviewExport { id: review.to_owned(), format };
        let told = Box::pin(self.run(asked)).await.expect("it is told");
        told["file"].as_str().expect("all is counted").to_owned()
    }

    pub(crate) async fn reinstate(&self, who: &model::PersonId) -> &'static str {
        let (name, reason) = ("billing".to_owned(), "it is needed".to_owned());
        word(&self.run_as(who, Command::AgentReinstate { name, reason, word: None }).await)
    }

    /// Who brings decisions is somebody who sponsors nothing and administers.
    pub(crate) async fn with_importer(self) -> Self {
        let mut other = self.world.standing.other.clone();
        other.groups.insert("administrators".parse().expect("a group"));
        self.world.put(FactKey::person(&other.id), &other).await;
        self
    }
}

/// Nothing has to run when the date passes, and nobody has to do anything.
#[tokio::test]
async fn r_75_an_agent_that_nobody_answered_lapses_also_while_nothing_runs() {
    let desk = desk().await;
    let review = desk.review(2 * DAY).await;
    desk.world.clock.advance((2 * DAY).saturating_sub(Duration::from_millis(1)));
    assert_eq!(desk.call("lookup").await, "permitted");
    desk.world.clock.advance(Duration::from_hours(1));
    let desk = desk.restarted().await;
    assert_eq!(desk.call("lookup").await, "review_lapsed");
    let shown = desk.run(Command::ReviewShow { id: review.clone() }).await.expect("it is shown");
    assert_eq!(shown["counts"], json!({ "lapsed": 1 }));
    let late = desk.line(&review, "billing", "keep").await;
    let late = desk.imports_as(&desk.world.standing.sponsor.id, &review, &late).await;
    assert!(
        late.expect_err("it is late").to_string().contains("awaits no decision any more: lapsed")
    );

    // Neither a renewal nor anybody else brings it back, and what it was given before is over.
    let name = "billing".to_owned();
    let renew = Command::AgentRenew { name, key: None, compromised: false, word: None };
    assert_eq!(word(&desk.run(renew).await), "invalid");
    assert_eq!(desk.reinstate(&"rita".parse().unwrap()).await, "refused");
    assert_eq!(desk.reinstate(&desk.world.standing.sponsor.id).await, "done");
    assert_eq!(desk.call("lookup").await, "taken_over");
    // What it was given before died when it lapsed, and not when it was begun anew.
    let report = desk.run(Command::AgentOffboard { name: "billing".to_owned(), since: None }).await;
    let report = report.expect("it is reported");
    let rows = report["credentials"].as_array().expect("there are some");
    let row = rows.iter().find(|row| row["kind"] == "instance").expect("there is one");
    assert_eq!((&row["state"], &row["died"]), (&json!("dead"), &shown["due"]), "{row}");
    let mut reader = desk.world.authority.pip().reader();
    let (name, now) = ("billing".parse().unwrap(), desk.world.clock.now());
    let begins = authority::may_begin(&mut reader, &name, now);
    assert!(begins.await.expect("it is read").is_ok(), "it may begin anew");
    assert_eq!(
        desk.reinstate(&desk.world.standing.sponsor.id).await,
        "invalid",
        "it has not lapsed"
    );
}

/// What is kept goes on, and its lease ends when it did.
#[tokio::test]
async fn r_75_what_a_reviewer_keeps_goes_on_and_is_no_renewal() {
    let desk = desk().await.with_importer().await;
    let before = desk.reviewed("billing").await;
    let review = desk.review(2 * DAY).await;
    let keep = desk.line(&review, "billing", "keep").await;
    let told = desk.imports(&review, &keep).await.expect("it is taken");
    assert_eq!((&told["kept"], &told["awaiting"]), (&json!(1), &json!(0)));
    let after = desk.reviewed("billing").await;
    assert_eq!(after.leased_until(), before.leased_until());
    assert_eq!(after.review.passed, Some(desk.world.clock.now()));
    desk.world.clock.advance(3 * DAY);
    assert_eq!(desk.call("lookup").await, "permitted");
    let shown = desk.run(Command::ReviewShow { id: review.clone() }).await.expect("it is shown");
    assert_eq!(shown["items"][0]["decided"]["reviewer"], "rita");
    assert_eq!(shown["items"][0]["decided"]["reason"], "it does its work");

    // The same file once more changes nothing, and says so.
    let revision = desk.revision().await;
    let again = desk.imports(&review, &keep).await.expect("it is known");
    assert_eq!((&again["again"], &again["kept"]), (&json!(true), &json!(1)));
    assert_eq!(desk.revision().await, revision);
    let other = keep.replace("it does", "it still does");
    assert_eq!(word(&desk.imports(&review, &other).await), "invalid", "it was answered");
    desk.world.clock.advance(27 * DAY);
    assert_eq!(desk.call("lookup").await, "lease_ended");
}

/// What is revoked is suspended in the same commit, and a report names the record.
#[tokio::test]
async fn r_75_what_a_reviewer_revokes_is_suspended() {
    let desk = desk().await.with_importer().await;
    let review = desk.review(2 * DAY).await;
    let revoke = desk.line(&review, "billing", "revoke").await;
    let told = desk.imports(&review, &revoke).await.expect("it is taken");
    assert_eq!(desk.call("lookup").await, "actor_not_active");
    let report = desk.run(Command::AgentOffboard { name: "billing".to_owned(), since: None }).await;
    let report = report.expect("it is reported");
    let rows = report["credentials"].as_array().expect("there are some");
    for kind in ["agent_key", "instance", "standing_mandate"] {
        let row = rows.iter().find(|row| row["kind"] == kind).expect("it has one");
        assert_eq!(
            (&row["state"], &row["by"]["record"]),
            (&json!("dead"), &told["decision"]),
            "{row}"
        );
    }
}

/// Who was suspended before a review revokes them is so since then, and for that; who is retired stays so.
#[tokio::test]
async fn what_stopped_an_agent_first_stands() {
    let desk = desk().await.with_importer().await;
    let review = desk.review(2 * DAY).await;
    let revoke = desk.line(&review, "billing", "revoke").await;
    let suspend = async |reason: &str| {
        let (name, reason) = ("billing".to_owned(), reason.to_owned());
        desk.run(Command::AgentSuspend { name, reason }).await.expect("it is suspended")
    };
    let first = suspend("it leaked").await;
    let stopped = desk.reviewed("billing").await.state;
    desk.world.clock.advance(Duration::from_secs(1));
    desk.imports(&review, &revoke).await.expect("it is taken");
    suspend("once more").await;
    assert_eq!(desk.reviewed("billing").await.state, stopped);
    let report = desk.run(Command::AgentOffboard { name: "billing".to_owned(), since: None }).await;
    let report = report.expect("it is reported");
    let rows = report["credentials"].as_array().expect("there are some");
    let key = rows.iter().find(|row| row["kind"] == "agent_key").expect("it has one");
    assert_eq!(key["by"]["record"], first["decision"], "{key}");
    let mut retired = desk.reviewed("billing").await;
    retired.retire(desk.world.clock.now());
    assert_eq!(retired.state.stopped(), stopped.stopped());
    desk.world.put(FactKey::agent(&retired.name), &retired).await;
    suspend("and again").await;
    assert_eq!(desk.reviewed("billing").await, retired);
}

/// Each line that cannot be taken is told with its number, and then none is.
#[tokio::test]
async fn r_75_a_file_is_taken_whole_or_not_at_all() {
    let desk = desk().await.with_importer().await;
    for name in ["second", "third"] {
        let agent = Agent { name: name.parse().unwrap(), ..desk.world.standing.agent.clone() };
        desk.world.put(FactKey::agent(&agent.name), &agent).await;
    }
    let told = desk.opens(&["billing", "second"], 2 * DAY).await.expect("it is opened");
    let review = told["review"].as_str().expect("an id");
    let good = desk.line(review, "second", "keep").await;
    let line = desk.line(review, "billing", "keep").await;
    let third = desk.line(review, "third", "keep").await;
    let other = line.replace(review, "rvw_00000000000000000000000000000001");
    let revision = desk.revision().await;
    let check = async |wrong: &str, why: &str| {
        let refused = desk.imports(review, &format!("{good}{wrong}")).await;
        let refused = refused.expect_err("it is refused").to_string();
        assert!(refused.contains(why) && refused.starts_with("line 3: "), "{wrong}: {refused}");
        assert_eq!(desk.revision().await, revision, "{wrong}");
    };
    check(&other, "it is of another review").await;
    check(&third, "is no item of it").await;
    check(&good, "`second` stands twice").await;
    check(&line.replace("keep", "Keep"), "the decision is one of `keep`, `reduce`, `revoke`").await;
    check(&line.replace("rita", "nobody"), "the reviewer `nobody` is no person who is here").await;
    check(&line.replace("rita", "gus"), "the reviewer `gus` is no person who is here").await;
    check(&line.replace("rita", "billing"), "the reviewer `billing` is no person who").await;
    check(&line.replace(",rita,", ",,"), "").await;
    check(&format!("\u{feff}{line}"), "").await;
    check(&line.replace("it does its work", " "), "a reason is needed").await;
    check(&line.replace("it does its work", &"x".repeat(513)), "a reason is needed").await;
    check(&line.replace("work", "work,more"), "it has 6 fields, not 5").await;
    check(&line.replace("it does", "\"it\" does"), "a quote stands").await;
    check(&line.replace("does", "does\t"), "it holds a control character").await;
    let sponsor = desk.world.standing.sponsor.id.to_string();
    check(&line.replace("rita", &sponsor), "may not `review/certify` `billing`").await;
    let nothing = desk.imports(review, "").await.expect_err("it is empty").to_string();
    assert!(nothing.contains("one decision at least"), "{nothing}");
    // Spreadsheets put a byte order mark before a table: that alone is none of it, and once.
    let (id, file) = (review.to_owned(), format!("\u{feff}{HEADER}"));
    let marked = desk.run(Command::ReviewImport { id, file }).await.expect_err("it is empty");
    assert!(marked.to_string().contains("one decision at least"), "{marked}");
    let (id, file) = (review.to_owned(), format!("\u{feff}\u{feff}{HEADER}{line}"));
    let twice = desk.run(Command::ReviewImport { id, file }).await.expect_err("it is refused");
    assert!(twice.to_string().starts_with("line 1: the columns are"), "{twice}");
    let (id, file) = (review.to_owned(), format!("item,decision\n{line}"));
    let header = desk.run(Command::ReviewImport { id, file }).await.expect_err("it is refused");
    assert!(header.to_string().starts_with("line 1: the columns are"), "{header}");

    // An agent that has changed since the export is another one than was decided on.
    let mut changed = desk.reviewed("billing").await;
    changed.backups.insert("rita".parse().unwrap());
    desk.world.put(FactKey::agent(&changed.name), &changed).await;
    let stale = desk.imports(review, &format!("{good}{line}")).await.expect_err("it is stale");
    assert!(
        stale.to_string().contains("line 3: `billing` has changed since it was exported"),
        "{stale}"
    );
    assert!(desk.reviewed("second").await.review.open.is_some(), "none was taken");
    let line = desk.line(review, "billing", "revoke").await;
    desk.imports(review, &format!("{good}{line}")).await.expect("both are taken");
}

/// What happens to an agent every day is no change of what was decided on: its sponsor renews its lease, affirms
/// that they answer for it, and its risk is told. What is decided on is.
#[tokio::test]
async fn r_75_a_renewal_makes_no_decision_stale() {
    let desk = desk().await.with_importer().await;
    let review = desk.review(2 * DAY).await;
    let keep = desk.line(&review, "billing", "keep").await;
    desk.world.clock.advance(Duration::from_secs(1));
    let name = || "billing".to_owned();
    let renew = Command::AgentRenew { name: name(), key: None, compromised: false, word: None };
    desk.run(renew).await.expect("it is renewed");
    desk.run(Command::AgentAffirm { name: name(), word: None }).await.expect("it is affirmed");
    let before = desk.reviewed("billing").await;
    let check = async |change: &dyn Fn(&mut Agent)| {
        let mut changed = before.clone();
        change(&mut changed);
        assert_ne!(changed.version(), before.version());
        desk.world.put(FactKey::agent(&changed.name), &changed).await;
        let stale = desk.imports(&review, &keep).await.expect_err("it is another").to_string();
        assert!(stale.contains("has changed since it was exported"), "{stale}");
    };
    let rita = || "rita".parse().expect("a person");
    check(&|agent| agent.sponsor = rita()).await;
    check(&|agent| agent.business_owner = rita()).await;
    check(&|agent| agent.technical_owner = rita()).await;
    check(&|agent| agent.backups = [rita()].into()).await;
    check(&|agent| agent.bounded_by = None).await;
    check(&|agent| agent.purposes.clear()).await;
    check(&|agent| agent.ceiling.tools.clear()).await;
    check(&|agent| agent.key = crate::desk::jwk()).await;
    check(&|agent| agent.registered = agent.registered.plus(DAY)).await;
    desk.world.put(FactKey::agent(&before.name), &before).await;
    let told = desk.imports(&review, &keep).await.expect("it is taken");
    assert_eq!(told["kept"], 1);
}

/// That somebody may not certify is on the record, as every denial is, with who brought their word.
#[tokio::test]
async fn i_22_a_denied_certification_is_recorded() {
    let desk = desk().await.with_importer().await;
    let review = desk.review(2 * DAY).await;
    let sponsor = desk.world.standing.sponsor.id.to_string();
    let keep = desk.line(&review, "billing", "keep").await.replace("rita", &sponsor);
    let refused = desk.imports(&review, &keep).await.expect_err("it is refused").to_string();
    let records = desk.world.records("administration").await;
    let denied: Vec<_> =
        records.iter().filter(|it| it.text_of("action") == "review/certify").collect();
    assert_eq!(denied.len(), 1);
    assert_eq!(denied[0].text_of("decision"), "deny");
    assert!(refused.contains(denied[0].text_of("id")), "{refused}");
    let behind = desk.world.disclosure(denied[0]).await;
    assert_eq!(behind.value("administrator").expect("it is told")["id"], sponsor);
    let by = &desk.world.standing.other.id;
    let expected = json!({ "part_of": "review/import", "by": by });
    assert_eq!(behind.value("change"), Some(&expected));
}

/// A sponsor certifies nothing alone: neither as the reviewer, nor by bringing the word of another. To
/// revoke they need nobody.
#[tokio::test]
async fn r_75_a_sponsor_does_not_alone_certify_what_they_answer_for() {
    let desk = desk().await;
    let sponsor = desk.world.standing.sponsor.id.clone();
    let review = desk.review(2 * DAY).await;
    let keep = desk.line(&review, "billing", "keep").await;
    let refused = desk.imports_as(&sponsor, &review, &keep).await.expect_err("it is refused");
    assert!(refused.to_string().contains("may not `review/certify`"), "{refused}");
    assert_eq!(word(&desk.imports_as(&"rita".parse().unwrap(), &review, &keep).await), "refused");
    let revoke = keep.replace("keep", "revoke");
    desk.imports_as(&sponsor, &review, &revoke).await.expect("it is taken");
}

/// Who was not answered does not lapse by a review that is withdrawn in time, and what was decided stands. Nobody
/// withdraws one alone of what they answer for, nor brings back by that who has lapsed.
#[tokio::test]
async fn r_75_a_review_that_is_withdrawn_in_time_lapses_nobody() {
    let desk = desk().await.with_importer().await;
    let second = Agent { name: "second".parse().unwrap(), ..desk.world.standing.agent.clone() };
    desk.world.put(FactKey::agent(&second.name), &second).await;
    let (sponsor, other) = (&desk.world.standing.sponsor.id, &desk.world.standing.other.id);
    let withdraw = async |by: &model::PersonId, review: &str, reason: &str| {
        let (id, reason) = (review.to_owned(), reason.to_owned());
        Box::pin(desk.run_as(by, Command::ReviewWithdraw { id, reason })).await
    };
    let review = desk.review(2 * DAY).await;
    let [keep, late] =
        [desk.line(&review, "second", "keep").await, desk.line(&review, "billing", "keep").await];
    desk.imports(&review, &keep).await.expect("it is taken");
    let shown = async |id: &str| {
        desk.run(Command::ReviewShow { id: id.to_owned() }).await.expect("it is shown")
    };
    assert_eq!(shown(&review).await["state"], "open");
    let revision = desk.revision().await;
    let own = withdraw(sponsor, &review, "it is fine").await.expect_err("it is their own");
    assert!(own.to_string().contains("may not `review/certify` `billing`"), "{own}");
    let rita = "rita".parse().unwrap();
    assert_eq!(word(&withdraw(&rita, &review, "it is fine").await), "refused");
    assert_eq!(word(&withdraw(other, &review, "").await), "invalid");
    assert_eq!(desk.revision().await, revision);

    let told = withdraw(other, &review, "of the wrong agents").await.expect("it is withdrawn");
    assert_eq!(told["goes_on"], json!(["billing"]));
    let of = shown(&review).await;
    assert_eq!(
        (&of["state"], &of["counts"]),
        (&json!("withdrawn"), &json!({ "keep": 1, "withdrawn": 1 }))
    );
    assert_eq!(
        (&of["withdrawn"]["by"], &of["withdrawn"]["reason"]),
        (&json!(other), &json!("of the wrong agents"))
    );
    desk.world.clock.advance(3 * DAY);
    assert_eq!(desk.call("lookup").await, "permitted");
    assert!(desk.reviewed("second").await.review.passed.is_some());
    let late = desk.imports(&review, &late).await.expect_err("it is over").to_string();
    assert!(late.contains("awaits no decision any more: withdrawn"), "{late}");
    let again = withdraw(other, &review, "once more").await.expect_err("it is over").to_string();
    assert!(again.contains("the review is withdrawn already"), "{again}");

    let told = desk.opens(&["billing"], 2 * DAY).await.expect("it is in no other");
    let review = told["review"].as_str().expect("an id");
    // Not just before it either, nor is it answered then: by when that is done, it may have lapsed.
    let keep = desk.line(review, "billing", "keep").await;
    desk.world.clock.advance((2 * DAY).saturating_sub(SETTLED_BEFORE));
    assert_eq!(word(&withdraw(other, review, "it was missed").await), "invalid");
    let late = desk.imports(review, &keep).await.expect_err("it is late").to_string();
    assert!(late.contains("lapsed, or does within a minute"), "{late}");
    desk.world.clock.advance(SETTLED_BEFORE);
    let late = withdraw(other, review, "it was missed").await.expect_err("it is late").to_string();
    assert!(late.contains("the date of the review has passed"), "{late}");
    assert_eq!(desk.call("lookup").await, "review_lapsed");
    let listed = desk.run(Command::ReviewList).await.expect("they are listed");
    let states: Vec<_> = listed.as_array().unwrap().iter().map(|it| it["state"].clone()).collect();
    assert_eq!(states, ["withdrawn", "lapsed"]);
}

/// Nobody lets agents go on by withdrawing a review whom they could not certify in it.
#[tokio::test]
async fn r_75_who_withdraws_a_review_may_certify_all_who_go_on_by_that() {
    let desk = desk().await.with_importer().await;
    let anybody = "resource.sponsor != principal };";
    let some = r#"resource.sponsor != principal && principal in Group::"reviewers" };"#;
    desk.world.publish(&crate::support::POLICY.replacen(anybody, some, 1)).await;
    let id = desk.review(2 * DAY).await;
    let mut other = desk.world.standing.other.clone();
    other.groups.insert("administrators".parse().expect("a group"));
    let withdraw = async || {
        let (id, reason) = (id.clone(), "of the wrong agents".to_owned());
        Box::pin(desk.run_as(&other.id, Command::ReviewWithdraw { id, reason })).await
    };
    let refused = withdraw().await.expect_err("they certify nothing").to_string();
    assert!(refused.contains("may not `review/certify` `billing`"), "{refused}");
    assert!(desk.reviewed("billing").await.review.open.is_some());
    let mut reviewer = other.clone();
    reviewer.groups.insert("reviewers".parse().expect("a group"));
    desk.world.put(FactKey::person(&reviewer.id), &reviewer).await;
    let not_yet = SETTLED_BEFORE + Duration::from_millis(1);
    desk.world.clock.advance((2 * DAY).saturating_sub(not_yet));
    assert_eq!(word(&withdraw().await), "done");
}

/// A review is due neither at once nor never, of agents that are fit for one.
#[tokio::test]
async fn r_75_a_review_gives_time_to_answer() {
    let desk = desk().await;
    let millisecond = Duration::from_millis(1);
    for (after, expected) in [
        (REVIEW_MIN.saturating_sub(millisecond), "invalid"),
        (REVIEW_MAX + millisecond, "invalid"),
        (REVIEW_MAX, "done"),
    ] {
        assert_eq!(word(&desk.opens(&["billing"], after).await), expected, "{after:?}");
    }
    assert_eq!(word(&desk.opens(&["billing"], DAY).await), "invalid", "it is in a review");
    assert_eq!(word(&desk.opens(&["nothing"], DAY).await), "missing");
    assert_eq!(word(&desk.opens(&[], DAY).await), "invalid", "there is nothing else");
}

/// Agents are reviewed, and answered, in one commit, up to a limit.
#[tokio::test]
async fn i_18_a_review_has_agents_up_to_its_limit() {
    let desk = desk().await.with_importer().await;
    for number in 0..REVIEW_ITEMS_MAX {
        let name = format!("more-{number}").parse().expect("a name");
        // Each sponsor, and each reviewer, is another one: as many facts as there may be.
        let sponsor = format!("s-{number}").parse().expect("a person");
        let agent = Agent { name, sponsor, ..desk.world.standing.agent.clone() };
        desk.world.put(FactKey::agent(&agent.name), &agent).await;
        for id in [agent.sponsor.to_string(), format!("r-{number}")] {
            let person = crate::support::person(&id, &[]);
            desk.world.put(FactKey::person(&person.id), &person).await;
        }
    }
    assert_eq!(word(&desk.opens(&[], DAY).await), "invalid", "one too many");
    desk.run(Command::AgentSuspend { name: "billing".to_owned(), reason: "test".to_owned() })
        .await
        .expect("it is suspended");
    let review = desk.review(DAY).await;
    let mut lines = String::new();
    for number in 0..REVIEW_ITEMS_MAX {
        let line = desk.line(&review, &format!("more-{number}"), "keep").await;
        lines += &line.replace("rita", &format!("r-{number}"));
    }
    let told = desk.imports(&review, &lines).await.expect("all are taken");
    assert_eq!(told["kept"], REVIEW_ITEMS_MAX);
    let more = format!("{lines}{}", lines.lines().next().unwrap());
    let refused = desk.imports(&review, &more).await.expect_err("it is refused").to_string();
    assert!(refused.contains("400 at most"), "{refused}");
}
