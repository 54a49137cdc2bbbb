//! Directories push who their people are, one change at a time (SCIM 2.0, RFC 7644), and register agents.
//!
//! INVARIANT: what a directory takes away counts at once, whatever else it asks for and whatever policy
//! says of that (`what_a_directory_takes_away_no_policy_keeps`); nobody is changed by a directory who
//! is not its own, nor with a token that was taken back before it came into force
//! (`what_is_under_way_with_a_token_that_is_taken_back_is_not_done`).

mod agents;
mod errors;
mod groups;
mod read;
mod registered;
mod shown;
mod users;
mod write;

use authority::Reader;
use model::{FactKey, ScimResource, Timestamp};
use scim::{Error, Resource};

pub use agents::AgentChange;
pub use groups::GroupChange;
pub use read::{Kind, Page, Place, SCANNED_MAX};
pub use registered::{DirectoryRegistration, KnownDirectory, NewToken};
pub use users::UserChange;

pub(crate) use errors::is_changed_meanwhile;
pub(crate) use read::group_name;
pub(crate) use registered::{ends_in_time, has_shown, named_in, shown_token};
pub(crate) use users::{is_active as is_user_active, restored_user};
pub(crate) use write::{Becomes, Done};

/// The resource at `key`, if there is one.
async fn stored(reader: &mut Reader<'_>, key: FactKey) -> Result<Option<ScimResource>, Error> {
    reader.find(key).await.map_err(errors::unavailable)
}

/// What is kept of `resource`, which was kept so `before`.
pub(crate) fn kept_of(
    before: Option<&ScimResource>,
    resource: Resource,
    now: Timestamp,
) -> ScimResource {
    let version = before.map_or(1, |before| before.version + 1);
    let created = before.map_or(now, |before| before.created);
    ScimResource { resource, version, created, modified: now }
}
