//! What one set says of labels held against what another one says, tool by tool and server by server.
//!
//! INVARIANT: where nothing is named that widens, whatever flows carries, is read, stored and sent out by the later set
//! as it was by the earlier one, and of no tool it is ours for the first time what it answers
//! (`what_is_no_widening_carries_no_less`).

use std::collections::BTreeSet;

use model::{Label, ServerName, ToolPattern, ToolRef};

use super::{ANY, Condition, LABELS_FILE, Labels, OfServer, OfTool};
use crate::differing::Change;
use crate::parts::{Calls, PartChange};

/// One thing that is said of a tool or of a server.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// Results carry it.
    Carries(Label),
    /// They do where an argument is so.
    CarriesWhere(Label, String),
    /// They tell of what is kept under this.
    Reads(String),
    /// What is brought is kept under this.
    Stores(String),
    /// It comes with this from the server.
    Comes(&'static str, Label),
    /// It sends out.
    Sink,
}

impl Said {
    /// Whether what is `said` holds back as much.
    fn is_in(&self, said: &BTreeSet<Self>) -> bool {
        said.contains(self)
            || match self {
                Self::CarriesWhere(label, _) => said.contains(&Self::Carries(label.clone())),
                Self::Reads(_) => said.contains(&Self::Reads(ANY.to_owned())),
                // What has no name is read under every name.
                Self::Stores(_) => said.contains(&Self::Stores(ANY.to_owned())),
                Self::Carries(_) | Self::Comes(..) | Self::Sink => false,
            }
    }
}

impl Labels {
    /// What is otherwise in `after`: of which tool, which server, and which labels outsiders' texts have.
    pub(crate) fn differing(&self, after: &Self) -> Vec<PartChange> {
        let own: BTreeSet<&ToolRef> = self.tools.keys().chain(after.tools.keys()).collect();
        let of_tools = own.iter().filter_map(|tool| {
            let calls = Calls { tools: vec![ToolPattern::of(tool)], ..Calls::default() };
            let said = |set: &Self| set.said_of_tool(&tool.server, set.tool(tool));
            let (part, of) = (format!("tool `{tool}`"), (self.tool(tool), after.tool(tool)));
            change(part, (&said(self), &said(after)), (calls, after.takes_in(of)))
        });
        let servers: BTreeSet<&ServerName> =
            self.others.keys().chain(after.others.keys()).collect();
        let of_others = servers.into_iter().filter_map(|server| {
            let but = own.iter().map(|tool| (*tool).clone()).collect();
            let calls = Calls { but, ..of_server(server) };
            let said = |set: &Self| set.said_of_tool(server, set.others.get(server));
            let of = (self.others.get(server), after.others.get(server));
            let part = format!("tools `{server}/*`");
            change(part, (&said(self), &said(after)), (calls, after.takes_in(of)))
        });
        let servers: BTreeSet<&ServerName> =
            self.servers.keys().chain(after.servers.keys()).collect();
        let of_servers = servers.into_iter().filter_map(|server| {
            let said = |set: &Self| set.said_of_server(server);
            let part = format!("server `{server}`");
            change(part, (&said(self), &said(after)), (of_server(server), false))
        });
        let outsiders = |set: &Self| -> BTreeSet<Said> {
            set.outsiders.iter().cloned().map(Said::Carries).collect()
        };
        let (part, of) = ("outsiders".to_owned(), (Calls::default(), false));
        let of_outsiders = change(part, (&outsiders(self), &outsiders(after)), of);
        of_tools.chain(of_others).chain(of_servers).chain(of_outsiders).collect()
    }

    /// Whether what a tool answers is ours for the first time, for which there is the one entry before and the other one
    /// in this: what nothing is said of may be anybody's, and what an outsider's label is on is theirs.
    fn takes_in(&self, (before, now): (Option<&OfTool>, Option<&OfTool>)) -> bool {
        let is_theirs =
            |said: &OfTool| said.carries.iter().any(|label| self.outsiders.contains(&label.value));
        before.is_none() && now.is_some_and(|said| !is_theirs(said))
    }

    /// What is said of a tool of `server`, for which `said` is its entry; of one that has none it is that its results tell
    /// of whatever the server keeps.
    fn said_of_tool(&self, server: &ServerName, said: Option<&OfTool>) -> BTreeSet<Said> {
        let Some(said) = said else {
            let reads = !self.declared.is_empty() && self.keepers.contains(server);
            return reads.then(|| Said::Reads(ANY.to_owned())).into_iter().collect();
        };
        let OfTool { carries, when, sink, reads, stores } = said;
        let mut all = BTreeSet::new();
        all.extend(sink.then_some(Said::Sink));
        // Where there is no label, nothing is kept of any.
        if !self.declared.is_empty() {
            all.extend(carries.iter().map(|label| Said::Carries(label.value.clone())));
            for condition in when {
                let (is, labels) = (condition.text(), condition.carries.iter());
                let where_it_is = |label: &Label| Said::CarriesWhere(label.clone(), is.clone());
                all.extend(labels.map(|label| where_it_is(&label.value)));
            }
            all.extend(reads.iter().map(|place| Said::Reads(place.value.clone())));
            all.extend(stores.iter().map(|place| Said::Stores(place.value.clone())));
        }
        all
    }

    fn said_of_server(&self, server: &ServerName) -> BTreeSet<Said> {
        let Some(said) = self.servers.get(server) else { return BTreeSet::new() };
        let OfServer { resources, prompts, completions, requests, lists, reveals, sink } = said;
        let all = [
            ("resources", resources),
            ("prompts", prompts),
            ("completions", completions),
            ("requests", requests),
            ("lists", lists),
            ("reveals", reveals),
        ];
        let of = |(what, labels): (&'static str, &super::Named)| {
            let labels = labels.iter().map(move |label| Said::Comes(what, label.value.clone()));
            labels.collect::<Vec<_>>()
        };
        all.into_iter().flat_map(of).chain(sink.then_some(Said::Sink)).collect()
    }
}

impl Condition {
    /// When it is met, alike for conditions that are met alike.
    fn text(&self) -> String {
        let equals = self.equals.as_ref().map(json::canonical);
        let equals = equals.map(|it| String::from_utf8_lossy(&it).into_owned());
        format!("{:?} {equals:?} {:?}", self.argument.value, self.prefix)
    }
}

fn of_server(server: &ServerName) -> Calls {
    let all = format!("{server}/*").parse().ok();
    Calls { tools: all.into_iter().collect(), ..Calls::default() }
}

/// How the `part` is otherwise, if it is, or if what the calls answer `is_ours` for the first time.
fn change(
    part: String,
    (old, new): (&BTreeSet<Said>, &BTreeSet<Said>),
    (calls, is_ours): (Calls, bool),
) -> Option<PartChange> {
    let is = match (old.is_empty(), new.is_empty()) {
        _ if old == new && !is_ours => return None,
        (true, _) => Change::New,
        (_, true) => Change::Gone,
        _ => Change::Changed,
    };
    let widens = is_ours || !old.iter().all(|said| said.is_in(new));
    Some(PartChange { file: LABELS_FILE, part, is, widens, of: vec![calls] })
}
