//! Attested workload identity: SPIFFE IDs, rules.

use model::{WorkloadIdentity, WorkloadRule};
use workload::SpiffeId;

/// The SPIFFE ID of a workload: its trust domain, and a path without steps.
pub fn spiffe_id(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let Ok(id) = SpiffeId::parse(text) else { return false };
    assert_eq!(id.as_str(), text);
    let path = text.strip_prefix(&id.trust_domain().id()).expect("it begins with its domain");
    let segments = path.strip_prefix('/').expect("it has a path");
    assert!(segments.split('/').all(|segment| !["", ".", ".."].contains(&segment)));
    true
}

/// A rule: written back as it was read, and nobody but its issuer's is admitted.
pub fn rule(bytes: &[u8]) -> bool {
    let Ok(rule) = serde_json::from_slice::<WorkloadRule>(bytes) else { return false };
    let written = serde_json::to_vec(&rule).expect("a rule is JSON");
    assert_eq!(serde_json::from_slice::<WorkloadRule>(&written).expect("it is one"), rule);
    let (issuer, subject) = (format!("{}x", rule.issuer()), rule.subject().to_owned());
    let other = WorkloadIdentity { issuer, subject, claims: [].into() };
    assert!(!rule.admits(&other), "another issuer's is admitted");
    true
}
