//! The same requests to us and to `scim2-server`, a service provider by the authors of scim2-tester: status,
//! kind of error and shape of the answers agree, but for what `docs/directories.md` lists.
#![allow(clippy::disallowed_methods, reason = "tests run real processes")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::{Command, Stdio};

use e2e::scim::{Provider, Scim};
use e2e::{Child, free_port, python};
use serde_json::{Value, json};

const USER: &str = "urn:ietf:params:scim:schemas:core:2.0:User";
const GROUP: &str = "urn:ietf:params:scim:schemas:core:2.0:Group";
const PATCH: &str = "urn:ietf:params:scim:api:messages:2.0:PatchOp";
const SEARCH: &str = "urn:ietf:params:scim:api:messages:2.0:SearchRequest";

/// Where answers differ: to what, as we tell it, as the peer does. Each is a row of the page.
const DIFFERENCES: [(&str, &str, &str); 6] = [
    (DONE, "200", "204"),
    ("a resource without `schemas`", "400 invalidSyntax", "201"),
    ("a search without `schemas`", "400 invalidSyntax", "200"),
    ("a filter by an attribute that there is not", "200", "400 invalidFilter"),
    ("an `op` that there is not", "400 invalidSyntax", "400 invalidValue"),
    ("a PATCH without operations", "400 invalidSyntax", "400 invalidValue"),
];

/// What we tell and the peer does not: of a member of a group what it is and where, of a way to show who one is
/// that it is the preferred one.
const MORE: [&str; 3] =
    ["members[].$ref: text", "members[].type: text", "authenticationSchemes[].primary: boolean"];

/// What is said of a PATCH that is in order.
const DONE: &str = "a PATCH that changes something";

/// A service provider, with the ids that it gave.
struct Side {
    provider: Provider,
    ids: BTreeMap<&'static str, String>,
}

/// What is compared of an answer.
#[derive(Debug)]
struct Answer {
    /// The status, with the kind of error.
    told: String,
    /// The members of the body, with the types of their values.
    members: BTreeSet<String>,
}

impl Answer {
    /// Whether it is as `other`, but for what only we tell.
    fn agrees(&self, other: &Self) -> bool {
        let is_ours = |member: &&String| MORE.iter().any(|more| member.ends_with(more));
        let more = self.members.difference(&other.members).all(|member| is_ours(&member));
        self.told == other.told && more && other.members.is_subset(&self.members)
    }
}

/// The peer, until the test ends.
struct Peer {
    _process: Child,
    provider: Provider,
}

impl Peer {
    fn start() -> Self {
        let (port, token) = (free_port(), "secret".to_owned());
        let mut command = Command::new(python());
        command.args(["-m", "scim2_server.testserver.cli", "--bearer-token", &token]);
        command.args(["--port", &port.to_string()]).stdin(Stdio::null()).stderr(Stdio::null());
        let serves = |line: &str| line.starts_with("Serving").then_some(());
        let (process, ()) = Child::start_and_read(&mut command, serves);
        let base = format!("http://127.0.0.1:{port}/v2");
        Self { _process: process, provider: Provider { base, token } }
    }
}

impl Side {
    fn of(provider: Provider) -> Self {
        Self { provider, ids: BTreeMap::new() }
    }

    /// Asks, with the ids of this side in place of `{user}` and `{group}`; keeps the id of what is made.
    fn ask(&mut self, method: &str, path: &str, body: &Value) -> Answer {
        let filled = |text: String| {
            self.ids.iter().fold(text, |text, (name, id)| text.replace(&format!("{{{name}}}"), id))
        };
        let body = filled(body.to_string());
        let body: Value = serde_json::from_str(&body).expect("it stays JSON");
        let escaped = [(' ', "%20"), ('"', "%22"), ('[', "%5B"), (']', "%5D")];
        let path = filled(path.to_owned());
        let path = escaped.iter().fold(path, |path, (from, to)| path.replace(*from, to));
        let (status, told) =
            self.provider.ask(method, &path, Some(&body).filter(|it| !it.is_null()));
        let made = match path.as_str() {
            "/Users" => Some("user"),
            "/Groups" => Some("group"),
            _ => None,
        };
        if let (Some(name), 201, Some(id)) = (made, status, told["id"].as_str()) {
            self.ids.entry(name).or_insert_with(|| id.to_owned());
        }
        let kind = told["scimType"].as_str().map(|kind| format!(" {kind}")).unwrap_or_default();
        let mut members = BTreeSet::new();
        places(&told, "", &mut members);
        Answer { told: format!("{status}{kind}"), members }
    }
}

/// Adds to `members` the places in `value` where there is something, each with the type of that. Of a list all
/// values are one; an empty one is none (RFC 7643 §2.5).
fn places(value: &Value, place: &str, members: &mut BTreeSet<String>) {
    let kind = match value {
        Value::Array(all) => {
            return all.iter().for_each(|it| places(it, &format!("{place}[]"), members));
        }
        Value::Object(all) => {
            return all
                .iter()
                .for_each(|(name, it)| places(it, &format!("{place}.{name}"), members));
        }
        Value::Null => "nothing",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "text",
    };
    members.insert(format!("{place}: {kind}"));
}

/// What is asked: the case, the method, the path, and the body if there is one.
type Request = (&'static str, &'static str, String, Value);

fn request(case: &'static str, method: &'static str, path: &str, body: Value) -> Request {
    (case, method, path.to_owned(), body)
}

fn user(name: &str) -> Value {
    json!({
        "schemas": [USER], "userName": name, "externalId": format!("x-{name}"), "active": true,
        "displayName": "Somebody",
        "emails": [{ "value": format!("{name}@acme.example"), "type": "work", "primary": true }],
    })
}

fn created() -> Vec<Request> {
    let made = |case, body| request(case, "POST", "/Users", body);
    vec![
        made("create", user("ann")),
        made("create again", user("ann")),
        made("create in capitals", user("ANN")),
        made("create without a name", json!({ "schemas": [USER], "displayName": "x" })),
        made("create with a name of no text", json!({ "schemas": [USER], "userName": 1 })),
        made(
            "create with a wrong type",
            json!({ "schemas": [USER], "userName": "b", "active": "so" }),
        ),
        made("create no object", json!([1])),
        made("a resource without `schemas`", json!({ "userName": "odd" })),
        made("create another", user("ben")),
        request("get", "GET", "/Users/{user}", Value::Null),
        request("get what is missing", "GET", "/Users/nobody", Value::Null),
        request("get some of it", "GET", "/Users/{user}?attributes=userName", Value::Null),
        request("get less of it", "GET", "/Users/{user}?excludedAttributes=emails", Value::Null),
    ]
}

fn sought() -> Vec<Request> {
    let listed = |case, query: &str| request(case, "GET", &format!("/Users?{query}"), Value::Null);
    let filters = [
        r#"userName eq "ann""#,
        r#"userName eq "ANN""#,
        r#"userName eq "zoe""#,
        r#"externalId eq "x-ann""#,
        r#"userName co "nn" and not (userName eq "ben")"#,
        r#"userName sw "a" and active eq true"#,
        r#"emails[type eq "work"] and userName eq "ann""#,
        r#"emails.value sw "ann""#,
        r#"meta.created gt "2020-01-01T00:00:00Z" and userName eq "ann""#,
        "title pr",
    ];
    let bad = ["userName eq", "userName", "(((", "userName lt 3", "active gt true"];
    let mut all: Vec<_> =
        filters.iter().map(|it| listed("filter", &format!("filter={it}"))).collect();
    all.extend(bad.iter().map(|it| listed("bad filter", &format!("filter={it}"))));
    let odd = r#"filter=nosuch eq "x""#;
    all.push(listed("a filter by an attribute that there is not", odd));
    let one = r#"filter=userName eq "ann"&"#;
    for page in ["count=0", "startIndex=2", "startIndex=0", "count=-1", "count=x", "startIndex=x"] {
        all.push(listed("page", &format!("{one}{page}")));
    }
    all.push(listed("two lists of attributes", "attributes=userName&excludedAttributes=emails"));
    let search = |case, path, body| request(case, "POST", path, body);
    let ann = json!({ "schemas": [SEARCH], "filter": r#"userName eq "ann""# });
    all.push(search("search", "/Users/.search", ann.clone()));
    all.push(search("search all", "/.search", ann));
    let bad = json!({ "schemas": [SEARCH], "filter": "userName" });
    all.push(search("bad search of all", "/.search", bad));
    let none = json!({ "filter": r#"userName eq "ann""# });
    all.push(search("a search without `schemas`", "/Users/.search", none));
    all
}

fn changed() -> Vec<Request> {
    let patch = |case, operation: Value| {
        let body = json!({ "schemas": [PATCH], "Operations": [operation] });
        request(case, "PATCH", "/Users/{user}", body)
    };
    let get = || request("get what was changed", "GET", "/Users/{user}", Value::Null);
    let phone = json!([{ "value": "tel:+1-201-555-0123", "type": "work" }]);
    vec![
        patch(DONE, json!({ "op": "replace", "path": "active", "value": false })),
        get(),
        patch(DONE, json!({ "op": "add", "path": "phoneNumbers", "value": phone })),
        get(),
        patch(DONE, json!({ "op": "remove", "path": "phoneNumbers[type eq \"work\"]" })),
        patch(DONE, json!({ "op": "replace", "value": { "title": "Boss" } })),
        get(),
        patch(
            "no target",
            json!({ "op": "replace", "path": "emails[type eq \"home\"].value", "value": "x" }),
        ),
        patch("read-only", json!({ "op": "replace", "path": "id", "value": "x" })),
        patch("unknown path", json!({ "op": "replace", "path": "nosuch", "value": "x" })),
        patch("bad path", json!({ "op": "replace", "path": "userName[", "value": "x" })),
        patch("wrong type", json!({ "op": "replace", "path": "active", "value": "so" })),
        patch("remove nothing", json!({ "op": "remove" })),
        patch("remove what is required", json!({ "op": "remove", "path": "userName" })),
        patch("an `op` that there is not", json!({ "op": "frob", "path": "title", "value": "x" })),
        request(
            "a PATCH without operations",
            "PATCH",
            "/Users/{user}",
            json!({ "schemas": [PATCH], "Operations": [] }),
        ),
        request(
            "PATCH what is missing",
            "PATCH",
            "/Users/nobody",
            json!({ "schemas": [PATCH],
                    "Operations": [{ "op": "replace", "path": "active", "value": false }] }),
        ),
        request("replace", "PUT", "/Users/{user}", user("ann")),
        request("replace by another's name", "PUT", "/Users/{user}", user("ben")),
        request("replace what is missing", "PUT", "/Users/nobody", user("zoe")),
    ]
}

fn grouped() -> Vec<Request> {
    let ann = json!([{ "value": "{user}" }]);
    let desk = json!({ "schemas": [GROUP], "displayName": "Desk", "members": ann });
    let patch = |operation: Value| {
        let body = json!({ "schemas": [PATCH], "Operations": [operation] });
        request(DONE, "PATCH", "/Groups/{group}", body)
    };
    let get = || request("get a group", "GET", "/Groups/{group}", Value::Null);
    let found = r#"/Groups?filter=displayName eq "Desk""#;
    vec![
        request("create a group", "POST", "/Groups", desk),
        get(),
        request("filter groups", "GET", found, Value::Null),
        patch(json!({ "op": "remove", "path": "members[value eq \"{user}\"]" })),
        get(),
        patch(json!({ "op": "add", "path": "members", "value": [{ "value": "{user}" }] })),
        get(),
        request("delete a group", "DELETE", "/Groups/{group}", Value::Null),
        request("get what was deleted", "GET", "/Groups/{group}", Value::Null),
        request("delete", "DELETE", "/Users/{user}", Value::Null),
        request("delete again", "DELETE", "/Users/{user}", Value::Null),
        request("get what was deleted", "GET", "/Users/{user}", Value::Null),
    ]
}

fn described() -> Vec<Request> {
    let get = |path: &str| request("discovery", "GET", path, Value::Null);
    vec![
        get("/ServiceProviderConfig"),
        get("/ResourceTypes"),
        get("/ResourceTypes/User"),
        get("/ResourceTypes/Nosuch"),
        get(&format!("/Schemas/{GROUP}")),
        get("/Schemas/urn:none"),
        get("/Nosuch"),
        request("discovery is read only", "POST", "/Schemas", json!({})),
        request("discovery is read only", "DELETE", "/ResourceTypes", Value::Null),
        request("no such method", "PUT", "/Users", user("x")),
    ]
}

#[test]
fn answers_are_those_of_the_peer_but_for_what_the_page_lists() {
    let (peer, scim) = (Peer::start(), Scim::start(None));
    let (mut ours, mut theirs) = (Side::of(scim.provider), Side::of(peer.provider));
    let (mut wrong, mut seen) = (Vec::new(), BTreeSet::<&str>::new());
    let all = [created(), sought(), changed(), grouped(), described()].concat();
    for (case, method, path, body) in &all {
        let (own, other) = (ours.ask(method, path, body), theirs.ask(method, path, body));
        let listed = DIFFERENCES.iter().find(|(listed, ..)| listed == case);
        let agrees = match listed {
            Some((_, told, peers)) => own.told == *told && other.told == *peers,
            None => own.agrees(&other),
        };
        seen.extend(listed.map(|(case, ..)| *case));
        if !agrees {
            let differing = own.members.symmetric_difference(&other.members);
            let differing: Vec<_> = differing.collect();
            let told = (&own.told, &other.told);
            wrong.push(format!("{case}: {method} {path} {body}\n  {told:?} {differing:?}"));
        }
    }
    assert!(wrong.is_empty(), "{} of {}:\n{}", wrong.len(), all.len(), wrong.join("\n"));
    assert_eq!(seen.len(), DIFFERENCES.len(), "each difference was seen: {seen:?}");
    let page = std::fs::read_to_string(e2e::repository().join("docs/directories.md"));
    let page = page.expect("the page is there");
    for (case, told, peers) in DIFFERENCES {
        let row = format!("| {case} | {told} | {peers} |");
        assert!(page.contains(&row), "the page has the row {row}");
    }
}

/// What is told of versions, types of bodies and pages: the statuses, and what a page holds. That something was changed
/// is told in two ways.
fn of_versions_types_and_pages(provider: &Provider) -> Vec<String> {
    let mut all = Vec::new();
    let mut status = |case: &str, asked: (&str, &str), line: &str, body: Option<&Value>| {
        let usual = "Content-Type: application/scim+json";
        let lines = match line {
            "" => vec![usual],
            line if line.starts_with("Content-Type") => vec![line],
            line => vec![usual, line],
        };
        let (status, told) = provider.ask_with(asked, &lines, body);
        let status = if status == 204 { 200 } else { status };
        all.push(format!("{case}: {status} {}", told["scimType"].as_str().unwrap_or_default()));
        told
    };
    for kind in ["text/plain", "application/json", "application/xml", "x"] {
        let (line, said) = (format!("Content-Type: {kind}"), user(&kind.replace('/', "-")));
        status(kind, ("POST", "/Users"), &line, Some(&said));
    }
    for name in ["ann", "ben", "cleo", "dan"] {
        status("create", ("POST", "/Users"), "", Some(&user(name)));
    }
    let ann = "/Users?filter=userName%20eq%20%22ann%22";
    let found = status("find", ("GET", ann), "", None)["Resources"][0].clone();
    let one = format!("/Users/{}", found["id"].as_str().expect("an id"));
    let version = found["meta"]["version"].as_str().expect("a version");
    let (none, other) = (format!("If-None-Match: {version}"), "If-None-Match: W/\"none\"");
    status("read again", ("GET", &one), &none, None);
    status("read anew", ("GET", &one), other, None);
    let (rests, stale) = (format!("If-Match: {version}"), "If-Match: W/\"none\"");
    let operation = json!({ "op": "replace", "path": "title", "value": "Boss" });
    let patch = json!({ "schemas": [PATCH], "Operations": [operation] });
    let before = ("the version of before", rests.as_str());
    for (case, line) in [("another version", stale), ("any version", "If-Match: *"), before] {
        status(case, ("PATCH", &one), line, Some(&patch));
    }
    for (case, line) in [("another version", stale), before] {
        status(case, ("PUT", &one), line, Some(&user("ann")));
        status(case, ("DELETE", &one), line, None);
    }
    let mut names = BTreeSet::new();
    for page in [
        "count=2",
        "startIndex=3&count=2",
        "startIndex=5&count=9",
        "startIndex=99",
        "startIndex=2&count=0",
    ] {
        let (_, told) = provider.ask("GET", &format!("/Users?{page}"), None);
        let on_it = told["Resources"].as_array().into_iter().flatten();
        let on_it: Vec<_> = on_it.map(|it| it["userName"].to_string()).collect();
        let numbers = ["totalResults", "startIndex", "itemsPerPage"].map(|it| told[it].to_string());
        all.push(format!("{page}: {numbers:?}, {} there", on_it.len()));
        names.extend(on_it);
    }
    all.push(format!("on all pages: {names:?}"));
    all
}

#[test]
fn versions_types_and_pages_are_those_of_the_peer() {
    let (peer, scim) = (Peer::start(), Scim::start(None));
    let [ours, theirs] = [&scim.provider, &peer.provider].map(of_versions_types_and_pages);
    assert_eq!(ours, theirs);
    let told = ours.join("\n");
    for expected in ["text/plain: 415", "read again: 304", "[\"5\", \"3\", \"2\"], 2 there"] {
        assert!(told.contains(expected), "{expected}: {told}");
    }
}
