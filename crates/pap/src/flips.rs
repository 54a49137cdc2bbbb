//! What another policy set would have answered: every recorded decision on an act is made again by it, and
//! what flips is told before it is in force.
//!
//! Each is decided with the tools as they were pinned then, on the facts and with the built-in rules that
//! it was decided by; only the policies and schema parts are others. What is left of budgets is what would have
//! been left, had the set come into force then; what did not happen then was given back by its permit, and is by the
//! other set's. What other state that the commit checks denied (a limit that was
//! reached) is denied by any set; a token that was used up only by one that wants a token of its own there, and which
//! others had been used before nobody took note of.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use authority::SharedCompiler;
use model::record::Verdict;
use model::{
    AccessRequest, Decision, DecisionId, Denial, Facts, PolicyDigest, PrincipalFacts, Timestamp,
};
use pdp::{
    BUDGETS_FILE, Before, Budgets, Bundle, CompileErrors, LABELS_FILE, STRICTNESS_FILE, Snapshot,
};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};
use crate::owed;
use crate::recall::{Question, Recall, Recorded};
use crate::used_up::{Unknown, UsedUp};

/// The most records of one page.
const PAGE: usize = 2_000;

/// The most kinds of flips that one page tells of.
const KINDS_MAX: usize = 1_000;

/// The flips that permit more than before, or for less.
const WIDENS: [&str; 2] = ["newly_permitted", "owes_less"];

/// A policy set, but for the tools that it is compiled with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyFiles {
    /// The policies (Cedar), by file name.
    pub policies: BTreeMap<String, String>,
    /// Schema parts (Cedar schema syntax), by file name.
    #[serde(default)]
    pub schema: BTreeMap<String, String>,
    /// What results carry and where data goes (`labels.yaml`), if it is said.
    #[serde(default)]
    pub labels: Option<String>,
    /// How much may be used up, and by whom (`budgets.yaml`), if it is said.
    #[serde(default)]
    pub budgets: Option<String>,
    /// How strict it is beyond what it permits (`strictness.yaml`), if that is said.
    #[serde(default)]
    pub strictness: Option<String>,
    /// What it must answer (`cases/*.yaml`), and of which tools (`tools.yaml`), by the paths of the files in the set:
    /// they decide nothing.
    #[serde(default)]
    pub cases: BTreeMap<String, String>,
}

impl PolicyFiles {
    /// The set of these files, by name: policies, and what is said beside them. It has neither schema parts nor cases.
    pub fn of(mut policies: BTreeMap<String, String>) -> Self {
        let (labels, budgets) = (policies.remove(LABELS_FILE), policies.remove(BUDGETS_FILE));
        let strictness = policies.remove(STRICTNESS_FILE);
        Self { policies, labels, budgets, strictness, ..Self::default() }
    }

    /// What decides in it beside its policies, by file name.
    pub fn beside_policies(&self) -> BTreeMap<String, String> {
        let Self { policies: _, schema, labels, budgets, strictness, cases: _ } = self;
        let said = [(LABELS_FILE, labels), (BUDGETS_FILE, budgets), (STRICTNESS_FILE, strictness)];
        let said =
            said.into_iter().filter_map(|(name, text)| Some((name.to_owned(), text.clone()?)));
        schema.clone().into_iter().chain(said).collect()
    }
}

impl From<PolicyFiles> for Bundle {
    /// The set without tools: what a release names by its digest.
    fn from(files: PolicyFiles) -> Self {
        let PolicyFiles { policies, schema, labels, budgets, strictness, cases } = files;
        Self { policies, schema, labels, budgets, strictness, cases, ..Self::default() }
    }
}

impl From<Bundle> for PolicyFiles {
    fn from(bundle: Bundle) -> Self {
        let Bundle { policies, schema, labels, budgets, strictness, cases, tools: _ } = bundle;
        Self { policies, schema, labels, budgets, strictness, cases }
    }
}

/// The most sets of tools with which the set that is tried is kept.
const SNAPSHOTS_MAX: usize = 8;

/// The most sets that are tried at once.
const TRYING_MAX: usize = 4;

/// The sets that were tried last, each as far as it was.
#[derive(Default)]
pub(crate) struct Trying(Vec<Tried>);

/// A set that is tried, with the sets of tools that were met last: pages follow one another.
#[derive(Default)]
pub(crate) struct Tried {
    files: PolicyFiles,
    compiler: SharedCompiler,
    snapshots: HashMap<PolicyDigest, Arc<Snapshot>>,
    recall: Recall,
    budgets: Budgets,
    used: UsedUp,
    /// Since when it is in force, as far as its pages say.
    since: Option<Timestamp>,
    /// Where its next page begins.
    next: u64,
}

/// Decisions that flip alike.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
struct Kind {
    /// `newly_denied` or `newly_permitted`; of what is permitted as before, `owes_more` or `owes_less`.
    flip: &'static str,
    /// Who asked for an act of administration: a person, or a directory.
    administrator: Option<String>,
    /// Who acts; of administration, the agent that it is done to.
    agent: Option<String>,
    sponsor: Option<String>,
    action: String,
    resource: String,
    /// The rule or the policies that answer now, or what is owed.
    by: String,
}

#[derive(Default)]
struct Page {
    decided: u64,
    same: u64,
    erased: u64,
    /// Decisions that could not be made again, with the reasons of some.
    damaged: u64,
    /// Decisions that hang on what nobody took note of, such as which tools were called before.
    unknown: u64,
    /// Decisions that hang on whether the token had been used before: the set wants one of its own there.
    needs_token: u64,
    flips: BTreeMap<Kind, (u64, String)>,
    /// Decisions that flip, of kinds beyond those that are told.
    more: u64,
    /// Those of them that permit more than before, or for less.
    more_widen: u64,
}

impl Administration {
    /// Decides the acts that are recorded from index `from` on again by `files`, those at or after `since`; a page,
    /// with where the next one begins.
    pub(crate) async fn try_policy(
        &self,
        files: PolicyFiles,
        (from, since): (u64, Option<Timestamp>),
    ) -> Result<Value, AdminError> {
        let mut trying = self.trying.lock().await;
        let mut tried = trying.take(files, (from, since))?;
        let page = self.try_page(&mut tried, from).await?;
        trying.keep(tried, page["next"].as_u64());
        Ok(page)
    }

    async fn try_page(&self, tried: &mut Tried, from: u64) -> Result<Value, AdminError> {
        let mut decisions = self.decisions(from, PAGE).await?;
        let mut page = Page::default();
        while let Some((recorded, question)) =
            self.recalled(&mut decisions, &mut tried.recall).await?
        {
            tried.gave_back(&mut decisions.given_back);
            let is_asked = tried.is_asked(&recorded);
            let is_any_set = recorded.is_by_commit() && recorded.before() != Before::TokenUsed;
            if is_any_set || !(is_asked || tried.counts(&recorded)) {
                continue;
            }
            let mut known = match question {
                Question::Known(known) => known,
                Question::Erased => {
                    page.erased += u64::from(is_asked);
                    continue;
                }
                Question::Damaged(_) => {
                    page.damaged += u64::from(is_asked);
                    continue;
                }
            };
            let Some(then) = self.snapshot(recorded.policy, &mut tried.recall).await? else {
                page.damaged += u64::from(is_asked);
                continue;
            };
            // It says what was used up then, where that was too much.
            known.1.session.used.clear();
            let (request, facts) = known.as_ref();
            if !is_asked {
                if let Decision::Permit(grant) = then.decide(request, facts) {
                    tried.used.uses(recorded.id, &grant);
                }
                continue;
            }
            let now = tried.with_tools_of(&then).await?;
            match tried.answer((&now, &then), &recorded, (request, facts)) {
                Ok(decision) => {
                    let otherwise = owed::otherwise(&recorded, &decision, (&now, &then), request);
                    page.note((&recorded, otherwise), &decision, (request, facts));
                }
                Err(Unknown::Unnoted) => page.unknown += 1,
                Err(Unknown::Token) => page.needs_token += 1,
            }
        }
        tried.gave_back(&mut decisions.given_back);
        // A page that is not full is the last: that it was asked for is itself a record.
        let next = (decisions.records == PAGE).then(|| from + PAGE as u64);
        Ok(page.told(next))
    }
}

impl Trying {
    /// What was tried of the set `files` before the page from index `from` on, which is no longer here until it is
    /// put back.
    fn take(
        &mut self,
        files: PolicyFiles,
        (from, since): (u64, Option<Timestamp>),
    ) -> Result<Tried, AdminError> {
        // What is left of budgets follows from all pages before, and from nothing if there are none.
        let goes_on = |it: &Tried| {
            let is_next = it.next == from && it.since == since;
            it.files == files && (is_next || it.budgets.is_empty())
        };
        let known = self.0.iter().position(goes_on).map(|at| self.0.remove(at));
        let mut tried = match known {
            Some(known) => known,
            None => Tried::of(files)?,
        };
        if from > 0 && tried.next != from && !tried.budgets.is_empty() {
            let why = format!("a replay of this set that goes on at {from}: begin anew");
            return Err(AdminError::Missing(why));
        }
        tried.since = since;
        Ok(tried)
    }

    /// Keeps what goes on at `next`, if it does, and nothing that was disclosed: it may be erased before it is asked
    /// for again.
    fn keep(&mut self, mut tried: Tried, next: Option<u64>) {
        let Some(next) = next else { return };
        tried.recall.forget_disclosed();
        tried.next = next;
        if self.0.len() == TRYING_MAX {
            self.0.remove(0);
        }
        self.0.push(tried);
    }
}

impl Tried {
    fn of(files: PolicyFiles) -> Result<Self, AdminError> {
        let budgets = Budgets::of(&files.clone().into()).map_err(|it| not_compiled(&it))?;
        Ok(Self { files, budgets, ..Self::default() })
    }

    /// Takes note that these permits gave back what they took.
    fn gave_back(&mut self, permits: &mut Vec<DecisionId>) {
        permits.drain(..).for_each(|permit| self.used.gave_back(&permit));
    }

    /// What the set, compiled as `now`, answers to an act to which `then` answered as it is `recorded`; what that uses
    /// up, or may use up, is used up from then on.
    fn answer(
        &mut self,
        (now, then): (&Snapshot, &Snapshot),
        recorded: &Recorded,
        (request, facts): (&AccessRequest, &Facts),
    ) -> Result<Decision, Unknown> {
        let decision = if now.looks_beyond(then, request, facts) {
            Err(Unknown::Unnoted)
        } else {
            let decision = now.decide(request, facts);
            let before = recorded.before();
            let settled = now.strictness().settled(decision, (then.strictness(), before));
            settled.ok_or(Unknown::Token)
        };
        if decision.is_err() {
            self.used.doubt(now.budgets().counters_of(request, facts));
        }
        self.used.counted(recorded.id, decision?)
    }

    /// Whether it is asked of the decision.
    fn is_asked(&self, recorded: &Recorded) -> bool {
        self.since.is_none_or(|since| recorded.time >= since)
    }

    /// Whether what was permitted before it is asked is still used up when it is.
    fn counts(&self, recorded: &Recorded) -> bool {
        let is_used_up = |since| recorded.time >= self.budgets.used_up_since(since);
        recorded.verdict == Verdict::Permit && self.since.is_some_and(is_used_up)
    }

    /// The set with the tools of `then`.
    async fn with_tools_of(&mut self, then: &Snapshot) -> Result<Arc<Snapshot>, AdminError> {
        if let Some(known) = self.snapshots.get(&then.digest()) {
            return Ok(known.clone());
        }
        let tools = then.bundle().tools.clone();
        let bundle = Bundle { tools, ..self.files.clone().into() };
        let snapshot = self.compiler.compile(bundle).await;
        let snapshot = snapshot.map_err(|errors| not_compiled(&errors))?;
        if let Some(gap) = snapshot.gap() {
            return Err(AdminError::Invalid(gap.to_string()));
        }
        if self.snapshots.len() == SNAPSHOTS_MAX {
            self.snapshots.clear();
        }
        self.snapshots.insert(then.digest(), snapshot.clone());
        Ok(snapshot)
    }
}

fn not_compiled(errors: &CompileErrors) -> AdminError {
    AdminError::Invalid(format!("the policy set does not compile:\n{errors}"))
}

impl Recorded {
    /// What was answered, as far as that tells of the token.
    pub(crate) fn before(&self) -> Before {
        match self.verdict {
            Verdict::Permit => Before::Permitted { uses_token: self.is_of_token },
            Verdict::Deny if self.reason == Denial::TokenUsed.code() => Before::TokenUsed,
            Verdict::Deny => Before::Denied,
        }
    }
}

impl Page {
    fn note(
        &mut self,
        (recorded, otherwise): (&Recorded, Option<(&'static str, String)>),
        now: &Decision,
        (request, facts): (&AccessRequest, &Facts),
    ) {
        self.decided += 1;
        let (flip, by) = match (recorded.verdict, now, otherwise) {
            (Verdict::Permit, Decision::Deny(denial), _) => ("newly_denied", denial.to_string()),
            (Verdict::Deny, Decision::Permit(grant), _) => {
                let by = grant.basis.iter().map(ToString::to_string).collect::<Vec<_>>();
                ("newly_permitted", by.join(", "))
            }
            (Verdict::Permit, Decision::Permit(_), Some(otherwise)) => otherwise,
            (Verdict::Permit, Decision::Permit(_), None)
            | (Verdict::Deny, Decision::Deny(_), _) => {
                self.same += 1;
                return;
            }
        };
        let concerned = facts.agent.as_ref().map(|it| (&it.agent, &it.sponsor));
        let (administrator, concerned) = match &facts.principal {
            PrincipalFacts::Instance(standing) => {
                (None, Some((&standing.agent, &standing.sponsor)))
            }
            PrincipalFacts::Administrator(person) => (Some(person.id.to_string()), concerned),
            PrincipalFacts::Directory(directory, _) => {
                (Some(format!("directory {}", directory.name)), concerned)
            }
        };
        let agent = concerned.map(|(agent, _)| agent.name.to_string());
        let sponsor = concerned.map(|(_, sponsor)| sponsor.id.to_string());
        let (action, resource) =
            (request.action.to_string(), authority::resource_text(&request.resource));
        let kind = Kind { flip, administrator, agent, sponsor, action, resource, by };
        self.count(kind, recorded.id.to_string());
    }

    fn count(&mut self, kind: Kind, example: String) {
        if self.flips.len() < KINDS_MAX || self.flips.contains_key(&kind) {
            let (times, _) = self.flips.entry(kind).or_insert((0, example));
            *times += 1;
        } else {
            self.more += 1;
            self.more_widen += u64::from(WIDENS.contains(&kind.flip));
        }
    }

    fn told(self, next: Option<u64>) -> Value {
        let flips = self.flips.into_iter().map(
            |(kind, (times, example))| json!({ "kind": kind, "times": times, "example": example }),
        );
        json!({
            "decided": self.decided,
            "same": self.same,
            "erased": self.erased,
            "damaged": self.damaged,
            "unknown": self.unknown,
            "needs_token": self.needs_token,
            "flips": flips.collect::<Vec<_>>(),
            "more": self.more,
            "more_widen": self.more_widen,
            "next": next,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is left of budgets follows from the pages before, so no page is told that follows from others.
    #[test]
    fn a_page_goes_on_where_the_last_one_ended_or_not_at_all() {
        let of = |budgets: Option<&str>| PolicyFiles {
            budgets: budgets.map(str::to_owned),
            ..PolicyFiles::default()
        };
        let budgets =
            "budgets: { b: { description: x, match: {}, amount: calls, cap: 1, per: task } }";
        let (counting, other) = (of(Some(budgets)), of(None));
        let mut trying = Trying::default();
        let mut page = |files: &PolicyFiles, at: (u64, Option<Timestamp>), next: u64| {
            let tried = trying.take(files.clone(), at)?;
            // The last one tells of none.
            trying.keep(tried, Some(next).filter(|next| *next != 0));
            Ok::<_, AdminError>(trying.0.len())
        };
        let since = Some(Timestamp::from_seconds(1));
        assert!(page(&counting, (10, None), 20).is_err(), "it was not begun");
        assert_eq!(page(&counting, (0, None), 10).ok(), Some(1));
        // Somebody else begins, with the same set and with another one.
        assert_eq!(page(&counting, (0, since), 10).ok(), Some(2));
        assert_eq!(page(&other, (10, None), 20).ok(), Some(3));
        assert_eq!(page(&other, (0, None), 20).ok(), Some(3));
        assert!(page(&counting, (20, None), 30).is_err(), "one page is missing");
        assert_eq!(page(&counting, (10, None), 20).ok(), Some(3));
        assert!(page(&counting, (20, since), 30).is_err(), "it is asked since when it began");
        // What is done is kept no longer, and is begun anew.
        assert_eq!(page(&counting, (10, since), 0).ok(), Some(2));
        assert_eq!(page(&counting, (20, None), 0).ok(), Some(1));
        assert!(page(&counting, (20, None), 30).is_err(), "it is done");
        assert_eq!(page(&other, (20, None), 0).ok(), Some(0));
        for _ in 0..=TRYING_MAX {
            page(&counting, (0, None), 10).expect("there is room for who begins");
        }
        assert_eq!(trying.0.len(), TRYING_MAX);
    }

    /// No flip vanishes: those of kinds that are not told are counted.
    #[test]
    fn flips_of_kinds_beyond_those_that_are_told_are_counted() {
        let kind = |at: usize| Kind {
            flip: if at == KINDS_MAX { "newly_permitted" } else { "newly_denied" },
            administrator: None,
            agent: None,
            sponsor: None,
            action: "crm/lookup".to_owned(),
            resource: format!("Tool::crm/{at}"),
            by: "it is forbidden".to_owned(),
        };
        let mut page = Page::default();
        for at in (0..KINDS_MAX + 2).chain([0]) {
            page.count(kind(at), format!("dec_{at}"));
        }
        let told = page.told(None);
        assert_eq!(told["flips"].as_array().map(Vec::len), Some(KINDS_MAX));
        assert_eq!((&told["flips"][0]["times"], &told["more"]), (&json!(2), &json!(2)));
        assert_eq!(told["more_widen"], 1, "one of them is permitted");
    }
}
