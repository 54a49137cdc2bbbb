//! The one question: may this happen? Gathers the facts, decides, records, and only then answers.
//!
//! [`Authority::authorize`] turns a governed act into a [`Permit`] for it, or into a recorded
//! denial; nothing else makes a permit. Every enforcement point asks here, so that one question
//! has one answer and one record. It knows no protocol and performs no act.
//!
//! INVARIANT: no permit without a durable decision record (`i_02_…`), and whatever is missing,
//! late, broken or erroneous is a denial.

mod accounts;
mod administer;
mod answering;
mod attested;
mod authorize;
mod beginning;
mod changes;
mod clock_guard;
mod committing;
mod compiling;
mod counted;
mod departures;
mod elevations;
mod ending;
mod expiring;
mod findings;
mod followers;
mod forgetting;
mod handed_to;
mod in_force;
mod known;
mod known_calls;
mod labels;
mod last_seen;
mod leading;
mod leases;
mod making;
mod memory;
mod observing;
mod outcomes;
mod permit;
mod pip;
mod provenance;
mod quarantine;
mod reader;
mod records;
mod recover;
mod refusals;
mod replayed;
mod reserved;
mod shown;
mod standing;
mod steady_clock;
mod telling;
mod unknown;
mod watch;

pub use administer::{AdminAct, Administered, ChangedBy, NotAdministered};
pub use authorize::{Authority, Limits, NotPermitted, Parts, REVIEW_INTERVAL};
pub use beginning::{AtRest, may_begin};
pub use clock_guard::{CLOCK_TRUST_AFTER, ClockGuard, ClockUnsure};
pub use compiling::SharedCompiler;
pub use counted::{UsedBy, limits_of_calls, opening, used};
pub use elevations::elevations;
pub use ending::Ending;
pub use expiring::{ENDED_AT_ONCE, Expiring, TASKS_AT_ONCE};
pub use findings::{
    ADMINISTRATORS, FINDINGS_OF_NOBODY_MAX, FINDINGS_OF_SOURCE_MAX, FINDINGS_OPEN_MAX,
    FindingKeeper, FindingNumbers, STRANGERS_WAITING_MAX,
};
pub use forgetting::{COUNTERS_AT_ONCE, Forgetting};
pub use in_force::{Activating, PolicyInForce};
pub use known::Fact;
pub use labels::{Coming, Flowing, KEPT_NAMES_MAX, Marking, NotJoined};
pub use leading::{Decided, Next};
pub use leases::{LeaseKeeper, LeaseNumbers};
pub use observing::{Observation, observed_set, was_answered};
pub use outcomes::{OUTCOMES_OPEN_MAX, OutcomeWriter};
pub use permit::{
    Actor, BEGIN_WITHIN, Begun, Circumstances, Entailed, Governed, NotStarted, Permit,
    PermitContext, Running, ShownToken,
};
pub use pip::{FactsError, Gathered, Pip};
pub use provenance::{Answered, SAID_MAX};
pub use quarantine::{NotStopped, Signal};
pub use reader::{Pages, Reader, all, all_as_of};
pub use records::resource_text;
pub use recover::recover;
pub use refusals::{PointAndCause, REFUSALS_PER_SECOND_MAX, RefusalLog, Refused, Stamp, event};
pub use reserved::{Reserved, Settling};
pub use shown::{HUMAN_CREDENTIAL, Shown};
pub use standing::{delegators, heard, initiator, read_standing, sharing};
pub use steady_clock::SteadyClock;
pub use telling::{Messenger, News};
pub use watch::{Cut, Watch};

// Edges record what follows from their acts, and name what asking uses up; they do not name the
// journal or the store.
pub use journal::{DataKey, entry};
pub use store::{
    CommitError, CounterKey, Effect, LogEntry, NewEntry, NotKept, Once, OnceScope, Unit, Urgency,
};
