//! Queries by URL and by `.search`, and the pages that answer them.

use scim::{ListResponse, PAGE_MAX, Query, USER};
use serde_json::{Value, json};

use crate::{barbara, kind, stored};

fn by_url(query: &str, expected: (bool, usize, usize)) {
    let read = Query::of_url(query, &USER).unwrap_or_else(|error| panic!("{query}: {error}"));
    assert_eq!((read.filter.is_some(), read.start_index, read.count), expected, "{query}");
}

fn by_search(mut body: Value, expected: Result<(bool, usize, usize), &str>) {
    body["schemas"] = json!(["urn:ietf:params:scim:api:messages:2.0:SearchRequest"]);
    let read = Query::of_search(&body, &USER);
    let read = read.map(|read| (read.filter.is_some(), read.start_index, read.count));
    assert_eq!(read.map_err(|error| kind(&error)), expected, "{body}");
}

#[test]
fn a_url_is_read() {
    by_url("", (false, 1, PAGE_MAX));
    by_url("filter=userName%20eq%20%22a%22", (true, 1, PAGE_MAX));
    by_url("filter=userName+eq+%22a%22&startIndex=3&count=10", (true, 3, 10));
    by_url("startIndex=0&count=-1", (false, 1, 0));
    by_url("startIndex=-5&count=0", (false, 1, 0));
    by_url("sortBy=userName&sortOrder=descending&sortBy=x", (false, 1, PAGE_MAX));
    by_url("attributes=&excludedAttributes=", (false, 1, PAGE_MAX));
}

#[test]
fn a_url_that_cannot_be_read_is_refused() {
    let check = |query: &str, expected: &str| {
        let error = Query::of_url(query, &USER).expect_err(query);
        assert_eq!(kind(&error), expected, "{query}");
    };
    check("filter=", "invalidFilter");
    check("filter=userName", "invalidFilter");
    check("count=ten", "invalidValue");
    check("startIndex=99999999999999999999", "invalidValue");
    check("count=1&count=2", "invalidValue");
    check("attributes=name&excludedAttributes=emails", "invalidValue");
}

#[test]
fn a_search_is_read() {
    by_search(json!({}), Ok((false, 1, PAGE_MAX)));
    by_search(
        json!({ "filter": "title pr", "startIndex": 2, "count": 5, "attributes": ["name"], "sortBy": "x" }),
        Ok((true, 2, 5)),
    );
    by_search(json!({ "STARTINDEX": 0, "count": -1, "filter": null }), Ok((false, 1, 0)));
    by_search(json!({ "count": "1" }), Err("invalidValue"));
    by_search(json!({ "startIndex": 1.5 }), Err("invalidValue"));
    by_search(json!({ "attributes": "name" }), Err("invalidValue"));
    by_search(json!({ "excludedAttributes": [1] }), Err("invalidValue"));
    by_search(json!({ "filter": 1 }), Err("invalidValue"));
    by_search(json!({ "filter": "title" }), Err("invalidFilter"));
    for body in [json!([]), json!({}), json!({ "schemas": ["x"] })] {
        let error = Query::of_search(&body, &USER).expect_err("no search");
        assert_eq!(kind(&error), "invalidSyntax");
    }
}

#[test]
fn i_18_a_page_has_a_limit() {
    by_url(&format!("count={PAGE_MAX}"), (false, 1, PAGE_MAX));
    by_url(&format!("count={}", PAGE_MAX + 1), (false, 1, PAGE_MAX));
    by_search(json!({ "count": PAGE_MAX + 1 }), Ok((false, 1, PAGE_MAX)));
}

/// A page goes on from one type to the next (RFC 7644 §3.4.3).
#[test]
fn a_page_of_several_types_goes_on_where_the_last_ended() {
    let check = |(before, taken): (usize, usize), expected: (usize, usize)| {
        let query = Query::of_url("startIndex=5&count=10", &USER).expect("a query");
        let left = query.after(before, taken);
        assert_eq!((left.start_index, left.count), expected, "{before} {taken}");
    };
    check((0, 0), (5, 10));
    check((3, 0), (2, 10));
    check((4, 0), (1, 10));
    check((7, 3), (1, 7));
    check((20, 10), (1, 0));
}

#[test]
fn a_page_shows_what_was_asked_for() {
    let query = Query::of_url("startIndex=2&count=1&attributes=userName", &USER).expect("a query");
    let page = ListResponse::of(&query, 3, vec![stored(&USER, barbara())]);
    let shown = json!({ "schemas": barbara()["schemas"], "id": "2819c223-7f76",
                        "userName": "bjensen@example.com" });
    let expected = json!({
        "schemas": ["urn:ietf:params:scim:api:messages:2.0:ListResponse"],
        "totalResults": 3, "startIndex": 2, "itemsPerPage": 1, "Resources": [shown],
    });
    assert_eq!(page.into_json(), expected);
    let totals = Query::of_url("count=0", &USER).expect("a query");
    let page = ListResponse::of(&totals, 3, Vec::new()).into_json();
    assert_eq!((&page["totalResults"], &page["itemsPerPage"]), (&json!(3), &json!(0)));
}
