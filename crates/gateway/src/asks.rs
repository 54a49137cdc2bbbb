//! What a server asks while a call is under way: answered one by one, withdrawn with the call.

use std::collections::BTreeSet;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::stream::FuturesUnordered;
use futures::{FutureExt as _, StreamExt as _};
use mcp::Era;
use serde_json::value::RawValue;
use tokio_util::sync::CancellationToken;

use crate::assertion::Said as Asserted;
use crate::awaited::ClientAnswer;
use crate::forward::Way;
use crate::upstream::{self, ServerAsks};
use crate::way_back::Messages;

/// The most that a server may ask on account of one call before something of it is answered.
const AT_ONCE_MAX: usize = 8;

/// The most that a server may ask on account of one call.
const OF_A_CALL_MAX: usize = 100;

/// The most answers that wait to be taken by the server before it is listened to again.
const REPLIES_WAITING_MAX: usize = 32;

/// What the server of one call asks of its client.
pub(crate) struct Asks<'a> {
    way: &'a Way,
    asserted: Asserted,
    messages: &'a Messages,
    /// None for most calls, of which nothing is asked.
    begun: Option<Box<Begun<'a>>>,
}

/// What was asked.
#[derive(Default)]
struct Begun<'a> {
    under_way: FuturesUnordered<BoxFuture<'a, ()>>,
    /// The ids that the server gave, as JSON text, and what withdraws each.
    withdrawals: Vec<(String, CancellationToken)>,
    /// The call has ended.
    ended: CancellationToken,
}

impl<'a> Asks<'a> {
    pub(crate) fn new(way: &'a Way, asserted: Asserted, messages: &'a Messages) -> Self {
        Self { way, asserted, messages, begun: None }
    }

    /// Whether the server is listened to.
    pub(crate) fn has_room(&self) -> bool {
        self.begun.as_ref().is_none_or(|begun| begun.under_way.len() < REPLIES_WAITING_MAX)
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.begun.as_ref().is_none_or(|begun| begun.under_way.is_empty())
    }

    /// Goes on with what is asked until one of it is done.
    pub(crate) async fn next(&mut self) {
        if let Some(begun) = &mut self.begun {
            begun.under_way.next().await;
        }
    }

    /// Begins to answer `asks`.
    pub(crate) fn begin(&mut self, asks: ServerAsks) {
        let begun = self.begun.get_or_insert_default();
        let at_once = begun.under_way.len() >= AT_ONCE_MAX;
        let too_much = at_once || begun.withdrawals.len() >= OF_A_CALL_MAX;
        let ServerAsks { id, method, params } = asks;
        let is_large = params.as_ref().is_some_and(|params| params.get().len() > mcp::ASKED_MAX);
        // In the stateless era clients are not asked on the stream of a call.
        let is_refused = too_much || is_large || self.way.about.era == Era::Stateless;
        // Of what is not asked nothing is kept until the server has taken the answer.
        let params = params.filter(|_| !is_refused && method != "ping");
        let (ended, withdrawn) = (begun.ended.clone(), CancellationToken::new());
        if !is_refused && method != "ping" {
            begun.withdrawals.push((id.get().to_owned(), withdrawn.clone()));
        }
        let (way, asserted, messages) = (self.way, self.asserted, self.messages.clone());
        let answering = async move {
            let answer = match method.as_str() {
                "ping" => upstream::pong(&id),
                method if is_refused => {
                    way.asker.refuse(upstream::cause(method));
                    upstream::refusal(&id)
                }
                method => {
                    let asked = Box::pin(way.ask(method, params, messages));
                    let asked = withdrawn.run_until_cancelled(asked);
                    match ended.run_until_cancelled(asked).await.flatten().flatten() {
                        Some(answer) => upstream::answer(&id, &answer),
                        None => upstream::refusal(&id),
                    }
                }
            };
            // What a server withdrew wants no answer.
            if !withdrawn.is_cancelled() {
                way.conversation.link.reply(answer, way.assertion(asserted)).await;
            }
        };
        begun.under_way.push(answering.boxed());
    }

    /// The call has ended: clients are asked no more, and the server is told so.
    pub(crate) async fn end(self, within: Duration) {
        let Some(mut begun) = self.begun else { return };
        begun.ended.cancel();
        let all = async { while begun.under_way.next().await.is_some() {} };
        // A server that does not listen need not be told.
        let _ = tokio::time::timeout(within, all).await;
    }

    /// The server no longer asks what it asked under `id`.
    pub(crate) fn withdraw(&self, id: &str) {
        let all = self.begun.iter().flat_map(|begun| &begun.withdrawals);
        let same = all.filter(|(known, _)| known == id);
        same.for_each(|(_, withdrawn)| withdrawn.cancel());
    }
}

impl Way {
    /// What the client answers, if it may be asked and does.
    async fn ask(
        &self,
        method: &str,
        params: Option<Box<RawValue>>,
        messages: Messages,
    ) -> Option<ClientAnswer> {
        if !self.is_marked(&BTreeSet::new()).await {
            return None;
        }
        let permit = self.asker.permit(method, params).await?;
        self.asker.deliver(permit, messages).await
    }
}
