//! Results that want input before the call goes on: what they ask of the client is governed.
//!
//! In the stateless era a server asks so (`input_required`, MCP 2026-07-28); in the session era it
//! may demand with an error that a URL is opened first (`-32042`). The client is told all of it or
//! nothing, and never a state of the server's: only ours around it.

use std::collections::BTreeSet;

use mcp::{Era, InputRequired};
use model::Sha256Digest;
use serde_json::value::RawValue;

use crate::ask::tell_all;
use crate::catalog::GovernedCall;
use crate::forward::{Heard, Way};
use crate::request_state::{SERVER_STATE_MAX, Waiting};

/// The most that one result may ask.
const REQUESTS_MAX: usize = 8;

impl Way {
    /// What was heard, once it is decided whether the client may be asked what it asks.
    pub(crate) async fn governed(&self, heard: Heard, act: &GovernedCall) -> Heard {
        match heard {
            Heard::Result(result, kind) if kind.is_incomplete && self.has_input_required() => {
                let digest = Sha256Digest::of(result.get().as_bytes());
                match self.input_required(&result, act).await {
                    Some(result) => Heard::InputRequired(result, digest),
                    None => Heard::NotAsked(digest),
                }
            }
            Heard::Error(error) => {
                let may_be_told = match mcp::demanded_elicitations(&error) {
                    Some(urls) => self.may_demand(urls).await,
                    None => true,
                };
                if may_be_told {
                    return Heard::Error(error);
                }
                Heard::NotAsked(Sha256Digest::of(error.get().as_bytes()))
            }
            other => other,
        }
    }

    /// Whether either side knows results that are not complete.
    fn has_input_required(&self) -> bool {
        (self.conversation.link.era, self.about.era) != (Era::Session, Era::Session)
    }

    /// The result as the client is told it, if it may be asked all that it asks.
    async fn input_required(&self, result: &RawValue, act: &GovernedCall) -> Option<Box<RawValue>> {
        let method = act.method.as_str();
        let is_known = (self.conversation.link.era, self.about.era)
            == (Era::Stateless, Era::Stateless)
            && ["tools/call", "prompts/get", "resources/read"].contains(&method);
        let wants = InputRequired::read(result).filter(|_| is_known)?;
        let state = wants.request_state.clone();
        let requests = wants.requests()?;
        let state_fits = state.as_ref().is_none_or(|state| state.len() <= SERVER_STATE_MAX);
        if requests.len() > REQUESTS_MAX || !state_fits {
            return None;
        }
        let asked: BTreeSet<String> = requests.keys().cloned().collect();
        let all = requests.into_values().map(|request| (request.method, request.params));
        if !self.may_ask(all).await {
            return None;
        }
        let (instance, server) = (self.asker.caller.instance, &self.asker.server);
        let waiting = Waiting { instance, server, method };
        let sealed = self.states.seal(&waiting, act.params.as_deref(), (state, asked))?;
        Some(wants.with_state(&sealed))
    }

    /// Whether the client may be told all the URLs that an error demands.
    async fn may_demand(&self, urls: Vec<Box<RawValue>>) -> bool {
        let is_session = self.about.era == Era::Session;
        let some = !urls.is_empty() && urls.len() <= REQUESTS_MAX;
        let all = urls.into_iter().map(|url| ("elicitation/create".to_owned(), Some(url)));
        is_session && some && self.may_ask(all).await
    }

    async fn may_ask(
        &self,
        all: impl Iterator<Item = (String, Option<Box<RawValue>>)> + Send,
    ) -> bool {
        let mut permits = Vec::new();
        for (method, params) in all {
            let Some(permit) = self.asker.permit(&method, params).await else { return false };
            permits.push(permit);
        }
        tell_all(permits, &self.asker.authority)
    }
}
