//! Pins: a tool whose descriptor changed is not callable until somebody pins it again.
//!
//! The server's own list is compared with what was approved when a conversation begins, with each
//! list, when the server says that it changed, and at least once a minute while calls are made. A
//! client is shown what was approved, never what the server lists.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::time::Duration;

use async_trait::async_trait;
use mcp::Askable;
use model::{ServerName, ToolName};
use serde_json::{Value, json};

use crate::intake::Arriving;
use crate::links::Conversation;
use crate::upstream::{Link, LinkError, Most};

/// How long a comparison counts.
pub(crate) const VERIFIED_FOR: Duration = Duration::from_mins(1);

/// The most pages of one list.
const PAGES_MAX: usize = 100;

/// The most tools of one server.
const TOOLS_MAX: usize = 10_000;

/// How large one page may be as text, and all of them once they are read.
const LIST: Most = Most { text: 4 << 20, read: 32 << 20 };

/// When a conversation's tools were last compared with their pins, on the monotonic clock.
#[derive(Debug, Default)]
pub(crate) struct Verified {
    known: Mutex<Known>,
    /// Whoever holds it compares; others wait for what comes of it.
    comparing: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Known {
    last: Option<Duration>,
    /// How often the server told of a change.
    told: u64,
}

impl Verified {
    pub(crate) fn is_current(&self, now: Duration) -> bool {
        let known = self.known.lock().expect("no panic while it is held");
        known.last.is_some_and(|last| now.saturating_sub(last) < VERIFIED_FOR)
    }

    /// Whether they were compared for somebody who came after `now`.
    fn is_newer(&self, now: Duration) -> bool {
        let known = self.known.lock().expect("no panic while it is held");
        known.last.is_some_and(|last| last > now)
    }

    fn told(&self) -> u64 {
        self.known.lock().expect("no panic while it is held").told
    }

    /// The tools are as pinned, unless the server told of a change after `told`.
    fn mark(&self, now: Duration, told: u64) {
        let mut known = self.known.lock().expect("no panic while it is held");
        if known.told == told {
            known.last = Some(now);
        }
    }

    /// The next call compares again.
    pub(crate) fn forget(&self) {
        let mut known = self.known.lock().expect("no panic while it is held");
        *known = Known { last: None, told: known.told + 1 };
    }
}

/// What a server lists, each descriptor as it was received.
pub type Listed = BTreeMap<ToolName, Value>;

/// What a server lists to one client.
#[derive(Clone, Debug)]
pub struct Listing {
    /// The tools.
    pub tools: Listed,
    /// Whether that is all: a server may keep tools from a client of which it could not ask what
    /// they need.
    pub is_whole: bool,
}

/// Told what a server lists; records what is no longer what was pinned.
#[async_trait]
pub trait PinChange: Send + Sync {
    /// Compares `listing` with the pins of `server` and records every change durably. What is
    /// missing counts if it is whole.
    async fn note(&self, server: &ServerName, listing: Listing) -> Result<(), String>;
}

/// Everything that the server lists, all pages, and the room that it takes.
async fn listed(
    link: &Link,
    assertion: Option<String>,
) -> Result<(Listed, Option<Arriving>), LinkError> {
    let (mut tools, mut most, mut room) = (Listed::new(), LIST, None);
    let mut cursor = Value::Null;
    for _ in 0..PAGES_MAX {
        let mut params = serde_json::Map::new();
        if !cursor.is_null() {
            params.insert("cursor".to_owned(), cursor.clone());
        }
        if link.era == mcp::Era::Stateless {
            params.insert("_meta".to_owned(), crate::upstream::stateless_meta(Askable::NOTHING));
        }
        let params = serde_json::value::to_raw_value(&params).expect("a map with text keys");
        let asked = ("tools/list", most);
        let page = link.answer(asked, Some(&params), assertion.clone()).await?;
        most.read -= json::weight(&page);
        if !link.intake().has_room(&mut room, LIST.read - most.read) {
            return Err(LinkError::Unanswered);
        }
        let descriptors = page.get("tools").and_then(Value::as_array);
        let descriptors = descriptors.ok_or_else(|| LinkError::Garbled("no tools".to_owned()))?;
        for descriptor in descriptors {
            let name = descriptor.get("name").and_then(Value::as_str).unwrap_or_default();
            let name: ToolName =
                name.parse().map_err(|error| LinkError::Garbled(format!("{error}")))?;
            if tools.insert(name.clone(), descriptor.clone()).is_some() {
                return Err(LinkError::Garbled(format!("lists {name:?} twice")));
            }
            if tools.len() > TOOLS_MAX {
                return Err(too_many());
            }
        }
        cursor = page.get("nextCursor").cloned().unwrap_or_default();
        if cursor.is_null() {
            return Ok((tools, room));
        }
    }
    Err(too_many())
}

fn too_many() -> LinkError {
    LinkError::Garbled("lists more tools than can be".to_owned())
}

/// Reads what a server lists in a conversation of its own: what onboarding starts from.
pub async fn list_tools(
    gateway: &crate::Gateway,
    server: &ServerName,
    assert: bool,
) -> Result<Listed, crate::Refusal> {
    let conversation = gateway.open_for_onboarding(server, assert).await?;
    let tools = listed(&conversation.link, gateway.onboarding_assertion(server, assert)).await;
    conversation.close().await;
    Ok(tools?.0)
}

/// What a comparison needs besides the conversation.
pub(crate) struct Comparing<'a> {
    pub(crate) server: &'a ServerName,
    pub(crate) pins: &'a dyn PinChange,
    /// What the server is told at most that it may ask.
    pub(crate) declares: Askable,
    /// How long the server may take.
    pub(crate) within: Duration,
    /// The time, on the monotonic clock.
    pub(crate) now: Duration,
}

impl Conversation {
    /// Whether the tools were compared with their pins a moment ago.
    pub(crate) fn is_verified(&self, now: Duration) -> bool {
        self.verified.is_current(now)
    }

    /// Compares what the server lists with its pins, unless somebody just did and `again` is false.
    pub(crate) async fn verify(
        &self,
        comparing: Comparing<'_>,
        assertion: Option<String>,
        again: bool,
    ) -> Result<(), crate::Refusal> {
        let Comparing { server, pins, declares, within, now } = comparing;
        let one = tokio::time::timeout(within, self.verified.comparing.lock()).await;
        let _one = one.map_err(|_| crate::Refusal::TooMany("callers that list tools"))?;
        // What somebody compared who came later is as good as what would be compared now.
        if (!again && self.is_verified(now)) || self.verified.is_newer(now) {
            return Ok(());
        }
        let told = self.verified.told();
        let tools = tokio::time::timeout(within, listed(&self.link, assertion)).await;
        let tools = tools.unwrap_or(Err(LinkError::Unanswered));
        let noted = match tools {
            Ok((tools, _room)) => {
                let is_whole = self.link.era == mcp::Era::Stateless || self.declares == declares;
                let noted = pins.note(server, Listing { tools, is_whole }).await;
                noted.map_err(crate::Refusal::Unavailable)
            }
            Err(error) => Err(error.into()),
        };
        noted.inspect(|()| self.verified.mark(now, told))
    }
}

/// What the initial greeting of the session era looks like to a client, whatever the upstream.
pub(crate) fn initialize_result(about: &Value, era: mcp::Era, version: &str) -> Value {
    let mut result = match era {
        mcp::Era::Session => about.clone(),
        mcp::Era::Stateless => mcp::initialize_from_discover(about, version),
    };
    result["protocolVersion"] = json!(version);
    mcp::only_passed_on(result, mcp::Era::Session, era)
}
