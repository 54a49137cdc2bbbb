//! Results that want input before the call goes on: what they ask of the client is governed.
//!
//! In the stateless era a server asks so (`input_required`, MCP 2026-07-28); in the session era it
//! may demand with an error that a URL is opened first (`-32042`). The client is told all of it or
//! nothing, and never a state of the server's: only ours around it. A client of the session era is
//! asked by us what a server of the stateless era wants to know, while its call waits.

use std::collections::BTreeMap;
use std::sync::Arc;

use authority::{Governed as _, Permit};
use mcp::{Era, InputRequest, InputRequired};
use model::Sha256Digest;
use serde_json::value::RawValue;

use crate::ask::{ServerAct, tell_all};
use crate::catalog::GovernedCall;
use crate::forward::{Heard, Way};
use crate::request_state::{RESPONSES, SERVER_STATE_MAX, STATE, Waiting};
use crate::room::Kept;
use crate::translate;
use crate::way_back::Messages;

/// The most that one result may ask.
const REQUESTS_MAX: usize = 8;

impl Way {
    /// What was heard, once it is decided whether the client may be asked what it asks.
    pub(crate) async fn governed(&self, heard: Heard, act: &GovernedCall) -> Heard {
        match heard {
            Heard::Result(result, kind) if kind.is_incomplete && self.has_input_required() => {
                let digest = Sha256Digest::of(result.get().as_bytes());
                match Box::pin(self.input_required(&result, act)).await {
                    Some(result) => Heard::InputRequired(result, digest),
                    None => Heard::NotAsked(digest),
                }
            }
            Heard::Error(error) => {
                let may_be_told = match mcp::demanded_elicitations(&error) {
                    Some(urls) => Box::pin(self.may_demand(urls)).await,
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
        let both = (self.conversation.link.era, self.about.era) == (Era::Stateless, Era::Stateless);
        let (wants, requests) = read(result).filter(|_| both && has_input(act))?;
        let (names, asks): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let asks = asks.into_iter().map(|request| (request.method, request.params));
        let permits = self.permits(asks).await?;
        let inputs = permits.iter().map(|permit| permit.act().request().input.clone());
        let asked: BTreeMap<_, _> = names.into_iter().zip(inputs).collect();
        if !tell_all(permits, &self.asker.authority) {
            return None;
        }
        let (instance, server) = (self.asker.caller.instance, &self.asker.server);
        let waiting = Waiting { instance, server, method: act.method.as_str() };
        let state = (wants.request_state.clone(), asked);
        let sealed = self.states.seal(&waiting, act.params.as_deref(), state)?;
        Some(wants.with_state(&sealed))
    }

    /// The result in `heard` that a server of the stateless era wants input by, of whose client, of
    /// the session era, we ask it.
    pub(crate) fn asks_through_us<'a>(
        &self,
        heard: &'a Heard,
        act: &GovernedCall,
    ) -> Option<&'a RawValue> {
        let Heard::Result(result, kind) = heard else { return None };
        let eras = (self.conversation.link.era, self.about.era);
        let through_us = kind.is_incomplete && eras == (Era::Stateless, Era::Session);
        (through_us && has_input(act)).then_some(result.as_ref())
    }

    /// The parameters by which the call goes on: `params` with what the client answers to all that
    /// `result` asks, and the server's state, which no client sees; and the room that the answers take.
    /// Nothing if it may not be asked all of it, or does not answer all of it.
    pub(crate) async fn answered(
        &self,
        result: &RawValue,
        params: Option<&RawValue>,
        messages: &Messages,
    ) -> Option<(Box<RawValue>, Vec<Option<Arc<Kept>>>)> {
        let (wants, requests) = read(result)?;
        if requests.is_empty() {
            return None;
        }
        let (names, asks): (Vec<_>, Vec<_>) = requests.into_iter().unzip();
        let asks = asks.into_iter().map(|request| (request.method, request.params));
        let permits = self.permits(asks).await?.into_iter();
        let answers = permits.map(async |permit| {
            let answer = self.asker.deliver(permit, messages.clone()).await;
            answer.filter(|answer| answer.said.is_ok()).ok_or(())
        });
        // One that is not answered withdraws the others.
        let answers = futures::future::try_join_all(answers).await.ok()?;
        let said: Option<Vec<_>> = answers.iter().map(|answer| answer.said.as_ref().ok()).collect();
        let said: BTreeMap<String, &Box<RawValue>> = names.into_iter().zip(said?).collect();
        let responses = serde_json::value::to_raw_value(&said).ok()?;
        let state = serde_json::value::to_raw_value(&wants.request_state).ok()?;
        let state = wants.request_state.is_some().then_some(state);
        let more = [(RESPONSES, Some(responses)), (STATE, state)];
        let rooms = answers.into_iter().map(|answer| answer.room).collect();
        Some((translate::with_members(params, more).ok()?, rooms))
    }

    /// Whether the client may be told all the URLs that an error demands.
    async fn may_demand(&self, urls: Vec<Box<RawValue>>) -> bool {
        let is_session = self.about.era == Era::Session;
        let some = !urls.is_empty() && urls.len() <= REQUESTS_MAX;
        let all = urls.into_iter().map(|url| ("elicitation/create".to_owned(), Some(url)));
        if !is_session || !some {
            return false;
        }
        let permits = self.permits(all).await;
        permits.is_some_and(|permits| tell_all(permits, &self.asker.authority))
    }

    /// A permit for each of `all`, or none.
    async fn permits(
        &self,
        all: impl Iterator<Item = (String, Option<Box<RawValue>>)> + Send,
    ) -> Option<Vec<Permit<ServerAct>>> {
        let mut permits = Vec::new();
        for (method, params) in all {
            permits.push(self.asker.permit(&method, params).await?);
        }
        Some(permits)
    }
}

/// Whether a call of this method may wait for input.
fn has_input(act: &GovernedCall) -> bool {
    ["tools/call", "prompts/get", "resources/read"].contains(&act.method.as_str())
}

/// What `result` asks, within its limits.
fn read(result: &RawValue) -> Option<(InputRequired, BTreeMap<String, InputRequest>)> {
    let wants = InputRequired::read(result)?;
    let requests = wants.requests()?;
    let state = wants.request_state.as_ref().map_or(0, String::len);
    (requests.len() <= REQUESTS_MAX && state <= SERVER_STATE_MAX).then_some((wants, requests))
}
