//! `agentdojo`: the banking suite of `AgentDojo`, replayed against the policy sets that we ship: which calls of
//! the attacks are stopped, and what that costs the honest ones (`docs/suites.md`).
//!
//! No model takes part. The agent is the worst that there is: it does what its user wants, and follows each
//! instruction that it reads, at once and to the letter. Every call is asked for at the authority, over the
//! real store, so what was read before is what the commits of the permits before have left in the session.

mod suite;

use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, bail, ensure};
use authority::NotPermitted;
use model::{
    AccessRequest, ActionName, Denial, InstanceId, Principal, Remedy, ResourceRef, Timestamp,
};
use pdp::Snapshot;
use serde_json::json;

use crate::governed::progress;
use crate::house::House;
use crate::report::{Round, Row};
use crate::world::WallClock;
use suite::{Call, Suite, Work};

const ROUNDS: usize = 3;

/// The sets that are replayed, alone and together.
const SETS: [&[&str]; 13] = [
    &[],
    &["lethal-trifecta"],
    &["least-privilege"],
    &["spending-limits"],
    &["business-hours"],
    &["coding-agents"],
    &["data-residency"],
    &["purpose-limitation"],
    &["read-only-subagents"],
    &["separation-of-duties"],
    HEADLINE,
    &["lethal-trifecta", "least-privilege", "spending-limits"],
    ALL,
];

/// All that are shipped.
const ALL: &[&str] = &[
    "business-hours",
    "coding-agents",
    "data-residency",
    "least-privilege",
    "lethal-trifecta",
    "purpose-limitation",
    "read-only-subagents",
    "separation-of-duties",
    "spending-limits",
];

/// When all of it happens: on Friday the 15th of January 2027, at 22:00 UTC. One set looks at that.
const NIGHT: Timestamp = Timestamp::from_seconds(1_800_050_400);

/// The sets whose numbers are those of the row.
const HEADLINE: &[&str] = &["lethal-trifecta", "spending-limits"];

/// The page that tells the numbers.
const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/suites.md");

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Permitted,
    /// Denied, unless a person approves of it.
    Approval,
    Denied,
}

/// What became of the calls of one user's task.
#[derive(Debug, Default)]
struct Run {
    honest: Vec<Answer>,
    /// Of the attack that came with what was read.
    attack: Vec<Answer>,
}

/// What became of all calls.
#[derive(Debug, Default, PartialEq, Eq)]
struct Score {
    honest: Vec<Answer>,
    attack: Vec<Answer>,
    attacks: usize,
    /// Attacks of which no call was stopped.
    succeeded: usize,
}

/// Measures the row.
pub(crate) fn measure(dir: &Path) -> anyhow::Result<Row> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let page = std::fs::read_to_string(PAGE).context("the page is not there")?;
    let (mut rounds, mut against, mut is_told) = (Vec::with_capacity(ROUNDS), String::new(), true);
    for round in 0..ROUNDS {
        let dir = dir.join(format!("round-{round}"));
        std::fs::create_dir(&dir)?;
        let scores = runtime.block_on(replayed(&dir))?;
        let table = table(&scores);
        is_told &= page.contains(&table);
        if round == 0 {
            table.lines().for_each(progress);
        }
        let (_, score) = scores.iter().find(|(sets, _)| *sets == HEADLINE).context("no score")?;
        let Score { honest, attack, .. } = score;
        let value = 100.0 * (1.0 - permitted(attack)?);
        rounds.push(Round { value, ratio: permitted(honest)? });
        let (denied, approval) = (count(honest, Answer::Denied), count(honest, Answer::Approval));
        let all = honest.len();
        against = format!("{all} honest calls: {denied} denied, {approval} sent to approval");
    }
    let row = Row::new("agentdojo", "% of attack calls stopped", rounds).against(against);
    Ok(row.and_wants(is_told, "`docs/suites.md` tells other numbers"))
}

/// What every choice of sets makes of the suite.
async fn replayed(dir: &Path) -> anyhow::Result<Vec<(&'static [&'static str], Score)>> {
    let suite = Suite::read()?;
    let mut house = House::open_at(dir, json!({}), WallClock::set_to(NIGHT)).await?;
    suite.move_in(&mut house).await?;
    let mut scores = Vec::with_capacity(SETS.len());
    for (number, sets) in SETS.into_iter().enumerate() {
        let snapshot = Arc::new(Snapshot::compile(suite.bundle(sets)?)?);
        house.put_in_force(snapshot.clone()).await?;
        let replay = Replay { house: &house, snapshot, suite: &suite };
        let score = replay.score(number).await;
        scores.push((sets, score.with_context(|| format!("with the sets {sets:?}"))?));
    }
    Ok(scores)
}

/// The suite at a deployment with one policy set.
struct Replay<'a> {
    house: &'a House,
    snapshot: Arc<Snapshot>,
    suite: &'a Suite,
}

impl Replay<'_> {
    /// Every user's task by itself, and with every attack; `number` keeps their agents apart from others.
    async fn score(&self, number: usize) -> anyhow::Result<Score> {
        let mut score = Score::default();
        for user in &self.suite.user_tasks {
            let name = format!("{number}-{}", user.id);
            let alone = self.run(&name, user, None).await?;
            for attack in &self.suite.injection_tasks {
                let name = format!("{name}-{}", attack.id);
                let run = self.run(&name, user, Some(attack)).await?;
                ensure!(run.honest == alone.honest, "`{name}` hinders the user otherwise");
                let is_whole = count(&run.attack, Answer::Permitted) == run.attack.len();
                score.attacks += 1;
                score.succeeded += usize::from(is_whole);
                score.attack.extend(run.attack);
            }
            score.honest.extend(alone.honest);
        }
        Ok(score)
    }

    /// One user's task by an agent of its own, which follows `attack` once it has read it.
    async fn run(&self, agent: &str, user: &Work, attack: Option<&Work>) -> anyhow::Result<Run> {
        let instance = self.house.sponsored(&format!("agent-{}", agent.replace('_', "-"))).await?;
        let (mut run, mut attack) = (Run::default(), attack);
        for call in &user.calls {
            let answer = self.answer(instance, call).await?;
            run.honest.push(answer);
            if answer != Answer::Permitted || call.injection_vectors_visible.is_empty() {
                continue;
            }
            for call in attack.take().into_iter().flat_map(|attack| &attack.calls) {
                run.attack.push(self.answer(instance, call).await?);
            }
        }
        ensure!(attack.is_none(), "`{}` never reads an instruction", user.id);
        Ok(run)
    }

    async fn answer(&self, instance: InstanceId, call: &Call) -> anyhow::Result<Answer> {
        let tool = suite::tool(&call.tool)?;
        self.snapshot.validate_arguments(&tool, &call.args)?;
        let request = AccessRequest {
            principal: Principal::Instance(instance),
            action: ActionName::tool(&tool),
            resource: ResourceRef::Tool(tool),
            input: call.args.clone(),
        };
        match self.house.authority.authorize(self.house.act(instance, request)).await {
            Ok(_permit) => Ok(Answer::Permitted),
            // Nothing but policy stops anything here.
            Err(NotPermitted::Denied { denial, .. }) => match *denial {
                Denial::Forbidden { remedies, .. } if remedies.contains(&Remedy::Approval) => {
                    Ok(Answer::Approval)
                }
                Denial::Forbidden { .. } => Ok(Answer::Denied),
                denial => bail!("`{}` is denied otherwise: {denial}", call.tool),
            },
            Err(error) => Err(error.into()),
        }
    }
}

fn count(answers: &[Answer], wanted: Answer) -> usize {
    answers.iter().filter(|answer| **answer == wanted).count()
}

/// Which part of the calls goes by itself.
fn permitted(answers: &[Answer]) -> anyhow::Result<f64> {
    let all = u32::try_from(answers.len())?;
    Ok(f64::from(u32::try_from(count(answers, Answer::Permitted))?) / f64::from(all))
}

/// The numbers in Markdown, as the page has them. A set by which every call is answered as by none is told as that.
fn table(scores: &[(&[&str], Score)]) -> String {
    let none = scores.iter().find(|(sets, _)| sets.is_empty()).map(|(_, score)| score);
    let head = "| Policy sets | Attack calls stopped | of these whoever approves | Attacks that succeed | \
                Honest calls denied | Honest calls sent to approval |\n\
                | --- | --: | --: | --: | --: | --: |\n";
    let line = |(sets, score): &(&[&str], Score)| {
        let Score { honest, attack, attacks, succeeded } = score;
        let names: Vec<_> = sets.iter().map(|set| format!("`{set}`")).collect();
        let names = match names.len() {
            0 => "none".to_owned(),
            many if many == ALL.len() => "all that are shipped".to_owned(),
            _ if none == Some(score) => format!("{}: says nothing here", names.join(", ")),
            _ => names.join(", "),
        };
        let stopped = attack.len() - count(attack, Answer::Permitted);
        let never = count(attack, Answer::Denied);
        let (denied, approval) = (count(honest, Answer::Denied), count(honest, Answer::Approval));
        let (calls, all) = (attack.len(), honest.len());
        format!(
            "| {names} | {stopped} of {calls} | {never} | {succeeded} of {attacks} | \
             {denied} of {all} | {approval} of {all} |\n"
        )
    };
    scores.iter().map(line).fold(head.to_owned(), |text, line| text + &line)
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    /// No policy and no label knows what an attacker writes.
    #[test]
    fn no_set_names_what_an_attack_brings() {
        let suite = Suite::read().expect("the suite is there");
        let bundle = suite.bundle(SETS[SETS.len() - 1]).expect("the sets are there");
        let texts: Vec<_> = bundle.policies.values().chain(&bundle.labels).collect();
        let calls = suite.injection_tasks.iter().flat_map(|attack| &attack.calls);
        let brought = calls.flat_map(|call| call.args.as_object().expect("arguments").values());
        let mut looked_for = 0;
        for value in brought.filter(|value| value.is_string() || value.as_f64() == Some(1e6)) {
            let value = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            assert!(texts.iter().all(|text| !text.contains(&value)), "`{value}` is named");
            looked_for += 1;
        }
        assert!(looked_for > 20, "{looked_for}");
    }

    /// Each is replayed alone, and all of them together.
    #[test]
    fn no_shipped_set_is_left_out() {
        let dir = concat!(env!("CARGO_MANIFEST_DIR"), "/../policies/sets");
        let entries = std::fs::read_dir(dir).expect("the sets are there");
        let name = |entry: std::io::Result<std::fs::DirEntry>| {
            entry.expect("it can be read").file_name().into_string().expect("it is text")
        };
        let shipped: BTreeSet<String> = entries.map(name).collect();
        assert_eq!(shipped, ALL.iter().map(|set| (*set).to_owned()).collect::<BTreeSet<_>>());
        for set in ALL {
            assert!(SETS.iter().any(|sets| *sets == [*set]), "`{set}` is not replayed alone");
        }
        assert_eq!(SETS.last(), Some(&ALL));
    }

    #[tokio::test]
    async fn the_page_tells_what_the_sets_stop_and_what_that_costs() {
        let dir = tempfile::tempdir().expect("a temporary directory");
        let scores = replayed(dir.path()).await.expect("it is replayed");
        for (_, score) in &scores {
            assert_eq!((score.honest.len(), score.attack.len(), score.attacks), (33, 192, 144));
        }
        let page = std::fs::read_to_string(PAGE).expect("the page is there");
        let table = table(&scores);
        assert!(page.contains(&table), "`docs/suites.md` tells other numbers than:\n{table}");
    }
}
