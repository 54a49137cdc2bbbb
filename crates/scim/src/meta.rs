//! What the provider says of a resource: `id`, `meta` and its version (RFC 7643 §3.1, RFC 7644 §3.14).

use std::fmt;

use jiff::Timestamp;
use serde_json::json;

use crate::{Resource, ResourceType};

/// The version of a resource: a number that grows with each change, told as a weak entity tag
/// (RFC 7644 §3.14, RFC 9110 §8.8.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version(pub u64);

/// What the provider knows of a resource (RFC 7643 §3.1).
#[derive(Clone, Copy, Debug)]
pub struct Meta<'a> {
    /// The type of the resource.
    pub of: &'static ResourceType,
    /// When it was added, in milliseconds since the Unix epoch.
    pub created_ms: i64,
    /// When it was last changed, in milliseconds since the Unix epoch.
    pub last_modified_ms: i64,
    /// Its version.
    pub version: Version,
    /// Its URL, as [`ResourceType::location`] makes it.
    pub location: &'a str,
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "W/\"{}\"", self.0)
    }
}

impl Version {
    /// Whether `header` names it: an `If-Match` or `If-None-Match`, a list of entity tags or `*`
    /// (RFC 9110 §13.1.1, §13.1.2). Tags are compared weakly, as RFC 7644 §3.14 needs it.
    pub fn is_in(self, header: &str) -> bool {
        let own = format!("\"{}\"", self.0);
        let is_own = |tag: &str| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == own;
        header.split(',').map(str::trim).any(is_own)
    }
}

impl Meta<'_> {
    /// Puts the `id` of `resource` and this into it.
    #[must_use]
    pub fn complete(&self, id: &str, mut resource: Resource) -> Resource {
        let meta = json!({
            "resourceType": self.of.name(),
            "created": time(self.created_ms),
            "lastModified": time(self.last_modified_ms),
            "version": self.version.to_string(),
            "location": self.location,
        });
        resource.insert("id".to_owned(), id.into());
        resource.insert("meta".to_owned(), meta);
        resource
    }
}

/// The point `millis` as RFC 3339 has it, with milliseconds; what lies beyond all calendars is their
/// end.
fn time(millis: i64) -> String {
    let end = if millis < 0 { Timestamp::MIN } else { Timestamp::MAX };
    let at = Timestamp::from_millisecond(millis).unwrap_or(end);
    format!("{at:.3}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::USER;

    #[test]
    fn a_resource_is_completed_from_given_values() {
        let location = USER.location("https://scim.example/v2", "u1");
        let meta = Meta {
            of: &USER,
            created_ms: 1_800_000_000_000,
            last_modified_ms: i64::MAX,
            version: Version(3),
            location: &location,
        };
        let whole = meta.complete("u1", Resource::new());
        assert_eq!(
            serde_json::Value::Object(whole),
            json!({ "id": "u1", "meta": {
                "resourceType": "User",
                "created": "2027-01-15T08:00:00.000Z",
                "lastModified": "9999-12-30T22:00:00.999Z",
                "version": "W/\"3\"",
                "location": "https://scim.example/v2/Users/u1",
            }})
        );
    }

    #[test]
    fn a_version_is_found_among_entity_tags() {
        let check =
            |header: &str, expected| assert_eq!(Version(3).is_in(header), expected, "{header}");
        check("W/\"3\"", true);
        check("\"3\"", true);
        check("*", true);
        check("W/\"2\", W/\"3\"", true);
        check("W/\"33\"", false);
        check("3", false);
        check("", false);
    }
}
