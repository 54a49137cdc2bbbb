//! By which policies reading lets more be done.

use std::collections::BTreeMap;

use super::fixtures::bundle;
use crate::{Bundle, Snapshot};

/// A permit of which nothing is found.
const PERMIT: &str = r#"@id("all") @description("All") permit(principal, action in Action::"tools/call",
    resource in Server::"payments") when { context.depth == 0 };"#;

/// By what of what was read a policy of this `effect` with these `conditions` lets more be done.
#[track_caller]
fn check(effect: &str, conditions: &str, expected: &[&str]) {
    let policies = format!(
        r#"{PERMIT} @id("it") @description("It") {effect}(principal, action == Action::"payments/refund", resource)
           {conditions};"#
    );
    let labels = Some("labels: { out: Others. }\noutsiders: [out]\n".to_owned());
    let snapshot = Snapshot::compile(Bundle { labels, ..bundle(&policies) }).expect("it compiles");
    let found = snapshot.lint(&BTreeMap::new()).into_iter().map(|finding| finding.to_string());
    let found: Vec<_> = found.filter(|it| it.contains("what was read")).collect();
    let said = |by: &&str| {
        format!(
            "test.cedar:2: policy `it`: lets more be done by what was read (`context.{by}`): whoever can have a tool say \
             something lifts it; ask for what must not have been read"
        )
    };
    assert_eq!(found, expected.iter().map(said).collect::<Vec<_>>(), "{effect} {conditions}");
}

#[test]
fn r_46_what_lets_more_be_done_by_what_was_read_is_found() {
    let of = |set: &str| format!(r#"context.provenance.{set}.contains("account")"#);
    let [trusted, untrusted, unknown, mandate] =
        ["trusted", "untrusted", "unknown", "mandate"].map(of);
    for (effect, more, less) in [("permit", "when", "unless"), ("forbid", "unless", "when")] {
        for (set, name) in [(&trusted, "provenance.trusted"), (&untrusted, "provenance.untrusted")]
        {
            check(effect, &format!("{more} {{ {set} }}"), &[name]);
            check(effect, &format!("{less} {{ {set} }}"), &[]);
            check(effect, &format!("{less} {{ !({set} || {mandate}) }}"), &[name]);
            check(effect, &format!("{more} {{ context.depth > 1 && !{set} }}"), &[]);
        }
        check(effect, &format!("{less} {{ {unknown} }}"), &["provenance.unknown"]);
        check(effect, &format!("{more} {{ {unknown} }}"), &[]);
        check(effect, &format!("{more} {{ {mandate} }}"), &[]);

        let labels = &["session.labels"];
        check(effect, &format!(r#"{more} {{ context.session.labels.contains("out") }}"#), labels);
        check(effect, &format!(r#"{less} {{ context.session.labels.contains("out") }}"#), &[]);
        check(effect, &format!("{more} {{ context.session.labels.isEmpty() }}"), &[]);
        check(effect, &format!("{less} {{ context.session.labels.isEmpty() }}"), labels);
        check(
            effect,
            &format!(r#"{less} {{ ["out"].containsAll(context.session.labels) }}"#),
            labels,
        );
        check(effect, &format!(r#"{more} {{ ["out"].containsAll(context.session.labels) }}"#), &[]);
        // Of what is compared nobody can tell.
        for way in [more, less] {
            check(effect, &format!(r#"{way} {{ context.session.labels == ["out"] }}"#), labels);
        }
        // Nor of what is looked at by way of the whole session.
        let session = "(if context.depth > 1 then context.session else context.session)";
        for way in [more, less] {
            let says = format!(r#"{way} {{ {session}.labels.contains("out") }}"#);
            check(effect, &says, labels);
        }
        let both = format!("{more} {{ {trusted} && {untrusted} }}");
        check(effect, &both, &["provenance.trusted", "provenance.untrusted"]);
    }
}
