//! The OpenAPI documents: what they say of bodies is what is read and written.

use std::collections::BTreeSet;

use pap::Command;
use serde_json::{Value, json};

use crate::{Surface, document};

/// The schema of a body that the admin socket takes, which names others below `document`.
async fn commands() -> jsonschema::Validator {
    let surface = Surface::new().await;
    let mut document = document(surface.router("admin")).await;
    let schema =
        document["paths"]["/api/v1/command"]["post"]["requestBody"]["content"]["application/json"]
            ["schema"]
            .take();
    let schema = json!({ "allOf": [schema], "components": document["components"] });
    jsonschema::draft202012::new(&schema).expect("a schema")
}

/// A command is read if and only if the document says so.
#[tokio::test]
async fn what_is_told_of_commands_is_what_is_read() {
    let schema = commands().await;
    let key = json!({ "kty": "OKP" });
    let check = |command: Value, is_read: bool| {
        assert_eq!(
            serde_json::from_value::<Command>(command.clone()).is_ok(),
            is_read,
            "{command}"
        );
        assert_eq!(schema.is_valid(&command), is_read, "{command}");
    };
    check(json!({ "do": "person-list" }), true);
    check(json!({ "do": "person-add", "id": "ann", "groups": ["staff"] }), true);
    check(json!({ "do": "person-add", "id": "ann" }), false);
    check(json!({ "do": "person-add", "id": "ann", "groups": [], "mail": "x" }), false);
    check(json!({ "do": "nothing" }), false);
    check(json!({}), false);
    check(json!([]), false);
    let agent = |further: Value| {
        let mut agent = json!({
            "do": "agent-add", "name": "bot", "sponsor": "ann", "purpose": "work", "key": key,
            "business_owner": "ann", "technical_owner": "tom",
        });
        let further = further.as_object().cloned().unwrap_or_default();
        agent.as_object_mut().expect("an object").extend(further);
        agent
    };
    check(agent(json!({})), true);
    check(agent(json!({ "business_owner": null })), false);
    check(agent(json!({ "technical_owner": null })), false);
    check(agent(json!({ "host": { "uid": 7 }, "on_behalf_only": true })), true);
    check(agent(json!({ "host": { "uid": "7" } })), false);
    let rule = json!({ "issuer": "https://ci.example", "subject": "job:*" });
    check(agent(json!({ "workloads": [rule] })), true);
    check(agent(json!({ "workloads": ["any"] })), false);
    check(json!({ "do": "stop", "what": "all", "reason": "r" }), true);
    check(json!({ "do": "stop", "what": { "all": null }, "reason": "r" }), false);
    check(
        json!({ "do": "people-source-add", "said": { "name": "hr", "key": key, "expires": 9 } }),
        true,
    );
    check(
        json!({ "do": "people-source-add", "said": { "name": "hr", "key": key, "expires": "9" } }),
        false,
    );
}

/// Every parameter that the token service reads is told, and no other.
#[tokio::test]
async fn what_is_told_of_forms_is_what_is_read() {
    let surface = Surface::new().await;
    let document = document(surface.router("agents")).await;
    let mut told = BTreeSet::new();
    for path in ["token", "par", "revoke", "introspect"] {
        let body = &document["paths"][format!("/oauth/{path}")]["post"]["requestBody"];
        let form = &body["content"]["application/x-www-form-urlencoded"]["schema"];
        let names = form["properties"].as_object().expect("they have names").keys();
        told.extend(names.cloned());
    }
    // What people's browsers bring is told at their listener.
    let people = crate::document(surface.router("people")).await;
    let query = people["paths"]["/oauth/authorize"]["get"]["parameters"].as_array();
    let names = query.expect("it has a query").iter();
    told.extend(names.map(|it| it["name"].as_str().expect("a name").to_owned()));
    let sources = [
        include_str!("../../../oauth/src/authorization_code.rs"),
        include_str!("../../../oauth/src/form.rs"),
        include_str!("../../../oauth/src/token_endpoint.rs"),
        include_str!("../../../oauth/src/consent.rs"),
        include_str!("../../../oauth/src/revocation.rs"),
    ];
    let sources = sources.map(|text| text.split("#[cfg(test)]").next().unwrap_or_default());
    let taken = sources.iter().flat_map(|text| {
        let calls = ["take(\"", "need(\"", "need_json(\"", "(\"authorization_details"];
        let after = calls.into_iter().flat_map(|call| {
            let name = call.rsplit('"').next().unwrap_or_default();
            text.split(call).skip(1).map(move |rest| format!("{name}{rest}"))
        });
        after.filter_map(|rest| rest.split('"').next().map(str::to_owned)).collect::<Vec<_>>()
    });
    // Those that are refused wherever they stand.
    let refused = ["client_secret", "request"];
    let taken: BTreeSet<_> = taken.filter(|name| !refused.contains(&name.as_str())).collect();
    assert!(taken.len() > 15, "they are found: {taken:?}");
    let listed = |name: &&String| sources.iter().any(|text| text.contains(&format!("\"{name}\"")));
    assert_eq!(taken.difference(&told).collect::<Vec<_>>(), Vec::<&String>::new());
    assert_eq!(told.iter().filter(|name| !listed(name)).collect::<Vec<_>>(), Vec::<&String>::new());
}
