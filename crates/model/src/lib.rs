//! The vocabulary of Chancery: who acts, for whom, on what, and what is written down about it.
//!
//! Plain data and the rules that a value alone can answer (is this scope wider than that one?).
//! It knows no storage, no network, no clock and no randomness: time is a [`Timestamp`] that
//! somebody passes in, and ids are made from bytes that an [`Entropy`] gave.

mod access;
mod agent;
mod bounds;
mod budget;
mod commitment;
mod consent;
mod decision;
mod departure;
mod device;
mod digest;
mod directory;
mod elevation;
mod fact_key;
mod facts;
mod family;
mod finding;
mod founder;
mod host;
mod ids;
mod lease;
mod login_session;
mod marked;
mod names;
mod network;
mod object;
mod person;
mod process_memory;
mod provenance;
mod receiver;
pub mod record;
mod release;
mod review;
mod risk;
mod scope;
mod spelt;
mod stop;
mod stream;
mod system;
mod task;
mod time;
mod token_keys;
mod tool;
mod undo;
mod widening;
pub mod workload;
mod written;

pub use access::{AccessRequest, ActionName, Principal, ResourceRef};
pub use agent::{
    Agent, AgentState, Attestation, BACKUPS_MAX, Binding, Forgets, Instance, InstanceState,
    LEASE_MAX, Memory, PROPAGATION_MAX, RegisteredClient, Stopped,
};
pub use bounds::Bounds;
pub use budget::{Amount, InvalidAmount, Spend};
pub use commitment::{COMMITMENT_DOMAIN, Commitment, Salt, Salts};
pub use consent::{Agreed, AskedOf, Code, Consent, ConsentState, SentBy};
pub use decision::{
    Answer, Answers, Decision, Denial, Grant, KernelRule, Obligation, PolicyId, Remedy,
};
pub use departure::{Declared, Departed, Departure, WeekHours};
pub use device::{Device, DeviceAsked, DeviceState, Enrolled};
pub use digest::{
    ActDigest, ArgumentsDigest, MandateDigest, PinDigest, PolicyDigest, RecordDigest,
    SessionDigest, Sha256Digest, Thumbprint,
};
pub use directory::{
    DIRECTORY_TOKENS_MAX, Directory, DirectoryState, DirectoryToken, DirectoryTokens, Gives,
    LoginRule, LoginSubject, Provisioning, ScimResource,
};
pub use elevation::{
    ELEVATED_TOOLS_MAX, ELEVATION_MAX, ELEVATION_WAITS, ELEVATIONS_MAX, Elevated, Elevation,
    ElevationState,
};
pub use fact_key::{ACTIVATIONS, DATA_KEYS, FactKey, SHOWN, TAKEN, WAITING};
pub use facts::{
    AgentFacts, Delegator, Facts, Hop, LINE_MAX, PrincipalFacts, Revision, SessionFacts, Sourced,
    Standing, Succession,
};
pub use family::Family;
pub use finding::{CLAIM_MAX, Closed, Finding, Stranger, Told, claim};
pub use founder::{
    FORMER_KEYS_MAX, FOUNDER_WAITS, FormerKeys, FounderAsked, FounderChange, REKEY_ALONE_MIN,
};
pub use host::{Executable, HostProcess, HostRule, Source};
pub use ids::{
    ConsentId, DecisionId, ElevationId, Entropy, InstanceId, MandateId, ParseIdError, RecordId,
    ReviewId, TaskId,
};
pub use lease::{LeaseReminder, REMINDED_DAYS, Reminded, Reminder, SponsorLeft};
pub use login_session::{
    AUTHENTICATION_MAX, Authentication, ConsentSession, LoginSession, SESSION_OVER,
    SESSION_PEOPLE_MAX, SessionOver,
};
pub use marked::Marked;
pub use names::{
    AgentName, BudgetName, DataCategory, ElevationName, EnvironmentName, GroupName, InvalidName,
    Label, PersonId, PurposeId, RegionName, ServerName, SourceName, SystemName, ToolName, ToolRef,
    UnitName,
};
pub use network::network;
pub use object::{OBJECT_PATTERNS_MAX, OBJECTS_OF_CALL_MAX, ObjectPattern, Objects};
pub use person::{
    PeopleSource, PeopleVersion, Person, PersonState, SESSIONS_OVER_MAX, VERSION_STEP_MAX,
};
pub use process_memory::{ProcessMemory, REMEMBERED_TASKS_MAX};
pub use provenance::{Origin, Provenance};
pub use receiver::{
    Covers, Delivery, EventAlgorithm, LogPlace, Receiver, ReceiverKey, ReceiverStream, Recorded,
    Telling, TellingStatus, UnknownEventAlgorithm, Waiting,
};
pub use release::{
    Activation, Approval, Base, Release, ReleaseState, ReleaseTerms, Releases, SignedBy,
};
pub use review::{
    AgentReview, Certification, Certified, OpenReview, REVIEW_ITEMS_MAX, REVIEW_MAX, REVIEW_MIN,
    Review, ReviewWithdrawn, SETTLED_BEFORE,
};
pub use risk::{Rated, Risk, RiskLevel, RiskTarget, Risks};
pub use scope::{MAX_PATTERNS, Scope, ToolPattern};
pub use stop::{StartWish, Stop, StopTarget, Stops, WISH_LIFETIME};
pub use stream::{Heard, SignalMark, SignalRef, Speaker, Stream, StreamTells, Taken, TakenUntil};
pub use system::{InitiatingSystem, Initiator, SystemState};
pub use task::{
    DELEGATIONS_MAX, Delegation, Mandate, MandateBasis, Opens, Purpose, Task, TaskEnd, TaskState,
    TaskSubject, Withdrawn,
};
pub use time::{CLOCK_STEP_MAX, Clock, InvalidTime, Timestamp};
pub use token_keys::{RETIRED_FOR, RetiredTokenKey, TokenKeySet};
pub use tool::{Enforcement, Harm, Place, Server, Tool, ToolState};
pub use undo::{
    Changed, Gone, Mistake, Position, Suspended, UNDO_AGE_MAX, UNDO_WAITS, UNDONE_MAX, Undo,
    UndoState,
};
pub use widening::{ADMINISTRATORS, Due, ELIGIBLE_MAX, Stricter, WAITS_MAX, Waits, Widening};
pub use workload::{WorkloadIdentity, WorkloadRule, WorkloadRuleError};
