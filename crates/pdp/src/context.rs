//! The circumstances of a request as a Cedar context.

use std::collections::BTreeSet;

use cedar_policy::{Context, RestrictedExpression};
use model::{
    Agent, Elevation, Facts, PrincipalFacts, Provenance, Provisioning, Purpose, RiskLevel,
    Standing, Succession, Timestamp, ToolRef,
};

use crate::entities::{person_named, person_uid};
use crate::snapshot::Compiled;

/// The attribute that holds the tools that a session has used.
pub(crate) const USED_TOOLS: &str = "used_tools";

/// The attribute that holds how often a session called tools.
pub(crate) const COUNTERS: &str = "counters";

/// The attribute that says where arguments come from.
pub(crate) const PROVENANCE: &str = "provenance";

/// The attribute that says whether an act is done to what the work is not for.
pub(crate) const OUTSIDE_PURPOSE: &str = "outside_purpose";

/// The counter of all calls.
const CALLS: &str = "calls";

/// What the policies to be asked look at: the attributes that they name, of context and entities alike, and whether
/// they ask what lies within what.
///
/// What none of them looks at, none can see (`context` as a whole is refused when a set is compiled, and
/// scopes are not evaluated), so it is not built: most of a decision's time would go there.
pub(crate) enum AskedFor<'a> {
    /// All of it.
    Everything,
    /// What some policies look at.
    Only {
        /// The attributes that they name.
        names: BTreeSet<&'a str>,
        /// Whether they ask what lies within what.
        within: bool,
    },
}

impl<'a> AskedFor<'a> {
    /// What `policies` look at.
    pub(crate) fn by(policies: &[&'a Compiled]) -> Self {
        let names = policies.iter().copied().flat_map(|policy| &policy.attributes);
        let within = policies.iter().any(|policy| policy.asks_within);
        Self::Only { names: names.map(String::as_str).collect(), within }
    }

    /// Whether they name this attribute.
    pub(crate) fn has(&self, name: &str) -> bool {
        match self {
            Self::Everything => true,
            Self::Only { names, .. } => names.contains(name),
        }
    }

    /// Whether they ask what lies within what.
    pub(crate) const fn within(&self) -> bool {
        match self {
            Self::Everything => true,
            Self::Only { within, .. } => *within,
        }
    }
}

/// What is said of the arguments.
pub(crate) struct Given<'a> {
    pub(crate) input: RestrictedExpression,
    /// Those that have no exact value.
    pub(crate) unread: &'a BTreeSet<String>,
    /// Where they come from, if that is not what the facts say.
    pub(crate) provenance: Option<RestrictedExpression>,
    /// Whether what they name is outside of what the work is for.
    pub(crate) outside: bool,
}

/// The context of one question, which may rest on an elevation, if all of it can be said exactly: with the
/// counters of the tools that are `counted`.
pub(crate) fn of(
    (facts, elevation): (&Facts, Option<&Elevation>),
    Given { input, unread, provenance, outside }: Given<'_>,
    (counted, asked): (&BTreeSet<ToolRef>, &AskedFor<'_>),
) -> Option<Context> {
    let mut members = Members { pairs: Vec::with_capacity(16), asked };
    members.add("input", || Some(input));
    members.add("now", || Some(datetime(facts.now)));
    members.add("weekday", || Some(text(facts.now.weekday())));
    match &facts.principal {
        PrincipalFacts::Instance(standing) => {
            members.circumstances(standing, (facts, counted));
            members.add("ends", || ends(&standing.purpose, outside));
            let said = || where_from(&facts.session.provenance);
            members.add(PROVENANCE, || provenance.or_else(said));
            if let Some(elevation) = elevation {
                members.add("elevation", || Some(text(elevation.name.as_str())));
            }
            members.add("unread", || Some(texts(unread)));
        }
        PrincipalFacts::Directory(_, provisioning) => members.provisioning(provisioning),
        PrincipalFacts::Administrator(_) => {
            let known = facts.agent.as_deref();
            let succession = known.and_then(|known| Some((known, known.succession.as_ref()?)));
            if let Some((known, succession)) = succession {
                members.succession(&known.agent, succession);
            }
        }
    }
    let pairs: Option<Vec<_>> = members.pairs.into_iter().collect();
    Context::from_pairs(pairs?).ok()
}

/// The members of a context that is being made; one that cannot be said is `None`.
struct Members<'a> {
    pairs: Vec<Option<(String, RestrictedExpression)>>,
    asked: &'a AskedFor<'a>,
}

impl Members<'_> {
    fn add(&mut self, name: &str, value: impl FnOnce() -> Option<RestrictedExpression>) {
        if self.asked.has(name) {
            self.pairs.push(value().map(|value| (name.to_owned(), value)));
        }
    }

    fn provisioning(&mut self, provisioning: &Provisioning) {
        let Provisioning { person, gives, joins, unit, manager, login, purpose } = provisioning;
        self.add("gives", || Some(text(gives.as_str())));
        if let (Some(purpose), Some(sponsor)) = (purpose, person) {
            self.add("purpose", || Some(text(purpose.as_str())));
            let sponsor = || RestrictedExpression::new_entity_uid(person_uid(sponsor));
            return self.add("sponsor", || Some(sponsor()));
        }
        self.add("joins", || {
            let joins = joins.iter().map(|group| text(group.as_str()));
            Some(RestrictedExpression::new_set(joins))
        });
        self.add("login", || Some(RestrictedExpression::new_bool(*login)));
        if let Some(unit) = unit {
            self.add("unit", || Some(text(unit.as_str())));
        }
        if let Some(manager) = manager {
            self.add("manager", || Some(text(manager.as_str())));
        }
    }

    fn succession(&mut self, agent: &Agent, Succession { line, unit }: &Succession) {
        let named = |id| RestrictedExpression::new_entity_uid(person_named(id));
        self.add("line", || Some(RestrictedExpression::new_set(line.iter().map(named))));
        let backups = agent.backups.iter();
        self.add("backup", || Some(RestrictedExpression::new_set(backups.map(named))));
        if let Some(unit) = unit {
            self.add("unit", || Some(text(unit.as_str())));
        }
    }

    fn circumstances(
        &mut self,
        standing: &Standing,
        (facts, counted): (&Facts, &BTreeSet<ToolRef>),
    ) {
        let entity = |person| Some(RestrictedExpression::new_entity_uid(person_uid(person)));
        if let Some(subject) = &standing.subject {
            self.add("subject", || entity(subject));
        }
        self.add("sponsor", || entity(&standing.sponsor));
        self.add("purpose", || Some(text(standing.purpose.id.as_str())));
        self.add("task", || {
            let id = text(&standing.task.id.to_string());
            record([("id", id), ("deadline", datetime(standing.task.deadline))])
        });
        self.add("depth", || {
            let depth = i64::try_from(standing.delegators.len()).ok()?;
            Some(RestrictedExpression::new_long(depth))
        });
        self.add("session", || session(facts, counted));
        self.add("attestation", || Some(text(standing.attestation().as_str())));
        self.add("binding", || Some(text(facts.binding.as_str())));
        self.add("confirmed", || {
            Some(RestrictedExpression::new_bool(standing.is_confirmed(facts.now)))
        });
        self.add("shared_workload", || {
            Some(RestrictedExpression::new_bool(!standing.sharing.is_empty()))
        });
        self.add("risk", || Some(text(standing.risk(facts.now).map_or("none", RiskLevel::as_str))));
    }
}

/// What the purpose says of data, and whether the act is outside of that.
fn ends(purpose: &Purpose, outside: bool) -> Option<RestrictedExpression> {
    let objects = purpose.scope.objects.iter().flatten().map(ToString::to_string).collect();
    let categories = purpose.data.iter().map(ToString::to_string).collect();
    record([
        ("any_object", RestrictedExpression::new_bool(purpose.scope.objects.is_none())),
        ("objects", texts(&objects)),
        ("any_category", RestrictedExpression::new_bool(purpose.data.is_empty())),
        ("categories", texts(&categories)),
        (OUTSIDE_PURPOSE, RestrictedExpression::new_bool(outside)),
    ])
}

fn session(facts: &Facts, counted: &BTreeSet<ToolRef>) -> Option<RestrictedExpression> {
    // What was never counted was never called since somebody looks.
    let names = counted.iter().map(ToString::to_string).chain([CALLS.to_owned()]);
    let counters = names.map(|name| {
        let count = facts.session.counters.get(&name).copied().unwrap_or(0);
        (name, RestrictedExpression::new_long(count))
    });
    let counters = RestrictedExpression::new_record(counters).ok()?;
    let labels = facts.session.labels.iter().map(|label| text(label.as_str()));
    let used = facts.session.used_tools.iter().map(|tool| text(&tool.to_string()));
    record([
        ("labels", RestrictedExpression::new_set(labels)),
        (USED_TOOLS, RestrictedExpression::new_set(used)),
        (COUNTERS, counters),
    ])
}

fn where_from(provenance: &Provenance) -> Option<RestrictedExpression> {
    let Provenance { mandate, trusted, unknown, untrusted } = provenance;
    record([
        ("mandate", texts(mandate)),
        ("trusted", texts(trusted)),
        ("unknown", texts(unknown)),
        ("untrusted", texts(untrusted)),
    ])
}

fn text(value: &str) -> RestrictedExpression {
    RestrictedExpression::new_string(value.to_owned())
}

fn texts(values: &BTreeSet<String>) -> RestrictedExpression {
    RestrictedExpression::new_set(values.iter().map(|value| text(value)))
}

fn datetime(at: Timestamp) -> RestrictedExpression {
    RestrictedExpression::new_datetime(at.to_string())
}

fn record<const N: usize>(
    fields: [(&str, RestrictedExpression); N],
) -> Option<RestrictedExpression> {
    let fields = fields.into_iter().map(|(name, value)| (name.to_owned(), value));
    RestrictedExpression::new_record(fields).ok()
}
