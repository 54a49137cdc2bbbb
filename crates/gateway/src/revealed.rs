//! Labels that only a result reveals, and what it says: on the session before anything of the result is let go.
//!
//! A server that the policy set lets reveal labels names them in `_meta` of its results. They are added to
//! what its results carry anyway; nothing that a server says takes one off. What was taken off while the
//! call was under way is on again before anything of it is let go.

use std::collections::BTreeSet;
use std::sync::atomic::Ordering;

use authority::{Answered, Governed as _};
use model::{Label, Sha256Digest};
use serde::Deserialize;
use serde_json::value::RawValue;

use crate::ask::Asker;
use crate::catalog::GovernedCall;
use crate::forward::{Heard, Way};

/// What a result says of itself.
#[derive(Deserialize)]
struct Said {
    #[serde(rename = "_meta", default)]
    meta: Option<Meta>,
}

#[derive(Deserialize)]
struct Meta {
    #[serde(rename = "chancery/labels", default)]
    labels: BTreeSet<Label>,
}

impl Way {
    /// What was heard, once what it carries and reveals is on the session; it is withheld if that cannot be.
    pub(crate) async fn labelled(&self, heard: Heard, act: &GovernedCall) -> Heard {
        let (answer, revealed) = match &heard {
            Heard::Result(result, _) => (result, self.revealed(result)),
            Heard::Error(error) => (error, Some(BTreeSet::new())),
            _ => return heard,
        };
        let withheld = Heard::Withheld(Sha256Digest::of(answer.get().as_bytes()));
        let Some(labels) = revealed else {
            tracing::warn!(server = %self.asker.server, "a result reveals what it may not");
            return withheld;
        };
        let is_on = match self.marked(&labels).await {
            Some(labels) => self.is_remembered((&labels, answer), act).await,
            None => false,
        };
        if is_on { heard } else { withheld }
    }

    /// Whether what `answer` says is remembered, if policy looks at that.
    async fn is_remembered(
        &self,
        (labels, answer): (&BTreeSet<Label>, &RawValue),
        act: &GovernedCall,
    ) -> bool {
        let Asker { authority, marking, is_prompted, .. } = &self.asker;
        let answered = Answered {
            request: act.request(),
            told: act.params.as_deref().map_or("{}", RawValue::get),
            is_prompted: is_prompted.load(Ordering::Acquire),
            answer: answer.get(),
        };
        let remembered = Box::pin(authority.remember((marking, labels), answered)).await;
        remembered.inspect_err(|error| tracing::warn!(%error, "an answer is withheld")).is_ok()
    }

    /// Whether the session is marked with what the call carries and with `labels`, so that something of it
    /// may be let go.
    pub(crate) async fn is_marked(&self, labels: &BTreeSet<Label>) -> bool {
        self.marked(labels).await.is_some()
    }

    /// All that the session is marked with of the call, and with `labels`; none if it cannot be.
    async fn marked(&self, labels: &BTreeSet<Label>) -> Option<BTreeSet<Label>> {
        let Asker { authority, marking, .. } = &self.asker;
        let marked = Box::pin(authority.reveal(marking, labels)).await;
        marked.inspect_err(|error| tracing::warn!(%error, "an answer is withheld")).ok()
    }

    /// What `result` reveals; nothing if that cannot be read, or is what its server may not reveal.
    fn revealed(&self, result: &RawValue) -> Option<BTreeSet<Label>> {
        let Asker { authority, marking, server, .. } = &self.asker;
        let may = authority.revealable(marking, server);
        if may.is_empty() {
            return Some(may);
        }
        read(result).filter(|labels| labels.is_subset(&may))
    }
}

/// The labels that `result` reveals; nothing if they cannot be read.
fn read(result: &RawValue) -> Option<BTreeSet<Label>> {
    let Said { meta } = serde_json::from_str(result.get()).ok()?;
    Some(meta.map(|meta| meta.labels).unwrap_or_default())
}
