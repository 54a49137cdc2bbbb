//! SCIM 2.0 as a service provider speaks it (RFC 7643, RFC 7644): resources, filters, PATCH, and
//! what describes the provider.
//!
//! [`ResourceType::read`] turns what a client sent into a [`Resource`]: its attributes are spelt as
//! the schema spells them, are of the schema's types, and are the client's to write. [`Filter`] and
//! [`Patch`] are read for one resource type, so that whatever cannot be compared or written there is
//! refused before a resource is looked at. What identity providers send beside the RFCs, and is
//! taken all the same, is told at [`Patch`] and [`Filter`].
//!
//! INVARIANT: a [`Resource`] that [`ResourceType::read`] or [`Patch::apply`] made holds no password.
//!
//! It knows no IO, no clock and no store: ids, times and versions are given.

mod discovery;
mod error;
mod filter;
mod meta;
mod patch;
mod projection;
mod query;
mod read;
mod schema;

use serde_json::{Map, Value};

pub use discovery::{
    TYPES, resource_type, resource_types, schema, schemas, service_provider_config,
};
pub use error::{Error, ScimType};
pub use filter::{Equality, Filter, fold};
pub use meta::{Meta, Version};
pub use patch::Patch;
pub use projection::Projection;
pub use query::{ListResponse, Query};
pub use schema::{AGENT, GOVERNANCE, GROUP, ResourceType, USER};

/// A resource: its attributes by their names, those of an extension below its URN (RFC 7643 §3).
pub type Resource = Map<String, Value>;

/// The media type of requests and responses (RFC 7644 §3.1).
pub const MEDIA_TYPE: &str = "application/scim+json";

/// The longest filter, and the longest path of a PATCH operation, in bytes.
pub const FILTER_BYTES_MAX: usize = 2_048;

/// The most levels of a filter: each `not`, value path and change between `and` and `or` is one.
pub const FILTER_DEPTH_MAX: usize = 8;

/// The most comparisons and presence tests of a filter.
pub const FILTER_TERMS_MAX: usize = 32;

/// The most operations of a PATCH request.
pub const OPERATIONS_MAX: usize = 100;

/// The longest string, in characters.
pub const STRING_CHARS_MAX: usize = 1_024;

/// The longest binary value, in characters of its base64: a certificate with a large key fits.
pub const BINARY_CHARS_MAX: usize = 4_096;

/// The most values of a multi-valued attribute, but for a group's members.
pub const VALUES_MAX: usize = 32;

/// The most members of a group that one request may name.
pub const MEMBERS_MAX: usize = 1_000;

/// The largest resource, in bytes of its JSON, without a group's members.
pub const RESOURCE_BYTES_MAX: usize = 16 * 1_024;

/// The most names in `attributes` or `excludedAttributes`.
pub const NAMES_MAX: usize = 64;

/// The most resources of one page, and how many there are when the client names no count.
pub const PAGE_MAX: usize = 200;
