//! What a server is told that it may ask: what its client declares and policy could permit, so that
//! a server that can do without asking still does.

use mcp::{Ask, Askable};
use model::ServerName;

use crate::ask;
use crate::call::Gateway;
use crate::catalog::{self, Route};
use crate::entry::Passage;
use crate::refusal::Refusal;

impl Gateway {
    /// What of `askable` policy could permit the server to ask this caller: what it is told that it
    /// may ask.
    pub(crate) async fn could_ask(
        &self,
        passage: &Passage<'_>,
        askable: Askable,
    ) -> Result<Askable, Refusal> {
        let most = self.most_declared(&passage.server, passage.route);
        let could = async |is_asked: bool, ask: Ask| -> Result<bool, Refusal> {
            if !is_asked {
                return Ok(false);
            }
            let question = ask::question(&passage.caller, &passage.server, &ask, None);
            let circumstances =
                catalog::circumstances(&passage.caller, Vec::new(), passage.arrived);
            self.in_time(self.authority.could_permit(&question, &circumstances)).await
        };
        let sampling = most.sampling && askable.sampling;
        let sampling = could(sampling, Ask::Sampling { tools: false }).await?;
        let mut url = false;
        for host in &passage.route.elicitation_hosts {
            let ask = Ask::Url { host: host.clone() };
            url = url || could(most.url && askable.url, ask).await?;
        }
        Ok(Askable {
            sampling,
            sampling_tools: sampling && askable.sampling_tools,
            form: could(most.form && askable.form, Ask::Form).await?,
            url,
            roots: could(most.roots && askable.roots, Ask::Roots).await?,
        })
    }

    /// What `server` is told at most that it may ask: nothing, unless some policy lets it ask; and
    /// nothing where all callers share a process, as what that asks is on account of none.
    pub(crate) fn most_declared(&self, server: &ServerName, route: &Route) -> Askable {
        let policy = self.authority.pip().policy();
        if route.target.is_shared() || !policy.snapshot.lets_ask(server) {
            return Askable::NOTHING;
        }
        Askable { url: !route.elicitation_hosts.is_empty(), ..Askable::ALL }
    }
}
