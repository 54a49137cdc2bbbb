//! Labels that only a result reveals: on the session before anything of the result is let go.
//!
//! A server that the policy set lets reveal labels names them in `_meta` of its results. They are added to
//! what its results carry anyway; nothing that a server says takes one off.

use std::collections::BTreeSet;

use model::{DecisionId, Label, Sha256Digest, TaskId};
use serde::Deserialize;
use serde_json::value::RawValue;

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
    /// What was heard, once what it reveals is on the session; it is withheld if that cannot be.
    pub(crate) async fn labelled(&self, heard: Heard, place: (TaskId, DecisionId)) -> Heard {
        let Heard::Result(result, _) = &heard else { return heard };
        let authority = &self.asker.authority;
        let may = authority.pip().policy().snapshot.labels().revealed_by(&self.asker.server);
        if may.is_empty() {
            return heard;
        }
        let labels = match read(result) {
            Some(labels) if labels.is_empty() => return heard,
            labels => labels.filter(|labels| labels.is_subset(&may)),
        };
        let withheld = Heard::Withheld(Sha256Digest::of(result.get().as_bytes()));
        let Some(labels) = labels else {
            tracing::warn!(server = %self.asker.server, "a result reveals what it may not");
            return withheld;
        };
        match Box::pin(authority.reveal(place, &labels)).await {
            Ok(()) => heard,
            Err(error) => {
                tracing::warn!(%error, "a result is withheld");
                withheld
            }
        }
    }
}

/// The labels that `result` reveals; nothing if they cannot be read.
fn read(result: &RawValue) -> Option<BTreeSet<Label>> {
    let Said { meta } = serde_json::from_str(result.get()).ok()?;
    Some(meta.map(|meta| meta.labels).unwrap_or_default())
}
