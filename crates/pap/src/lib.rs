//! Policy administration: people, purposes, agents, devices, servers, tools, policy, and reading the
//! log.
//!
//! Every act goes through [`authority::Authority::administer`]: it is decided by the policy set in
//! force, and its record and its change are one transaction (`i_22_…`). It knows no HTTP and starts
//! no process: what a server lists is read by somebody else.

mod asked;
mod budgets;
mod cases;
mod clients;
mod command;
mod consent;
mod device;
pub mod directory;
mod drill;
mod elevations;
mod explain;
mod findings;
mod flips;
mod founders;
mod founding;
mod heard;
mod instances;
mod isolation;
mod labels;
mod lease;
mod log;
mod logged_in;
mod loose;
mod offboard;
mod origin;
mod owed;
mod owners;
mod past;
mod people;
mod policy;
mod purposes;
mod reach;
mod recall;
pub mod receivers;
mod register;
mod release;
mod replay;
mod review;
mod risk;
mod said;
mod sent;
mod silent;
mod sponsor;
mod stop;
pub mod streams;
mod suggest;
mod systems;
mod tasks;
mod token_keys;
mod tools;
mod undo;
mod used_up;
mod walk;
mod widening;
mod words;

pub use asked::Command;
pub use authority::ADMINISTRATORS;
pub use cases::{
    CaseError, CaseFile, CaseResult, CaseTool, STARTER_CASES, TOOLS_FILE, Tools, ask, bundle,
    chained, plain, posed, read_cases, read_tools, tool_lines,
};
pub use clients::ClientRegistration;
pub use command::{AdminError, Administration};
pub use consent::{Answer, Answered, Given, Reply, Shown, Terms};
pub use csv::TABLE_MAX as REVIEW_FILE_MAX;
pub use directory::{DirectoryRegistration, NewToken};
pub use drill::{
    DRILL_ROWS_MAX, DrillMeasured, DrillRow, DrillSignal, LAST_EFFECT_MAX_MS, verdict,
};
pub use elevations::ElevationAsked;
pub use flips::PolicyFiles;
pub use founders::FounderSaid;
pub use founding::{BOOTSTRAP, Founder, Founding, found, is_for_development, is_founded};
pub use heard::SILENCE;
pub use lease::NewKey;
pub use logged_in::By;
pub use oauth::people::FILE_MAX as PEOPLE_FILE_MAX;
pub use offboard::{CREDENTIALS_MAX, CredentialKind};
pub use people::SourceKey;
pub use policy::{Content, PublishError, Publisher};
pub use receivers::ReceiverRegistration;
pub use release::{
    PolicyKey, RELEASE_BRIEF, ReleaseAsked, Unsound, observed_release, release_at_start,
};
pub use review::{ReviewAsked, ReviewFormat};
pub use said::{PurposeRegistration, PurposeSaid, Registration, ServerSaid, ToolSaid};
pub use sponsor::{REASON_MAX, SPONSORED_MAX, Sponsored, Stands};
pub use streams::{ManagedAct, StreamAnswered, StreamManaged, StreamRegistration};
pub use systems::SystemRegistration;
pub use token_keys::{KeptTokenKeys, WrittenKeys};
pub use tools::{Found, ToolSource, pin_digest};
pub use undo::UndoAsked;
pub use widening::WideningSaid;
