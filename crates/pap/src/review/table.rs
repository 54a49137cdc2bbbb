//! How a review is written for other people's tools.

use std::collections::BTreeSet;
use std::fmt::Display;

use model::{Agent, AgentState, Thumbprint, Timestamp, ToolRef};
use scim::ListResponse;
use serde_json::{Value, json};

use super::export::Given;
use super::uses::{Used, since};

/// What we say of an agent beside what the draft for agents in SCIM does
/// (draft-wzdk-scim-agent-resource).
const REVIEW: &str = "urn:chancery:scim:schemas:extension:review:2.0:Agent";

/// The agent as the draft has it.
const AGENT: &str = "urn:ietf:params:scim:schemas:core:2.0:Agent";

const COLUMNS: [&str; 23] = [
    "item",
    "version",
    "agent",
    "state",
    "due",
    "active",
    "sponsor",
    "business_owner",
    "technical_owner",
    "backups",
    "purposes",
    "tools",
    "harm",
    "standing_mandates",
    "consents",
    "client",
    "devices",
    "lease_until",
    "instances",
    "used_since",
    "uses",
    "last_use",
    "never_used",
];

/// One agent of a review.
pub(super) struct Row<'a> {
    pub(super) item: String,
    pub(super) agent: &'a Agent,
    pub(super) state: &'static str,
    pub(super) due: Timestamp,
    pub(super) given: Given,
    pub(super) devices: Vec<Thumbprint>,
    pub(super) instances: usize,
    pub(super) used: Vec<(&'a ToolRef, &'a Used)>,
    pub(super) never_used: BTreeSet<ToolRef>,
}

impl Row<'_> {
    fn is_active(&self) -> bool {
        self.agent.state == AgentState::Active
    }

    fn last_use(&self) -> Option<String> {
        self.used.iter().map(|(_, used)| used.last).max().map(|last| last.to_string())
    }

    fn cells(&self) -> [String; COLUMNS.len()] {
        let Self { agent, given, .. } = self;
        let client = agent.client.as_ref().map(|client| client.id.clone());
        let uses = self.used.iter().map(|(tool, used)| format!("{tool}={}", used.count));
        [
            self.item.clone(),
            agent.version().to_string(),
            agent.name.to_string(),
            self.state.to_owned(),
            self.due.to_string(),
            self.is_active().to_string(),
            agent.sponsor.to_string(),
            agent.business_owner.to_string(),
            agent.technical_owner.to_string(),
            listed(&agent.backups),
            listed(&agent.purposes),
            listed(&agent.ceiling.tools),
            listed(agent.ceiling.harm.iter().map(|harm| harm.as_str())),
            listed(&given.standing),
            given.consents.to_string(),
            client.unwrap_or_default(),
            listed(&self.devices),
            agent.leased_until().to_string(),
            self.instances.to_string(),
            since(agent).to_string(),
            listed(uses),
            self.last_use().unwrap_or_default(),
            listed(&self.never_used),
        ]
    }

    fn resource(&self) -> Value {
        let Self { agent, given, .. } = self;
        let uses = self.used.iter().map(|(tool, used)| {
            json!({ "tool": tool, "count": used.count, "last": used.last.to_string() })
        });
        let owners = [&agent.business_owner, &agent.technical_owner];
        json!({
            "schemas": [AGENT, REVIEW],
            "id": agent.name,
            "displayName": agent.name,
            "active": self.is_active(),
            "owners": owners.map(|owner| json!({ "value": owner })),
            "meta": { "resourceType": "Agent", "version": format!("W/\"{}\"", agent.version()) },
            REVIEW: {
                "item": self.item,
                "version": agent.version(),
                "state": self.state,
                "due": self.due.to_string(),
                "sponsor": agent.sponsor,
                "businessOwner": agent.business_owner,
                "technicalOwner": agent.technical_owner,
                "backups": agent.backups,
                "purposes": agent.purposes,
                "tools": agent.ceiling.tools,
                "harm": agent.ceiling.harm,
                "standingMandates": given.standing,
                "consents": given.consents,
                "client": agent.client.as_ref().map(|client| &client.id),
                "devices": self.devices,
                "leaseUntil": agent.leased_until().to_string(),
                "instances": self.instances,
                "usedSince": since(agent).to_string(),
                "uses": uses.collect::<Vec<_>>(),
                "lastUse": self.last_use(),
                "neverUsed": self.never_used,
            },
        })
    }
}

/// The rows as a table.
pub(super) fn csv(rows: &[Row<'_>]) -> String {
    let lines = rows.iter().map(|row| csv::line(row.cells()));
    std::iter::once(csv::line(COLUMNS)).chain(lines).collect()
}

/// The rows as a list of resources.
pub(super) fn scim(rows: &[Row<'_>]) -> Value {
    ListResponse::whole(rows.iter().map(Row::resource).collect()).into_json()
}

/// Several things in one cell: none of their names has a space.
fn listed<T: Display>(all: impl IntoIterator<Item = T>) -> String {
    all.into_iter().map(|it| it.to_string()).collect::<Vec<_>>().join(" ")
}
