//! Somebody leaves: their directory says so, and twenty agents that they answer for stop. How long that
//! takes is measured where it counts, at the tool server.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, ensure};
use bytes::Bytes;
use futures::future::{join_all, try_join_all};
use http::{Method, Request, header};
use http_body_util::Full;
use serde_json::{Value, json};

use crate::browser::{Browser, origin, quoted};
use crate::deployment::{Deployment, until};
use crate::instance::Instance;
use crate::stage::{PERSON, Stage};
use crate::story::say;
use crate::tools::desk::now_ms;
use crate::web::{self, Answer};

/// Who leaves.
const LEAVER: &str = "dora";

/// How many agents they answer for.
const AGENTS: usize = 20;

/// Within which time everything must have stopped, in milliseconds.
const WITHIN_MS: u64 = 1_000;

/// How long it is looked on after that time, in milliseconds, while all of them go on trying.
const WATCHED_MS: u64 = 300;

/// How long an agent waits between two calls.
const PAUSE: Duration = Duration::from_millis(100);

/// How much each has done before the directory speaks.
const CALLS: usize = 5;

/// How the tickets begin that these agents work on.
const TICKET: &str = "T-clerk-";

/// A directory says that a sponsor left: all their agents stop within a second, a stream included;
/// another person takes one of them over.
pub(super) async fn measured(stage: &mut Stage) -> anyhow::Result<()> {
    let deployment = &stage.deployment;
    let directory = Directory::register(deployment).await?;
    directory.brings(LEAVER, PERSON).await?;
    let names: Vec<String> = (1..=AGENTS).map(|number| format!("clerk-{number:02}")).collect();
    try_join_all(names.iter().map(|name| stage.agent_is((name, LEAVER), &[]))).await?;
    let clerks = names.iter().map(|name| Instance::enrol(deployment, (name, "tickets")));
    let clerks = try_join_all(clerks).await?;
    say(&format!(
        "a SCIM directory brings {LEAVER}, who answers for {AGENTS} agents, and reports to {PERSON}"
    ));
    let (streaming, others) = clerks.split_first().context("there are some")?;
    let (is_over, ended) = (AtomicBool::new(false), AtomicUsize::new(0));
    let work = join_all(others.iter().map(|clerk| works(clerk, (&is_over, &ended))));
    let stream = async { (follows(streaming).await, works(streaming, (&is_over, &ended)).await) };
    let leave = async {
        let left = leaves(stage, &directory, &ended).await;
        is_over.store(true, Ordering::SeqCst);
        left
    };
    let (mut tried, (followed, more), left) = tokio::join!(work, stream, leave);
    let (signal, stream) = (left?, followed?);
    tried.push(more);
    let tried = tried.into_iter().collect::<anyhow::Result<Vec<_>>>()?.concat();
    judged(stage, signal, &tried)?;
    cut(stage, &stream).await?;
    taken_over(stage, &names, &clerks).await
}

/// Waits until all are at work, and lets the directory say that the sponsor left; when that was
/// acknowledged, in milliseconds since the epoch. It is looked on until each could have tried again, by how
/// many calls have `ended`.
async fn leaves(stage: &Stage, directory: &Directory, ended: &AtomicUsize) -> anyhow::Result<u64> {
    let at_work = async || {
        let mut done = BTreeMap::<String, usize>::new();
        for ticket in stage.effects()?.iter().filter_map(|it| ticket(&it.arguments)) {
            *done.entry(ticket).or_default() += 1;
        }
        // The one that streams has one call, which goes on.
        let busy = done.values().filter(|calls| **calls >= CALLS).count() == AGENTS - 1;
        let streams = stage.steps("tickets").is_ok_and(|steps| steps.len() >= CALLS);
        Ok((done.len() == AGENTS && busy && streams).then_some(()))
    };
    until("all agents are at work", at_work).await?;
    say(&format!("{AGENTS} instances are at work, one of them in a call that streams"));
    directory.deactivates(LEAVER).await?;
    let (signal, before) = (now_ms(), ended.load(Ordering::SeqCst));
    say(&format!("PATCH /scim/v2/Users/{LEAVER} active: false → 200; all of them go on trying"));
    tokio::time::sleep(Duration::from_millis(WITHIN_MS + WATCHED_MS)).await;
    // Those that were under way, and as many after them, however long a busy machine takes.
    let tried = async || Ok((ended.load(Ordering::SeqCst) >= before + 2 * AGENTS).then_some(()));
    until("enough is tried after it", tried).await?;
    Ok(signal)
}

/// The last effect at the tool server came in time, and nothing was done that was asked for afterwards.
fn judged(stage: &Stage, signal: u64, tried: &[Tried]) -> anyhow::Result<()> {
    let of_clerks = stage.effects()?.into_iter().filter(|it| ticket(&it.arguments).is_some());
    let effects: Vec<_> = of_clerks.chain(stage.steps("tickets")?).map(|it| it.time).collect();
    let Measured { after, later, done } = Measured::of(&effects, signal, tried)?;
    say(&format!("last effect after {after} ms, by the clock of the tool server"));
    say(&format!("{later} calls were tried after it, {done} of them done"));
    ensure!(after <= WITHIN_MS, "something happened after {WITHIN_MS} ms");
    ensure!(later >= AGENTS, "too little was tried");
    ensure!(done == 0, "what was asked for after the directory's word was done");
    Ok(())
}

/// What came after the signal.
#[derive(Debug, PartialEq, Eq)]
struct Measured {
    /// How long after it the last effect came, in milliseconds; 0 if none did.
    after: u64,
    /// How many calls were begun after it.
    later: usize,
    /// How many of those were done.
    done: usize,
}

impl Measured {
    fn of(effects: &[u64], signal: u64, tried: &[Tried]) -> anyhow::Result<Self> {
        let last = effects.iter().max().context("nothing was done")?;
        let later: Vec<_> = tried.iter().filter(|tried| tried.began > signal).collect();
        let done = later.iter().filter(|tried| tried.is_done).count();
        Ok(Self { after: last.saturating_sub(signal), later: later.len(), done })
    }
}

/// The stream did not end by itself.
async fn cut(stage: &Stage, stream: &Answer) -> anyhow::Result<()> {
    let text = String::from_utf8_lossy(&stream.body);
    let last = text.lines().filter_map(|line| line.strip_prefix("data:")).next_back();
    let last: Value = serde_json::from_str(last.context("it is no stream")?)?;
    ensure!(last["result"]["isError"] != false, "the stream ended by itself: {last}");
    let steps = stage.steps("tickets")?;
    let decision = &steps.last().context("it did not stream")?.decision;
    stage.ends_as(decision, "cut").await?;
    say(&format!("the stream was cut after {} steps ({decision})", steps.len()));
    Ok(())
}

/// Another person takes one agent over, which begins again; the others stay as they are.
async fn taken_over(stage: &Stage, names: &[String], clerks: &[Instance]) -> anyhow::Result<()> {
    let first = names.first().context("there are some")?;
    let page = format!("{}/agents", stage.deployment.observers_url());
    let mut browser = Browser::default();
    let welcome = browser.get(&page).await?;
    let link = quoted(&String::from_utf8_lossy(&welcome.body), "<a href=\"")?;
    let shown = browser.get(&format!("{}{link}", origin(&page))).await?;
    let csrf = quoted(&String::from_utf8_lossy(&shown.body), "name=\"csrf\" value=\"")?;
    let reason = format!("{LEAVER} left");
    let fields = [("csrf", csrf.as_str()), ("choice", "take-over"), ("reason", &reason)];
    let answer = browser.post(&format!("{page}/{first}"), &fields).await?;
    ensure!(answer.status == 303, "{PERSON} could not take `{first}` over: {}", answer.status);
    say(&format!("{PERSON} logs in and takes `{first}` over (agent/take-over)"));
    let comment = json!({ "ticket": format!("{TICKET}again"), "text": "taken over" });
    let begun = Instance::enrol(&stage.deployment, (first, "tickets")).await?;
    ensure!(
        is_done(&begun.call(("comment", &comment), &begun.proof()?).await?),
        "it does not work"
    );
    say(&format!("a new instance of `{first}` works"));
    let before = stage.effects()?.len();
    for clerk in clerks {
        let answer = clerk.call(("comment", &comment), &clerk.proof()?).await?;
        ensure!(!is_done(&answer), "what was given before the sponsor left counts");
    }
    let others =
        names.iter().skip(1).map(|name| Instance::enrol(&stage.deployment, (name, "tickets")));
    let begun = join_all(others).await.iter().filter(|begun| begun.is_ok()).count();
    ensure!(begun == 0, "{begun} agents begin again without anybody who answers for them");
    say(&format!("the {} others stay stopped, and get no token", AGENTS - 1));
    stage.none_more(before)
}

/// One call: when it was begun, in milliseconds since the epoch, and whether it was done.
#[derive(Clone, Copy, Debug)]
struct Tried {
    began: u64,
    is_done: bool,
}

/// Comments on its ticket again and again until it is over, and counts the calls that have ended.
async fn works(
    clerk: &Instance,
    (is_over, ended): (&AtomicBool, &AtomicUsize),
) -> anyhow::Result<Vec<Tried>> {
    let (mut all, mut number) = (Vec::new(), 0);
    while !is_over.load(Ordering::SeqCst) {
        number += 1;
        let comment = json!({ "ticket": own(clerk), "text": format!("comment {number}") });
        let began = now_ms();
        let answer = clerk.call(("comment", &comment), &clerk.proof()?).await?;
        all.push(Tried { began, is_done: is_done(&answer) });
        ended.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(PAUSE).await;
    }
    Ok(all)
}

/// Tends its ticket: the answer is a stream, as long as it is let.
async fn follows(clerk: &Instance) -> anyhow::Result<Answer> {
    clerk.call(("follow", &json!({ "ticket": own(clerk) })), &clerk.proof()?).await
}

fn own(clerk: &Instance) -> String {
    format!("{TICKET}{}", clerk.agent)
}

/// The ticket in `arguments`, if it is one of these agents'.
fn ticket(arguments: &Value) -> Option<String> {
    let ticket = arguments["ticket"].as_str()?;
    ticket.starts_with(TICKET).then(|| ticket.to_owned())
}

fn is_done(answer: &Answer) -> bool {
    answer.json()["result"]["isError"] == false
}

/// A directory that pushes who its people are (SCIM 2.0).
struct Directory {
    base: String,
    token: String,
}

impl Directory {
    async fn register(deployment: &Deployment) -> anyhow::Result<Self> {
        let file = deployment.path("directory.token");
        let path = Path::to_str(&file).context("the temporary directory has no plain name")?;
        // It says what the demo has it say, and nothing between.
        let silence = ["--silence", "none"];
        let add = ["directory", "add", "staff", "--token", path];
        deployment.typed(&[&add[..], &silence].concat()).await?;
        let token = std::fs::read_to_string(&file)?;
        Ok(Self { base: format!("{}/scim/v2", deployment.observers_url()), token })
    }

    /// Says that there is somebody new, who reports to `manager`.
    async fn brings(&self, person: &str, manager: &str) -> anyhow::Result<()> {
        let enterprise = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
        let mut user = json!({
            "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User", enterprise],
            "userName": person, "active": true,
        });
        user[enterprise] = json!({ "manager": { "value": manager } });
        self.says(Method::POST, "/Users", &user, 201).await
    }

    /// Says that somebody is gone.
    async fn deactivates(&self, person: &str) -> anyhow::Result<()> {
        let patch = json!({
            "schemas": ["urn:ietf:params:scim:api:messages:2.0:PatchOp"],
            "Operations": [{ "op": "replace", "path": "active", "value": false }],
        });
        self.says(Method::PATCH, &format!("/Users/{person}"), &patch, 200).await
    }

    async fn says(
        &self,
        method: Method,
        path: &str,
        what: &Value,
        status: u16,
    ) -> anyhow::Result<()> {
        let request = Request::builder()
            .method(method)
            .uri(format!("{}{path}", self.base))
            .header(header::AUTHORIZATION, format!("Bearer {}", self.token.trim()))
            .header(header::CONTENT_TYPE, "application/scim+json")
            .body(Full::new(Bytes::from(what.to_string())))?;
        let answer = web::send(request).await?;
        ensure!(answer.status == status, "the directory was told {}", answer.json());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::{Measured, Tried};

    fn check(effects: &[u64], tried: &[(u64, bool)], (after, later, done): (u64, usize, usize)) {
        let tried: Vec<_> = tried
            .iter()
            .map(|(began, is_done)| Tried { began: *began, is_done: *is_done })
            .collect();
        let measured = Measured::of(effects, 100, &tried).expect("something was done");
        assert_eq!(measured, Measured { after, later, done });
    }

    #[test]
    fn what_comes_after_the_signal_is_counted() {
        check(&[90, 80], &[(95, true)], (0, 0, 0));
        check(&[90, 130, 120], &[(95, true), (101, false)], (30, 1, 0));
        check(&[90], &[(100, true), (101, true), (300, false)], (0, 2, 1));
        assert!(Measured::of(&[], 100, &[]).is_err());
    }
}
