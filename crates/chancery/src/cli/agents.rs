//! What can be typed of agents and their instances.

use std::path::PathBuf;

use anyhow::Context as _;
use clap::{Args, Subcommand, ValueEnum};
use model::Memory;
use pap::ClientRegistration;

use super::{AsOf, Signed, Socket};

/// Agents.
#[derive(Debug, Subcommand)]
pub(crate) enum Agent {
    /// Say that you answer for an agent that you sponsor, after your unit, manager, roles or eligible
    /// groups changed.
    Affirm {
        /// Its name.
        name: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Become the sponsor of an agent whose own answers for it no longer. What it was doing is over.
    TakeOver {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Register an agent and write its key once.
    Add {
        /// Its name.
        name: String,
        /// The one person who answers for it.
        #[arg(long)]
        sponsor: String,
        /// What for.
        #[arg(long)]
        purpose: String,
        #[command(flatten)]
        owners: Owners,
        /// Who is asked when the sponsor is gone, and may take over then. May stand three times.
        #[arg(long = "backup", value_name = "PERSON")]
        backups: Vec<String>,
        /// Where its key is written (0600); default: `NAME.pem` with the other keys of the
        /// deployment that `dev` runs, else beside the socket.
        #[arg(long)]
        key: Option<PathBuf>,
        /// It works on behalf of people only: without the initiation of a system it gets no token.
        #[arg(long)]
        on_behalf_only: bool,
        /// Its processes are to remember nothing of what they read under another mandate: in force once
        /// its technical owner answers for that (`agent memory`). Without it, whatever a process read marks
        /// all that it does.
        #[arg(long)]
        memory_per_task: bool,
        #[command(flatten)]
        client: ClientId,
        #[command(flatten)]
        attested: Attested,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say which processes of the service's host, and which workloads of platforms, may be instances
    /// of an agent: all of them at once. What is not said again is taken back.
    Attest {
        /// Its name.
        name: String,
        #[command(flatten)]
        attested: Attested,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say that an agent that you sponsor is to go on: its lease lasts for another 30 days, with its
    /// standing mandates if it has any, and its key vouches for another 90.
    Renew {
        /// Its name.
        name: String,
        /// Where to put a new key of the agent, which must not exist yet; without it the key stays.
        #[arg(long)]
        new_key: Option<PathBuf>,
        /// The last key is in other hands: what that alone vouched for is over, its calls under way too.
        #[arg(long, requires = "new_key")]
        compromised: bool,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Begin an agent anew that you sponsor and that lapsed because nobody answered its review. What it was
    /// doing stays over.
    Reinstate {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say which OAuth client people use as an agent over HTTP; without `--client-id`, none.
    Client {
        /// Its name.
        name: String,
        #[command(flatten)]
        client: ClientId,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say who wants an agent and who keeps it running; whoever is not named is who they were.
    Owners {
        /// Its name.
        name: String,
        /// Who wants what it does.
        #[arg(long)]
        business_owner: Option<String>,
        /// Who keeps it running.
        #[arg(long)]
        technical_owner: Option<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say how often, and when, the instances of an agent act: what is not said is not declared.
    Declare {
        /// Its name.
        name: String,
        /// The most that each asks for in one hour.
        #[arg(long, value_name = "NUMBER")]
        calls_an_hour: Option<u32>,
        /// The hours of the week in which they act, as in `mon-fri 08:00-18:00 +01:00`.
        #[arg(long)]
        hours: Option<String>,
        #[command(flatten)]
        socket: Socket,
    },
    /// Say what the processes of an agent remember. That they forget, its technical owner says alone, and
    /// answers for; that they remember all counts at once.
    Memory {
        /// Its name.
        name: String,
        /// What they remember.
        memory: Remembers,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// Suspend an agent.
    Suspend {
        /// Its name.
        name: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// List agents.
    List {
        #[command(flatten)]
        at: AsOf,
        #[command(flatten)]
        socket: Socket,
    },
}

/// The register.
#[derive(Debug, Subcommand)]
pub(crate) enum Register {
    /// Show agents, a line each, with what acts as them, who answers, and what is stopped.
    ///
    /// As of a time, the whole log is read once, a part at a time, for when instances had been seen last: how far that is
    /// is told meanwhile.
    Show {
        #[command(flatten)]
        at: AsOf,
        #[command(flatten)]
        socket: Socket,
    },
}

/// Who answers for an agent beside its sponsor: nobody does by not being named.
#[derive(Debug, Args)]
pub(crate) struct Owners {
    /// Who wants what it does.
    #[arg(long, value_name = "PERSON", required_unless_present = "owner")]
    business_owner: Option<String>,
    /// Who keeps it running.
    #[arg(long, value_name = "PERSON", required_unless_present = "owner")]
    technical_owner: Option<String>,
    /// Who wants what it does and keeps it running, where that is one person.
    #[arg(long, value_name = "PERSON", conflicts_with_all = ["business_owner", "technical_owner"])]
    owner: Option<String>,
}

/// What the processes of an agent remember from one task to the next.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub(crate) enum Remembers {
    /// Nothing of what they read under another mandate.
    PerTask,
    /// Whatever they ever read.
    Kept,
}

impl From<Remembers> for Memory {
    fn from(remembers: Remembers) -> Self {
        match remembers {
            Remembers::PerTask => Self::PerTask,
            Remembers::Kept => Self::Kept,
        }
    }
}

impl Owners {
    /// Who wants it, and who keeps it running.
    pub(crate) fn named(self) -> anyhow::Result<(String, String)> {
        let Self { business_owner, technical_owner, owner } = self;
        let business = business_owner.or_else(|| owner.clone());
        let both = business.zip(technical_owner.or(owner));
        both.context("name `--business-owner` and `--technical-owner`, or `--owner` for both")
    }
}

/// The OAuth client that people use as an agent over HTTP.
#[derive(Debug, Args)]
pub(crate) struct ClientId {
    /// Its `client_id`: the https URL of the document that describes it.
    #[arg(long, value_name = "URL")]
    pub(crate) client_id: Option<String>,
    /// It may be given tokens that are bound to no key: whoever has one can use it.
    #[arg(long, requires = "client_id")]
    pub(crate) bearer: bool,
}

impl ClientId {
    /// What is registered.
    pub(crate) fn registered(self) -> Option<ClientRegistration> {
        self.client_id.map(|id| ClientRegistration { id, bearer: self.bearer })
    }
}

/// Whose word counts that a process is an instance of an agent, beside the agent's key.
#[derive(Debug, Args)]
pub(crate) struct Attested {
    /// The user whose processes may be instances, by number.
    #[arg(long)]
    pub(crate) host_uid: Option<u32>,
    /// The program that they execute: its bytes as they are now.
    #[arg(long, requires = "host_uid")]
    pub(crate) host_exe: Option<PathBuf>,
    /// A workload that may be an instance, by the word of its platform: the issuer of its token (of a
    /// SPIFFE trust domain, `spiffe://TRUST-DOMAIN`), its subject, perhaps with `*` at its end, and
    /// claims that it has to have, `CLAIM=*` with whatever value. May stand several times.
    #[arg(long = "workload", value_name = "ISSUER=SUBJECT[,CLAIM=VALUE…]")]
    pub(crate) workloads: Vec<String>,
}

/// Instances.
#[derive(Debug, Subcommand)]
pub(crate) enum Instance {
    /// Revoke an instance.
    Revoke {
        /// Its id.
        id: String,
        /// Why.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Stop an instance until it is released; no new one of its agent may act meanwhile.
    Quarantine {
        /// Its id.
        id: String,
        /// What was seen.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        socket: Socket,
    },
    /// Let a quarantined instance act again, and new ones after it or after a revoked one.
    Release {
        /// Its id.
        id: String,
        /// What was found.
        #[arg(long)]
        reason: String,
        #[command(flatten)]
        signed: Signed,
        #[command(flatten)]
        socket: Socket,
    },
    /// List instances.
    List {
        #[command(flatten)]
        socket: Socket,
    },
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::Agent;

    #[derive(Debug, Parser)]
    struct Typed {
        #[command(subcommand)]
        agent: Agent,
    }

    /// Who wants, and who keeps running, what the arguments `more` register; or what is told of them.
    fn owners(more: &[&str]) -> Result<(String, String), String> {
        let typed = ["chancery", "add", "desk", "--sponsor", "sam", "--purpose", "work"];
        let typed = Typed::try_parse_from(typed.iter().chain(more));
        match typed.map_err(|error| error.to_string())?.agent {
            Agent::Add { owners, .. } => Ok(owners.named().expect("they are named")),
            other => panic!("{other:?} registers nothing"),
        }
    }

    #[test]
    fn r_12_an_agent_is_registered_with_owners_that_somebody_names() {
        let named = |business: &str, technical: &str| Ok((business.into(), technical.into()));
        let each = ["--business-owner", "bea", "--technical-owner", "tom"];
        assert_eq!(owners(&each), named("bea", "tom"));
        assert_eq!(owners(&["--owner", "ann"]), named("ann", "ann"));
        for (typed, missing) in [
            (&[][..], "--business-owner"),
            (&[][..], "--technical-owner"),
            (&each[..2], "--technical-owner"),
            (&each[2..], "--business-owner"),
        ] {
            let told = owners(typed).expect_err(missing);
            assert!(told.contains(&format!("{missing} <PERSON>")), "{told}");
        }
        assert!(owners(&[&each[..2], &["--owner", "ann"]].concat()).is_err(), "who is it?");
    }
}
