//! What is said of a refusal: its code stays, and its text is one line that names no value.

use oauth::jws::JwsError;

use crate::VerifyError;

fn check(error: VerifyError, code: &str, text: &str) {
    assert_eq!((error.code(), error.to_string().as_str()), (code, text));
    let may_pass = ["unknown_key", "key_unasked", "not_yet", "keys_unavailable"].contains(&code);
    assert_eq!(error.may_pass(), may_pass, "{code}");
}

#[test]
fn codes_and_texts_of_refusals_stay() {
    let unreadable = VerifyError::Unreadable(JwsError::NotCompact);
    check(unreadable, "unreadable", "the token cannot be read");
    let other = "the token's header has a member that those of JWT-SVIDs do not have";
    check(VerifyError::HeaderMember, "header_member", other);
    let other = "the claim `cnf` says that the token is of another kind";
    check(VerifyError::OtherKind("cnf"), "other_kind", other);
    let algorithm = "the token's algorithm is not allowed for its issuer or key";
    check(VerifyError::Algorithm, "algorithm", algorithm);
    let foreign = "the token's issuer is not configured";
    check(VerifyError::ForeignIssuer, "foreign_issuer", foreign);
    let foreign = "the trust domain of the token's subject is not configured";
    check(VerifyError::ForeignTrustDomain, "foreign_trust_domain", foreign);
    let subject = "the token's subject is not the SPIFFE ID of a workload";
    check(VerifyError::NotSpiffeId, "not_spiffe_id", subject);
    check(VerifyError::UnknownKey, "unknown_key", "the token's issuer has no such key");
    let told = "the token's issuer cannot be asked for its key now";
    check(VerifyError::KeyUnasked, "key_unasked", told);
    check(VerifyError::Signature, "signature", "the token's signature does not verify");
    let claim = "the claim `sub` is missing or not as it should be";
    check(VerifyError::Claim("sub"), "claim", claim);
    check(VerifyError::Audience, "audience", "the token is not for us");
    check(VerifyError::Expired, "expired", "the token has expired");
    check(VerifyError::NotYet, "not_yet", "the token does not hold yet");
    let lifetime = "the token lasts longer than 24 hours, or no time at all";
    check(VerifyError::Lifetime, "lifetime", lifetime);
    let claims = "the token has more than 128 claims, or two with one path";
    check(VerifyError::Claims, "claims", claims);
    let keys = "the keys of the token's issuer were not seen for too long";
    check(VerifyError::KeysUnavailable, "keys_unavailable", keys);
}
