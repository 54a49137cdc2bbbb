//! Which kinds of credentials there are.

use serde::Serialize;

/// The kinds and the list of all of them, from one place: none is left out of it.
macro_rules! kinds {
    ($($(#[$told:meta])+ $kind:ident,)+) => {
        /// A kind of credential.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
        #[serde(rename_all = "snake_case")]
        pub enum CredentialKind {
            $($(#[$told])+ $kind,)+
        }

        impl CredentialKind {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$kind),+];
        }
    };
}

kinds! {
    /// The key of an agent.
    AgentKey,
    /// Refresh tokens of an OAuth client that follow each other.
    ClientFamily,
    /// What a person gave by their own word.
    Consent,
    /// A device that vouches for instances of an agent.
    Device,
    /// What a task may beyond its scope, or what somebody asked for that.
    Elevation,
    /// The process that is an instance of an agent.
    HostRule,
    /// What a system gave on behalf of a person.
    Initiation,
    /// An instance, with its key.
    Instance,
    /// A login of a person.
    Login,
    /// The OAuth client that is an agent.
    OauthClient,
    /// The sessions of a person at the pages for people.
    PageSessions,
    /// The key of a founder.
    PersonKey,
    /// What an agent was given that works for nobody.
    StandingMandate,
    /// The key of a system that starts work.
    SystemKey,
    /// A task.
    Task,
    /// An access token.
    Token,
    /// The workload that is an instance of an agent.
    WorkloadRule,
}
