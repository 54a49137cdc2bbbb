//! Random trees of delegations: nobody reaches more than the root in anything that bounds them, and what ends anywhere
//! ends everything below, whatever is tried.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use model::{Clock as _, Elevation, Entropy as _, Harm, Scope, ToolPattern};
use oauth::initiation::{AskedTask, Initiation};
use serde_json::json;
use testkit::SeededEntropy;

use crate::client::Sts;
use crate::delegation::{
    Holder, Party, WAYS, Way, before, call, calls, does, hand_on, part, party, task_of,
};
use crate::elevations::{elevate, revoke, vouch};
use crate::initiations::{before_with, begun, said};
use crate::opened::opens;
use crate::resume::task_id;
use crate::support::{Facts, POLICY, tool};
use crate::taken_away::{End, leaves, sponsored};

/// What there is to be called, with what it does beside reading, and the category of the data that it touches.
const TOOLS: [(&str, Option<Harm>, &str); 3] = [
    ("crm/lookup", None, "people"),
    ("crm/refund", Some(Harm::MovesMoney), "payments"),
    ("crm/export", Some(Harm::ExposesData), "contracts"),
];

/// What somebody is elevated to call.
const ELEVATED: [&[&str]; 2] = [&["refund"], &["lookup", "export"]];

/// A tool of another server: who may call it gets tokens for that one.
const ELSEWHERE: &str = "desk/find";

/// What such a token is asked for.
const DESK: &str = "https://chancery.example/mcp/desk";

/// The data objects that there are.
const OBJECTS: [&str; 4] = ["a-1", "a-2", "b-1", "c-1"];

/// How they are asked for, and which of them these are.
const PATTERNS: [(&[&str], &[&str]); 5] = [
    (&["crm/*"], &OBJECTS),
    (&["crm/a-*"], &["a-1", "a-2"]),
    (&["crm/a-1"], &["a-1"]),
    (&["crm/b-1"], &["b-1"]),
    (&["crm/a-*", "crm/b-1"], &["a-1", "a-2", "b-1"]),
];

/// By what something in a tree ends, each in one tree.
const ENDS: [End; 11] = [
    End::GivenUp,
    End::Task,
    End::Instance,
    End::Quarantine,
    End::Device,
    End::Agent,
    End::Key,
    End::Sponsor,
    End::Mandate,
    End::Person,
    End::System,
];

/// Numbers that are the same for the same seed.
struct Draws(SeededEntropy);

impl Draws {
    fn below(&self, bound: usize) -> usize {
        let mut bytes = [0; 8];
        self.0.fill(&mut bytes);
        usize::try_from(u64::from_be_bytes(bytes) % bound as u64).expect("it is small")
    }

    /// What holds once in so many times.
    fn once_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn one<T: Copy>(&self, all: &[T]) -> T {
        all[self.below(all.len())]
    }

    /// Most of `all`.
    fn most<T: Copy + Ord>(&self, all: &BTreeSet<T>) -> BTreeSet<T> {
        all.iter().copied().filter(|_| !self.once_in(4)).collect()
    }
}

/// What the model says that somebody may do at most.
#[derive(Clone, Debug)]
struct Held {
    tools: BTreeSet<&'static str>,
    harm: BTreeSet<Harm>,
    objects: BTreeSet<&'static str>,
    max_calls: Option<u64>,
    until: i64,
}

/// What is asked for of that, with the data objects as they are named; as many as there are, if none is.
#[derive(Debug)]
struct Asked {
    held: Held,
    patterns: &'static [&'static str],
}

impl Held {
    /// All that there is, for ever.
    fn all() -> Self {
        Self {
            tools: TOOLS.map(|(tool, ..)| tool).into_iter().chain([ELSEWHERE]).collect(),
            harm: TOOLS.into_iter().filter_map(|(_, harm, _)| harm).collect(),
            objects: OBJECTS.into(),
            max_calls: None,
            until: i64::MAX / 2,
        }
    }

    /// Something to ask for: mostly a part of it, and at times more in one thing or another.
    fn asked(&self, draws: &Draws) -> Asked {
        let all = Self::all();
        let of = || if draws.once_in(12) { &all } else { self };
        let (tools, harm) = (draws.most(&of().tools), draws.most(&of().harm));
        let none: &[&str] = &[];
        let (patterns, objects) = if draws.once_in(3) {
            let (patterns, objects) = draws.one(&PATTERNS);
            (patterns, objects.iter().copied().collect())
        } else {
            (none, self.objects.clone())
        };
        let max_calls = match self.max_calls {
            Some(most) => match draws.below(8) {
                0 => None,
                1 => Some(most + 1),
                2 => Some((most / 2).max(1)),
                _ => Some(most),
            },
            None => draws.once_in(2).then(|| 2 + draws.below(4) as u64),
        };
        let until = self.until - i64::try_from(draws.below(8)).expect("it is small");
        let until = until + i64::from(draws.once_in(8)) * 8;
        Asked { held: Self { tools, harm, objects, max_calls, until }, patterns }
    }

    fn includes(&self, other: &Self) -> bool {
        let within = |most: u64| other.max_calls.is_some_and(|calls| calls <= most);
        other.tools.is_subset(&self.tools)
            && other.harm.is_subset(&self.harm)
            && other.objects.is_subset(&self.objects)
            && self.max_calls.is_none_or(within)
            && other.until <= self.until
    }

    /// Whether a tool may be called that does this beside reading.
    fn covers(&self, tool: &str, harm: Option<Harm>) -> bool {
        self.tools.contains(tool) && harm.is_none_or(|it| self.harm.contains(&it))
    }
}

impl Asked {
    fn task(&self, sts: &Sts) -> AskedTask {
        let Held { tools, harm, max_calls, until, .. } = &self.held;
        AskedTask {
            tools: tools.iter().map(|&tool| tool.to_owned()).collect(),
            harm: harm.iter().map(Harm::to_string).collect(),
            objects: self.patterns.iter().map(|&pattern| pattern.to_owned()).collect(),
            max_calls: *max_calls,
            until: *until,
            ..part(sts)
        }
    }

    fn scope(&self) -> Scope {
        let objects = self.patterns.iter().map(|it| it.parse().expect("a pattern")).collect();
        Scope {
            tools: self.held.tools.iter().map(|it| it.parse().expect("a pattern")).collect(),
            harm: self.held.harm.clone(),
            objects: Some(objects).filter(|_| !self.patterns.is_empty()),
            max_calls: self.held.max_calls,
            max_tasks_a_day: None,
        }
    }
}

/// Who holds a part of the work, below whom, and what the model says of it.
struct Node {
    holder: Holder,
    above: Vec<usize>,
    held: Held,
    /// What it may do beyond its task.
    elevation: Option<Elevation>,
    /// How many calls were permitted in its task, and below.
    used: u64,
}

/// A tree, and where it stands.
struct Tree {
    sts: Arc<Sts>,
    nodes: Vec<Node>,
    /// The categories of data that the work is for; any, if it is for none.
    data: BTreeSet<&'static str>,
    /// Whom something can be handed on to that is in no chain.
    beside: Party,
    /// What has ended, by its name.
    over: Option<String>,
    /// How often something was permitted.
    permitted: usize,
}

impl Tree {
    /// A root, on behalf of a person or of nobody.
    async fn planted(draws: &Draws, how: End) -> Self {
        let is_on_behalf = matches!(how, End::Person | End::System) || draws.once_in(2);
        let mut asked = Held::all().asked(draws);
        asked.held.tools.insert("crm/lookup");
        asked.held.max_calls = draws.once_in(4).then_some(16);
        let data = match draws.below(3) {
            0 => BTreeSet::new(),
            _ => draws.most(&BTreeSet::from(TOOLS.map(|(.., category)| category))),
        };
        let scope = asked.scope();
        let change = |facts: &mut Facts| {
            let wide = ["crm/*", "desk/*"];
            let wide = wide.map(|it| it.parse::<ToolPattern>().expect("a pattern"));
            facts.agent.ceiling.tools = wide.clone().into();
            facts.purpose.scope.tools = wide.into();
            facts.purpose.data = data.iter().map(|it| it.parse().expect("a category")).collect();
            facts.mandate.scope = scope;
            facts.task.mandate_digest = facts.mandate.digest();
            facts.tools.push(tool("export", Harm::ExposesData, &facts.sponsor.id));
            for (named, _, category) in TOOLS {
                let mut all = facts.tools.iter_mut();
                let tool = all.find(|it| it.tool.to_string() == named).expect("it is there");
                tool.data = [category.parse().expect("a category")].into();
                tool.objects = Some(["/account".to_owned()].into());
            }
        };
        let (sts, portal) = Box::pin(before_with(change)).await;
        let exports =
            r#"@id("exports") permit (principal, action == Action::"crm/export", resource);"#;
        sts.world.publish(&format!("{POLICY}{exports}")).await;
        let holder = if is_on_behalf {
            let until = sts.world.clock.now().as_seconds() + 3_600;
            asked.held.until = until;
            let said = Initiation { task: asked.task(&sts), ..said(&sts) };
            begun(&sts, &portal, &said).await.expect("a token")
        } else {
            opens(&sts).await.expect("a token")
        };
        let mut held = asked.held;
        held.until = task_of(&sts, &holder).await.deadline.as_seconds();
        let root = Node { holder, above: Vec::new(), held, elevation: None, used: 0 };
        let beside = party(&sts, "beside").await;
        Self { sts, nodes: vec![root], data, beside, over: None, permitted: 0 }
    }

    /// Whatever parts of it some agents are handed, and who of them is elevated.
    async fn grow(&mut self, draws: &Draws) {
        let mut parties = vec![self.nodes[0].holder.of.clone()];
        for number in 0..5 {
            parties.push(party(&self.sts, &format!("agent-{number}")).await);
        }
        for _ in 0..18 {
            let position = draws.below(self.nodes.len());
            if draws.once_in(3) {
                let tools = draws.one(&ELEVATED);
                let elevation = elevate(&self.sts, &self.nodes[position].holder, tools).await;
                self.nodes[position].elevation = Some(elevation);
            }
            self.branch(draws, position, &parties[draws.below(parties.len())]).await;
        }
    }

    /// Whoever is at `position` hands some part on, if that is one.
    async fn branch(&mut self, draws: &Draws, position: usize, to: &Party) {
        let Node { holder, held, .. } = &self.nodes[position];
        let (asked, way) = (held.asked(draws), draws.one(&WAYS));
        let above: Vec<_> = self.chain(position).collect();
        let is_in_chain = above.iter().any(|it| self.nodes[*it].holder.of.name == to.name);
        // What it is handed on by is a token for this server.
        let is_for_it = asked.held.tools.iter().any(|tool| *tool != ELSEWHERE);
        let fits = is_for_it && held.includes(&asked.held) && !is_in_chain;
        let handed = hand_on(&self.sts, holder, (to, way), &asked.task(&self.sts)).await;
        assert_eq!(handed.is_ok(), fits, "{way:?} {asked:?} of {held:?}: {:?}", handed.err());
        if let Ok(holder) = handed {
            let held = asked.held;
            self.nodes.push(Node { holder, above, held, elevation: None, used: 0 });
        }
    }

    /// Whoever is at `position`, and all above.
    fn chain(&self, position: usize) -> impl Iterator<Item = usize> {
        std::iter::once(position).chain(self.nodes[position].above.iter().copied())
    }

    /// Whether what ended is what somebody there stands on.
    fn is_over(&self, position: usize) -> bool {
        let Some(over) = &self.over else { return false };
        self.chain(position).any(|it| {
            let Holder { of, claims, .. } = &self.nodes[it].holder;
            [claims.instance(), &of.name, &task_id(&self.nodes[it].holder)].contains(&over.as_str())
        })
    }

    /// Whether the model says that whoever is at `position` may call `tool` for `object`.
    fn may(&self, position: usize, tool: (&str, Option<Harm>, &str), object: &str) -> bool {
        let (name, harm, category) = tool;
        let Node { held, elevation, .. } = &self.nodes[position];
        let names = |it: &Elevation| it.tools.keys().any(|tool| tool.to_string() == name);
        let is_elevated = elevation.as_ref().is_some_and(names);
        let has_left = |it: usize| {
            let Node { held, used, .. } = &self.nodes[it];
            held.max_calls.is_none_or(|most| *used < most)
        };
        !self.is_over(position)
            && (held.covers(name, harm) || is_elevated && self.nodes[0].held.covers(name, harm))
            && held.objects.contains(object)
            && (self.data.is_empty() || self.data.contains(category))
            && self.chain(position).all(has_left)
    }

    /// Everybody calls each tool for some object: what they may, and nothing else.
    async fn try_tools(&mut self, draws: &Draws, what: &str) {
        for position in 0..self.nodes.len() {
            for tool in TOOLS {
                let own: Vec<_> = self.nodes[position].held.objects.iter().copied().collect();
                let is_any = draws.once_in(4);
                let object = if is_any { draws.one(&OBJECTS) } else { draws.one(&own) };
                let may = self.may(position, tool, object);
                let (_, called) = tool.0.split_once('/').expect("it is of a server");
                let mut act = call(&self.sts, &self.nodes[position].holder, called);
                act.request.input = json!({ "account": object, "amount": 1 });
                let answer = does(&self.sts, act).await;
                let case = format!("{what}, {position}: {} for {object}", tool.0);
                assert_eq!(answer.is_ok(), may, "{case}: {answer:?}");
                if may {
                    let chain: Vec<_> = self.chain(position).collect();
                    for it in chain {
                        self.nodes[it].used += 1;
                    }
                    self.permitted += 1;
                }
            }
        }
    }

    /// Everybody renews for some server, and hands on what it has: whoever is not over.
    async fn try_tokens(&mut self, draws: &Draws, what: &str) {
        for (position, node) in self.nodes.iter().enumerate() {
            let (Node { holder, held, .. }, is_over) = (node, self.is_over(position));
            let request = self.sts.request_of((&holder.of.name, &holder.of.key), &holder.key);
            let (request, is_held) = if draws.once_in(2) {
                (request.with("resource", DESK), held.tools.contains(ELSEWHERE))
            } else {
                (request, true)
            };
            let renewed = self.sts.send(request).await;
            let case = format!("{what}, {position}: {:?}", renewed.as_ref().err());
            assert_eq!(renewed.is_ok(), is_held && !is_over, "{case}");
            let (asked, way) = (Asked { held: held.clone(), patterns: &[] }, draws.one(&WAYS));
            let to = (&self.beside, way);
            let handed = hand_on(&self.sts, holder, to, &asked.task(&self.sts)).await;
            let case = format!("{what}, {position}, {way:?}: {:?}", handed.as_ref().err());
            assert_eq!(handed.is_ok(), !is_over, "{case}");
            self.permitted += usize::from(!is_over);
        }
    }

    /// Ends something in this way, once all that it can end by is there and everybody acts.
    async fn end(&mut self, draws: &Draws, how: End) {
        // Rather somebody with others above and below than the root.
        let above = self.nodes.iter().flat_map(|node| node.above.iter().copied());
        let between: BTreeSet<_> = above.filter(|it| *it != 0).collect();
        let between: Vec<_> = between.into_iter().collect();
        let is_root = draws.once_in(8) || between.is_empty();
        let ended = if is_root { 0 } else { draws.one(&between) };
        let holder = self.nodes[ended].holder.clone();
        match how {
            End::Device => {
                let device = vouch(&self.sts, holder.instance()).await;
                self.sts.vouched(&holder.key, device);
            }
            End::Sponsor => sponsored(&self.sts, &holder.of.name).await,
            _ => {}
        }
        self.try_tools(draws, "before").await;
        self.try_tokens(draws, "before").await;
        how.of(&self.sts, &holder).await;
        self.over = Some(how.name(&holder));
        assert!(self.is_over(ended), "{how:?}");
    }

    /// Nobody is elevated any more: it is taken back, who approved it leaves, or its time is over.
    async fn lose_elevations(&mut self, draws: &Draws) {
        let world = &self.sts.world;
        match draws.below(3) {
            0 => {
                for elevation in self.nodes.iter().filter_map(|node| node.elevation.as_ref()) {
                    revoke(&self.sts, elevation).await;
                }
            }
            1 => {
                leaves(&self.sts, &world.standing.other.id).await;
            }
            _ => world.clock.advance(Duration::from_mins(1)),
        }
        self.nodes.iter_mut().for_each(|node| node.elevation = None);
    }
}

/// Random trees: nobody reaches more than the root, but who is elevated, and what they hand on is no more for that;
/// what ends anywhere ends everything below, whether it is called, renewed or handed on, and nothing else.
#[tokio::test]
async fn i_08_random_trees_of_delegations_only_narrow() {
    let (mut below, mut beside) = (0, 0);
    for (seed, how) in (0..).zip(ENDS) {
        let draws = Draws(SeededEntropy::new(seed));
        let mut tree = Tree::planted(&draws, how).await;
        tree.grow(&draws).await;
        tree.end(&draws, how).await;
        assert!(tree.permitted > 0, "{how:?}: nobody did anything");
        let what = format!("after {how:?}, seed {seed}");
        tree.try_tools(&draws, &what).await;
        tree.try_tokens(&draws, &what).await;
        tree.lose_elevations(&draws).await;
        tree.try_tools(&draws, &what).await;
        let over = (0..tree.nodes.len()).filter(|it| tree.is_over(*it)).count();
        (below, beside) = (below + over - 1, beside + tree.nodes.len() - over);
    }
    assert!(below > 20 && beside > 20, "{below} below, {beside} beside");
}

/// What a delegate's act came to is not known: nobody of that work does the same again (N-040h).
#[tokio::test]
async fn n_040h_an_unknown_act_of_a_delegate_is_not_done_again_above_it() {
    let (sts, lead, reader) = before().await;
    let mut asked = part(&sts);
    asked.tools = vec!["crm/refund".to_owned()];
    asked.harm = Harm::ALL.map(|harm| harm.to_string()).to_vec();
    let child = hand_on(&sts, &lead, (&reader, Way::TakeUp), &asked).await.expect("a token");
    let permit = sts.world.authorize(call(&sts, &child, "refund")).await.expect("it is permitted");
    drop(permit.begin(sts.world.clock.as_ref()).expect("it begins"));
    sts.world.drained().await;
    for holder in [&child, &lead] {
        assert_eq!(calls(&sts, holder, "refund").await, Err("outcome_unknown".to_owned()));
    }
}

/// A limit is not begun anew with a new instance, nor by another branch.
#[tokio::test]
async fn r_79_a_limit_of_the_mandate_holds_for_the_day() {
    let sts = Arc::new(
        Sts::with(|facts| {
            facts.mandate.scope.max_calls = Some(3);
            facts.task.mandate_digest = facts.mandate.digest();
        })
        .await,
    );
    let holder = async || opens(&sts).await.expect("a token");
    let (one, two) = (holder().await, holder().await);
    for holder in [&one, &two, &one] {
        assert_eq!(calls(&sts, holder, "lookup").await, Ok(()));
    }
    for holder in [&one, &two, &holder().await] {
        assert_eq!(calls(&sts, holder, "lookup").await, Err("limit_reached".to_owned()));
    }
    sts.world.clock.advance(Duration::from_hours(24));
    assert_eq!(calls(&sts, &holder().await, "lookup").await, Ok(()));
}
