//! Two tools, policies about them, and what is proved of those.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use analysis::{Report, Solver, Subject, Verdict, Why, program, prove};
use model::{Clock, Harm, Timestamp, ToolRef};
use pap::{CaseTool, Tools};
use pdp::{Bundle, PosedAnswer, Snapshot, ToolSchema};
use serde_json::json;

/// How long the solver may take for one question here, on however busy a machine.
const TIME: Duration = Duration::from_mins(1);

/// A clock on which no time passes: however busy the machine, chains are tried to their end.
struct Still;

impl Clock for Still {
    fn now(&self) -> Timestamp {
        Timestamp::from_millis(0)
    }

    fn monotonic(&self) -> Duration {
        Duration::ZERO
    }
}

/// What is asked of one set.
#[derive(Clone, Copy, Default)]
pub(crate) struct Asked<'a> {
    pub(crate) set: &'a str,
    pub(crate) against: Option<&'a str>,
    pub(crate) equivalent: bool,
    /// Nobody has said what `crm/lookup` can do.
    pub(crate) undescribed: bool,
    pub(crate) properties: Option<&'a str>,
    /// The labels of the other set, which has none else.
    pub(crate) labels: Option<&'a str>,
    /// The budgets of the set, and of the other one.
    pub(crate) budgets: [Option<&'a str>; 2],
    /// Counts the chains that are tried.
    pub(crate) chains: Option<&'a AtomicUsize>,
}

pub(crate) fn cvc5() -> PathBuf {
    let path = std::env::var_os("PATH").expect("there is a PATH");
    program(std::env::var_os("CVC5"), &path)
}

fn bundle(policies: &str) -> Bundle {
    let refund = json!({
        "type": "object",
        "properties": { "amount": { "type": "number" }, "times": { "type": "integer" } },
        "required": ["amount", "times"],
    });
    let lookup = json!({ "type": "object", "properties": { "id": { "type": "integer" } } });
    let tools = [("payments/refund", refund), ("crm/lookup", lookup)];
    let name = |name: &str| name.parse::<ToolRef>().expect("a tool");
    Bundle {
        policies: BTreeMap::from([("it.cedar".to_owned(), policies.to_owned())]),
        tools: tools
            .into_iter()
            .map(|(tool, input_schema)| (name(tool), ToolSchema { input_schema }))
            .collect(),
        ..Bundle::default()
    }
}

pub(crate) fn snapshot(policies: &str) -> Snapshot {
    Snapshot::compile(bundle(policies)).expect("it compiles")
}

fn harm(is_undescribed: bool) -> BTreeMap<ToolRef, BTreeSet<Harm>> {
    let reads: BTreeSet<_> = (!is_undescribed).then_some(Harm::ReadsData).into_iter().collect();
    let tools = [("payments/refund", BTreeSet::from([Harm::MovesMoney])), ("crm/lookup", reads)];
    tools.into_iter().map(|(tool, harm)| (tool.parse().expect("a tool"), harm)).collect()
}

fn tool(harm: &BTreeSet<Harm>, ToolSchema { input_schema }: &ToolSchema) -> CaseTool {
    let (harm, input) = (harm.clone(), input_schema.clone());
    CaseTool { harm, input, objects: None, data: BTreeSet::new() }
}

/// What the solver at `program` says within `time`.
pub(crate) async fn report_by(asked: Asked<'_>, program: PathBuf, time: Duration) -> Report {
    let solver = Solver::at(program, time).await.expect("there is a solver");
    let tools = harm(asked.undescribed);
    let [own, others] = asked.budgets.map(|text| text.map(str::to_owned));
    let set = Bundle { budgets: own, ..bundle(asked.set) };
    let set = Snapshot::compile(set).expect("it compiles");
    let against = asked.against.map(|policies| {
        let labels = asked.labels.map(str::to_owned);
        let bundle = Bundle { labels, budgets: others, ..bundle(policies) };
        Snapshot::compile(bundle).expect("it compiles")
    });
    let properties = asked
        .properties
        .map(|text| Snapshot::compile_properties(bundle(text)).expect("the properties compile"));
    let described = set.bundle().tools.iter();
    let cases: Tools = described.map(|(name, it)| (name.clone(), tool(&tools[name], it))).collect();
    let subject = Subject {
        set: &set,
        against: against.as_ref().map(|it| (it, asked.equivalent)),
        properties: properties.as_ref(),
        tools: &tools,
        mappings: BTreeMap::new(),
        saying: &|posed, permits| pap::posed(posed, permits, (&set, &cases)),
        chaining: &|steps, deciding| {
            if let Some(tried) = asked.chains {
                tried.fetch_add(1, Ordering::Relaxed);
            }
            pap::chained(steps, (&set, &cases), deciding, (&Still, time))
        },
    };
    Box::pin(prove(&subject, &solver, 2, |_, _| {})).await.expect("it can be asked")
}

/// What the real solver says.
pub(crate) async fn report(asked: Asked<'_>) -> Report {
    report_by(asked, cvc5(), TIME).await
}

/// What came of the last claim: `proved`, `not proved`, or which policies make the counterexample.
pub(crate) async fn check(asked: Asked<'_>, expected: &str) {
    let report = report(asked).await;
    let last = report.shown.last().expect("something is claimed");
    let told = match &last.verdict {
        Verdict::Proved => "proved".to_owned(),
        Verdict::Guaranteed => "guaranteed".to_owned(),
        Verdict::Counterexample(example) => {
            let by: Vec<_> = example.by.iter().map(ToString::to_string).collect();
            let of = example.posed.principal.split("::").next().unwrap_or_default();
            format!("{of} {} by {}", example.posed.action, by.join(", "))
        }
        Verdict::Unconfirmed { why, .. } => format!("not confirmed, because {why}"),
        Verdict::NotProved { because } => because[0].why.to_string(),
    };
    assert_eq!(told, expected, "{last:?}");
    let is_known = match &last.verdict {
        Verdict::NotProved { because } => because[0].environment.is_none(),
        _ => true,
    };
    assert_eq!(last.unknown > 0, !is_known);
    assert_eq!(report.is_proved(), ["proved", "guaranteed"].contains(&expected), "{report:?}");
}

/// What a set answers to the counterexample of the last claim.
pub(crate) async fn answered(asked: Asked<'_>, set: &str) -> PosedAnswer {
    let report = report(asked).await;
    let last = report.shown.last().expect("something is claimed");
    let Verdict::Counterexample(example) = &last.verdict else { panic!("{last:?}") };
    snapshot(set).pose(&example.posed, &[]).expect("it can be asked")
}

/// Why nothing is known of the last claim.
pub(crate) fn why(report: &Report) -> &Why {
    let last = report.shown.last().expect("something is claimed");
    let Verdict::NotProved { because } = &last.verdict else { panic!("{last:?}") };
    assert!(!report.is_proved() && !report.is_refuted());
    &because[0].why
}
