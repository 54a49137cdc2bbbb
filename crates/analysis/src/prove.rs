//! Goes through all environments, a few at a time, and puts together what came of each claim.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Schema;
use cedar_policy_symcc::{disjoint_asserts, implies_asserts};
use futures::{StreamExt as _, stream};
use model::{AccessRequest, DELEGATIONS_MAX, Facts, Harm, PolicyId, Sha256Digest, ToolRef};
use pdp::{
    BUDGETS_FILE, Bundle, CANDIDATES_MAX, Environment, PosedAnswer, Provable, STRICTNESS_FILE,
    Snapshot,
};

use crate::claims::{Claim, stated};
use crate::compiled::{Guarded, Place, agents, guarded};
use crate::examples::{Chaining, Saying, Trial, denies, fails, permits};
use crate::report::{Assumptions, Counterexample, Mapping, Report, Shown, Unshown, Verdict, Why};
use crate::solver::{Session, Solver};

/// The most reasons that are kept for one claim.
const REASONS_MAX: usize = 20;

/// What is proved, of what.
pub struct Subject<'a> {
    /// The set.
    pub set: &'a Snapshot,
    /// Another one, compiled with the same tools, and whether both must permit the same. Where labels or schema are
    /// others, or budgets or strictness that may hold back less, nothing is proved of both.
    pub against: Option<(&'a Snapshot, bool)>,
    /// Properties, compiled with the same tools.
    pub properties: Option<&'a Snapshot>,
    /// What each tool can do.
    pub tools: &'a BTreeMap<ToolRef, BTreeSet<Harm>>,
    /// What else is said of each.
    pub mappings: BTreeMap<ToolRef, Mapping>,
    /// Says what is found as facts, so that it is decided.
    pub saying: &'a Saying<'a>,
    /// Says a chain as facts, so that each of its steps is decided.
    pub chaining: &'a Chaining<'a>,
}

/// Proves, or refutes, that no policy of the set can fail, that it permits no more than the other, and its
/// properties; tells `progress` how many environments of how many are done, `at_once` at a time.
///
/// # Errors
/// The set cannot be said to a solver at all.
pub async fn prove(
    subject: &Subject<'_>,
    solver: &Solver,
    at_once: usize,
    progress: impl Fn(usize, usize),
) -> Result<Report, String> {
    let set = subject.set.provable(subject.tools)?;
    let differ = subject.against.and_then(|(it, both)| differing(subject.set, (it, both)));
    let against = subject.against.filter(|_| differ.is_none());
    let against = against.map(|(it, _)| it.provable(subject.tools)).transpose()?;
    let properties = subject.properties.map(|it| it.provable(subject.tools)).transpose()?;
    let (schema, _) = Schema::from_cedarschema_str(&set.schema)
        .map_err(|error| format!("the schema of the set cannot be read: {error}"))?;
    let named = agents([Some(&set), against.as_ref(), properties.as_ref()].into_iter().flatten());
    let work = Work { subject, set, against, properties, schema, agents: named };
    let claims = work.claims();
    let total = work.set.environments.len();
    let mut done: Vec<_> = Vec::with_capacity(total);
    let looked = |position: usize| Box::pin(work.look(position, solver.session()));
    let mut looking = stream::iter(0..total).map(looked).buffered(at_once.max(1));
    while let Some(looked) = looking.next().await {
        done.push(looked);
        progress(done.len(), total);
    }
    drop(looking);
    let mut queries: u64 = done.iter().map(|(queries, _)| queries).sum();
    let mut found: Vec<_> = done.into_iter().flat_map(|(_, found)| found).collect();
    let chains = Box::pin(work.over_chains(&claims, (solver, at_once))).await;
    let mut over = BTreeMap::new();
    for it in chains {
        queries += it.queries;
        found.extend(it.found);
        over.insert(it.claim, it.chains);
    }
    let mut shown = together(claims, found, &work.set.environments);
    for (claim, shown) in shown.iter_mut().enumerate() {
        shown.chains = over.remove(&claim);
    }
    if let (Some(why), Some(claim)) = (differ, shown.get_mut(1)) {
        claim.verdict = everywhere(None, why);
    }
    let mut session = solver.session();
    Box::pin(work.look_for_matches(&mut shown, &mut session)).await;
    queries += session.queries;
    Ok(Report { shown, assumptions: work.assumptions(solver, queries) })
}

/// What of two sets is otherwise, beside their policies: then their answers to the same question say nothing about
/// what comes of the same act. Budgets and strictness only deny: where those of the set surely hold back as much as those
/// of the other, it permits no more by them.
fn differing(set: &Snapshot, (other, both): (&Snapshot, bool)) -> Option<Why> {
    let Bundle { policies: _, schema, labels, budgets, strictness, cases: _, tools } = set.bundle();
    let b = other.bundle();
    let tighter = if both { BTreeSet::new() } else { tighter(set, other) };
    let all = [
        ("schema parts", *schema != b.schema),
        ("labels", *labels != b.labels),
        ("budgets", *budgets != b.budgets && !tighter.contains(BUDGETS_FILE)),
        ("strictness", *strictness != b.strictness && !tighter.contains(STRICTNESS_FILE)),
        ("tools", *tools != b.tools),
    ];
    let all: Vec<_> = all.into_iter().filter(|(_, differ)| *differ).map(|(what, _)| what).collect();
    (!all.is_empty()).then(|| Why::Differs(all.join(" and ")))
}

/// The files of `set` that only deny, are others than those of `other`, and surely hold back as much.
fn tighter(set: &Snapshot, other: &Snapshot) -> BTreeSet<&'static str> {
    let (a, b) = (set.bundle(), other.bundle());
    let parts = pdp::parts(b, a);
    let differ =
        [(BUDGETS_FILE, a.budgets != b.budgets), (STRICTNESS_FILE, a.strictness != b.strictness)];
    let differ = differ.into_iter().filter_map(|(file, differs)| differs.then_some(file));
    differ.filter(|file| !parts.iter().any(|it| it.file == *file && it.widens)).collect()
}

/// That nothing is known of a claim, wherever one looks.
pub(crate) fn everywhere(policy: Option<PolicyId>, why: Why) -> Verdict {
    Verdict::NotProved { because: vec![Unshown { environment: None, policy, why }] }
}

/// What there is to be looked at, compiled once.
pub(crate) struct Work<'a> {
    pub(crate) subject: &'a Subject<'a>,
    pub(crate) set: Provable,
    against: Option<Provable>,
    pub(crate) properties: Option<Provable>,
    pub(crate) schema: Schema,
    /// The agents that policies and properties name.
    pub(crate) agents: BTreeSet<String>,
}

/// One environment, while it is looked at.
struct Looking<'w> {
    work: &'w Work<'w>,
    environment: &'w Environment,
    place: Place<'w>,
    session: Session<'w>,
    set: Vec<Guarded>,
}

/// What is known of one claim in one environment.
pub(crate) struct Found {
    pub(crate) environment: usize,
    /// Which claim, by its position.
    pub(crate) claim: usize,
    pub(crate) result: Result<(), Unproved>,
}

/// What is no proof, and of which policy.
pub(crate) enum Unproved {
    Refuted(Box<Counterexample>),
    /// With why no decision confirms it.
    Undecided(Box<Counterexample>, String),
    Unknown(Option<PolicyId>, Why),
}

impl From<Why> for Unproved {
    fn from(why: Why) -> Self {
        Self::Unknown(None, why)
    }
}

impl Work<'_> {
    fn claims(&self) -> Vec<Claim> {
        let against = self
            .subject
            .against
            .map(|(_, both)| if both { Claim::Equivalent } else { Claim::PermitsNoMore });
        let properties = self.properties.iter().flat_map(Claim::of);
        std::iter::once(Claim::NothingFails).chain(against).chain(properties).collect()
    }

    fn assumptions(&self, solver: &Solver, queries: u64) -> Assumptions {
        let all = self.set.environments.iter().flat_map(|it| &it.assumes);
        let guaranteed = all.filter(|it| !it.starts_with("resource")).cloned().collect();
        Assumptions {
            set: self.subject.set.digest(),
            content: self.subject.set.bundle().content(),
            against: self.subject.against.map(|(it, _)| it.digest()),
            against_content: self.subject.against.map(|(it, _)| it.bundle().content()),
            tighter: self
                .subject
                .against
                .map(|(it, _)| tighter(self.subject.set, it))
                .unwrap_or_default(),
            steps: DELEGATIONS_MAX,
            agents: self.agents.clone(),
            schema: Sha256Digest::of(self.set.schema.as_bytes()),
            tools: self.subject.tools.clone(),
            mappings: self.subject.mappings.clone(),
            guaranteed,
            environments: self.set.environments.len(),
            solver: solver.version().to_owned(),
            queries,
        }
    }

    /// What is known of each claim in one environment, and how many questions that took.
    async fn look(&self, position: usize, session: Session<'_>) -> (u64, Vec<Found>) {
        let environment = &self.set.environments[position];
        let known = |results: Vec<Result<(), Unproved>>| {
            let numbered = results.into_iter().enumerate();
            numbered.map(|(claim, result)| Found { environment: position, claim, result }).collect()
        };
        let place = Place::of(environment, &self.schema);
        let set = in_force(&self.set, environment);
        match (place, set) {
            (Ok(place), Ok(set)) => {
                let mut looking = Looking { work: self, environment, place, session, set };
                let results = Box::pin(looking.all(position)).await;
                (looking.session.queries, known(results))
            }
            (Err(why), _) | (_, Err(why)) => {
                // Chains are looked at by themselves, and their claims come last.
                let claims = self.claims();
                let alone = claims.iter().filter(|it| !matches!(it, Claim::NeverReaches { .. }));
                (0, known(alone.map(|_| Err(Unproved::from(why.clone()))).collect()))
            }
        }
    }
}

/// The policies of a set that have a say in an environment: none, if the act cannot be asked for.
pub(crate) fn in_force(set: &Provable, environment: &Environment) -> Result<Vec<Guarded>, Why> {
    match environment {
        Environment { is_callable: false, .. } => Ok(Vec::new()),
        Environment { is_crowded: true, .. } => Err(Why::Unsupported(format!(
            "more than {CANDIDATES_MAX} policies could match, and a decision looks at no more"
        ))),
        _ => guarded(set, environment),
    }
}

impl Looking<'_> {
    /// In the order of [`Work::claims`], without those over chains, which come last.
    async fn all(&mut self, position: usize) -> Vec<Result<(), Unproved>> {
        let nothing_fails = self.nothing_fails().await;
        let mut results = Vec::new();
        if let Some((snapshot, both)) = self.work.subject.against {
            results.push(match &self.work.against {
                Some(set) => self.against(snapshot, &set.environments[position], both).await,
                // It is not looked at, and that is told.
                None => Ok(()),
            });
        }
        if let Some(properties) = &self.work.properties {
            let environment = &properties.environments[position];
            for (number, property) in stated(properties) {
                // One whose scope cannot match says nothing here.
                if !environment.policies.contains(&number) {
                    results.push(Ok(()));
                    continue;
                }
                let alone = Environment { policies: vec![number], ..environment.clone() };
                let fails = nothing_fails.as_ref().err();
                let of_one = |it: &Guarded| it.of_one(&self.work.agents);
                let property_alone = guarded(properties, &alone)
                    .and_then(|all| all.iter().map(of_one).collect::<Result<Vec<_>, _>>());
                results.push(match property_alone {
                    Ok(it) if property.is_permit => self.always(&it, fails).await,
                    Ok(it) => self.never(&it).await,
                    Err(why) => Err(why.into()),
                });
            }
        }
        results.insert(0, nothing_fails);
        results
    }

    async fn nothing_fails(&mut self) -> Result<(), Unproved> {
        let mut unknown = None;
        for policy in self.set.clone() {
            match self.place.failing(&policy, &mut self.session).await {
                Ok(None) => {}
                Ok(Some(found)) => {
                    let trial = Trial::of(self.environment, &found)?;
                    let answer = trial.by(self.work.subject.set)?;
                    let is = answer.errors.contains(&policy.id);
                    let deciding = |request: &AccessRequest, facts: &Facts| {
                        fails(self.work.subject.set, &policy.id, (request, facts))
                    };
                    let saying = self.work.subject.saying;
                    let PosedAnswer { is_permitted, errors, .. } = answer;
                    match trial.confirmed(is, is_permitted, errors, (saying, &deciding)) {
                        Unproved::Unknown(_, why) => {
                            unknown = Some(Unproved::Unknown(Some(policy.id), why));
                        }
                        refuted @ Unproved::Refuted(_) => return Err(refuted),
                        undecided @ Unproved::Undecided(..) => unknown = Some(undecided),
                    }
                }
                Err(why) => unknown = Some(Unproved::Unknown(Some(policy.id), why)),
            }
        }
        unknown.map_or(Ok(()), Err)
    }

    async fn against(
        &mut self,
        snapshot: &Snapshot,
        environment: &Environment,
        both: bool,
    ) -> Result<(), Unproved> {
        let Some(other) = &self.work.against else { return Ok(()) };
        let (mine, other) = (self.set.clone(), in_force(other, environment)?);
        let set = self.work.subject.set;
        self.no_more((set, &mine), (snapshot, &other)).await?;
        if both { self.no_more((snapshot, &other), (set, &mine)).await } else { Ok(()) }
    }

    /// Whether `less` permits nothing that `more` does not.
    ///
    /// What both have is left out first, as far as that is sound: a forbid of both denies on both sides, and
    /// what a permit of both permits, `more` permits too unless it has a forbid that `less` has not.
    async fn no_more(
        &mut self,
        less: (&Snapshot, &[Guarded]),
        more: (&Snapshot, &[Guarded]),
    ) -> Result<(), Unproved> {
        let forms = |side: &[Guarded]| -> BTreeSet<String> {
            side.iter().map(|policy| policy.form.clone()).collect()
        };
        let (in_less, in_more) = (forms(less.1), forms(more.1));
        let own: Vec<_> = more.1.iter().filter(|it| !in_less.contains(&it.form)).collect();
        let forbids = own.iter().any(|policy| !policy.is_permit);
        let keep = |other: &BTreeSet<String>, policy: &Guarded| {
            !other.contains(&policy.form) || (policy.is_permit && forbids)
        };
        let changed = |side: &[Guarded], other: &BTreeSet<String>| -> Vec<Guarded> {
            side.iter().filter(|policy| keep(other, policy)).cloned().collect()
        };
        let change = (changed(less.1, &in_more), changed(more.1, &in_less));
        let first = self.implied((less.0, &change.0), (more.0, &change.1)).await;
        let is_whole = change.0.len() == less.1.len() && change.1.len() == more.1.len();
        match first {
            Err(Unproved::Unknown(..)) if !is_whole => self.implied(less, more).await?,
            other => other?,
        }
        // One that cannot be evaluated denies, and so does one that looks at what has no exact value. What
        // `less` has too it denies by as well.
        for policy in own {
            let asked = less.1.iter().filter(|it| it.is_asked_with(policy)).map(|it| &it.reads);
            if let Some(argument) = policy.reads.beyond(asked) {
                return Err(Why::Unread(argument.to_owned(), policy.id.clone()).into());
            }
            self.place.never_fails(policy, &mut self.session).await?;
        }
        Ok(())
    }

    /// Whether what the one side permits the other does, but for policies that cannot be evaluated.
    async fn implied(
        &mut self,
        less: (&Snapshot, &[Guarded]),
        more: (&Snapshot, &[Guarded]),
    ) -> Result<(), Unproved> {
        let (left, right) = (self.place.compile_set(less.1)?, self.place.compile_set(more.1)?);
        let Some(found) = self.session.example(&implies_asserts(&left, &right)).await? else {
            return Ok(());
        };
        let trial = Trial::of(self.environment, &found)?;
        let (by_less, by_more) = (trial.by(less.0)?, trial.by(more.0)?);
        let is = by_less.is_permitted && !by_more.is_permitted;
        // What is told is what the set in question answers, whichever of both that is.
        let is_set = std::ptr::eq(less.0, self.work.subject.set);
        let deciding = |request: &AccessRequest, facts: &Facts| {
            permits(less.0, (request, facts))?;
            denies(more.0, (request, facts))
        };
        let saying = self.work.subject.saying;
        Err(trial.confirmed(is, is_set, by_less.permits, (saying, &deciding)))
    }

    async fn never(&mut self, property: &[Guarded]) -> Result<(), Unproved> {
        let matched: Vec<_> = property.iter().map(Guarded::as_permit).collect::<Result<_, _>>()?;
        let (left, right) = (self.place.compile_set(&self.set)?, self.place.compile_set(&matched)?);
        let Some(found) = self.session.example(&disjoint_asserts(&left, &right)).await? else {
            return self.matches_or_not(property).await;
        };
        self.tried(&found, property, true)
    }

    /// That the property matches an act or does not. One on which it cannot be evaluated it does not match, and so says
    /// nothing of, whatever it was meant to say.
    async fn matches_or_not(&mut self, property: &[Guarded]) -> Result<(), Unproved> {
        for policy in property {
            self.place.never_fails(policy, &mut self.session).await?;
        }
        Ok(())
    }

    /// Whether all that the property matches is permitted; `fails` if something may fail here.
    async fn always(
        &mut self,
        property: &[Guarded],
        fails: Option<&Unproved>,
    ) -> Result<(), Unproved> {
        let (left, right) = (self.place.compile_set(property)?, self.place.compile_set(&self.set)?);
        match self.session.example(&implies_asserts(&left, &right)).await? {
            Some(found) => self.tried(&found, property, false),
            None => match fails {
                None => self.matches_or_not(property).await,
                Some(Unproved::Refuted(example) | Unproved::Undecided(example, _)) => {
                    let first = example.by.iter().next().cloned();
                    Err(first.map_or(Why::TooLong, Why::MayFail).into())
                }
                Some(Unproved::Unknown(policy, why)) => {
                    Err(Unproved::Unknown(policy.clone(), why.clone()))
                }
            },
        }
    }

    /// A counterexample, if the property matches it and the set answers so.
    fn tried(
        &self,
        found: &cedar_policy_symcc::Env,
        property: &[Guarded],
        is_permitted: bool,
    ) -> Result<(), Unproved> {
        let trial = Trial::of(self.environment, found)?;
        let Subject { set, properties, saying, .. } = *self.work.subject;
        let Some(properties) = properties else { return Ok(()) };
        let answer = trial.by(set)?;
        let matches = |said: &PosedAnswer| {
            property.iter().all(|it| said.permits.contains(&it.id) || said.forbids.contains(&it.id))
        };
        let is = matches(&trial.by(properties)?) && answer.is_permitted == is_permitted;
        let by = if is_permitted { &answer.permits } else { &answer.forbids };
        let by = by.union(&answer.errors).cloned().collect();
        let deciding = |request: &AccessRequest, facts: &Facts| {
            let asked = (request, facts);
            let decided = if is_permitted { permits(set, asked) } else { denies(set, asked) };
            decided?;
            let said = properties.say(request, facts).map_err(|denial| denial.to_string())?;
            let why = "no case says what the property is about";
            matches(&said).then_some(()).ok_or_else(|| why.to_owned())
        };
        Err(trial.confirmed(is, is_permitted, by, (saying, &deciding)))
    }
}

/// Each claim with what came of it everywhere: refuted if it is anywhere, proved only if it is everywhere. What a
/// decision confirms comes before what none does.
fn together(claims: Vec<Claim>, found: Vec<Found>, environments: &[Environment]) -> Vec<Shown> {
    let mut unknown: Vec<Vec<Unshown>> = vec![Vec::new(); claims.len()];
    let mut refuted: Vec<Option<Box<Counterexample>>> = vec![None; claims.len()];
    let mut undecided: Vec<Option<(Box<Counterexample>, String)>> = vec![None; claims.len()];
    for Found { environment, claim, result } in found {
        match result {
            Ok(()) => {}
            Err(Unproved::Refuted(example)) => {
                refuted[claim].get_or_insert(example);
            }
            Err(Unproved::Undecided(example, why)) => {
                undecided[claim].get_or_insert((example, why));
            }
            Err(Unproved::Unknown(policy, why)) => {
                let environment = Some(environments[environment].clone());
                unknown[claim].push(Unshown { environment, policy, why });
            }
        }
    }
    let each = claims.into_iter().zip(unknown).zip(refuted.into_iter().zip(undecided));
    each.map(|((claim, mut because), found)| {
        let unknown = because.len();
        because.truncate(REASONS_MAX);
        let verdict = match found {
            (Some(example), _) => Verdict::Counterexample(example),
            (None, Some((example, why))) => Verdict::Unconfirmed { example, why },
            (None, None) if unknown == 0 => Verdict::Proved,
            (None, None) => Verdict::NotProved { because },
        };
        Shown { claim, verdict, environments: environments.len(), unknown, chains: None }
    })
    .collect()
}
