//! What policy knows when it decides on who hands work on to whom.

use oauth::ErrorCode;

use crate::client::key;
use crate::delegation::{before, delegates, part};

/// Policy sees of the agent that work is handed on to what it sees of one that acts: what forbids it is
/// not passed over because nothing is known of it.
#[tokio::test]
async fn policy_reads_the_agent_that_work_is_handed_on_to() {
    for (condition, permitted) in [
        (r#"resource.purposes.contains("nothing")"#, true),
        (r#"resource.purposes.contains("care")"#, false),
        ("resource.sponsor.active", false),
        ("resource has sponsor", false),
    ] {
        let (sts, lead, reader) = before().await;
        let forbid =
            r#"@id("not-these") forbid (principal, action == Action::"delegate", resource)"#;
        let policy = format!("{}\n{forbid} when {{ {condition} }};", crate::support::POLICY);
        sts.world.publish(&policy).await;
        let own = key();
        let made = sts.send(delegates(&sts, &lead, (&reader, &own), &part(&sts))).await;
        let code = made.err().map(|refused| refused.code);
        let expected = (!permitted).then_some(ErrorCode::InvalidRequest);
        assert_eq!(code, expected, "{condition}");
    }
}
