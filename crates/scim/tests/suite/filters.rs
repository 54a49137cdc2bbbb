//! Filters on the examples of RFC 7644 §3.4.2.2, and beyond them.

use scim::{
    Equality, FILTER_BYTES_MAX, FILTER_DEPTH_MAX, FILTER_TERMS_MAX, Filter, GROUP, ResourceType,
    USER,
};

use crate::{barbara, kind, stored, tour_guides};

fn check(filter: &str, expected: bool) {
    check_in(&USER, filter, expected);
}

fn check_in(of: &'static ResourceType, filter: &str, expected: bool) {
    let sent = if of.name() == "User" { barbara() } else { tour_guides() };
    let read = Filter::parse(filter, of).unwrap_or_else(|error| panic!("{filter}: {error}"));
    assert_eq!(read.matches(&stored(of, sent)), expected, "{filter}");
}

fn refused(filter: &str, expected: &str) {
    let error = Filter::parse(filter, &USER).expect_err(filter);
    assert_eq!((kind(&error), error.status), ("invalidFilter", 400), "{filter}");
    assert!(error.detail.contains(expected), "{filter}: {error}");
}

#[test]
fn the_examples_of_the_rfc_are_answered() {
    check("userName eq \"bjensen\"", false);
    check("userName Eq \"bjensen@example.com\"", true);
    check("name.familyName co \"O'Malley\"", false);
    check("name.familyName co \"ens\"", true);
    check("userName sw \"J\"", false);
    check("userName sw \"B\"", true);
    check("urn:ietf:params:scim:schemas:core:2.0:User:userName sw \"B\"", true);
    check("title pr", true);
    check("nickName pr", false);
    check("meta.lastModified gt \"2011-05-13T04:42:34Z\"", true);
    check("meta.lastModified ge \"2011-08-01T18:29:49.793Z\"", true);
    check("meta.lastModified lt \"2011-05-13T04:42:34Z\"", false);
    check("meta.lastModified le \"2011-08-01T20:29:49.793+02:00\"", true);
    check("title pr and userType eq \"Employee\"", true);
    check("title pr or userType eq \"Intern\"", true);
    check("schemas eq \"urn:ietf:params:scim:schemas:extension:enterprise:2.0:User\"", true);
    check(
        "userType eq \"Employee\" and (emails co \"example.com\" or emails.value co \"example.org\")",
        true,
    );
    check(
        "userType ne \"Employee\" and not (emails co \"example.com\" or emails.value co \"example.org\")",
        false,
    );
    check("userType eq \"Employee\" and (emails.type eq \"work\")", true);
    check(
        "userType eq \"Employee\" and emails[type eq \"work\" and value co \"@example.com\"]",
        true,
    );
    check(
        "emails[type eq \"work\" and value co \"@example.com\"] or ims[type eq \"xmpp\" and value co \"@foo.com\"]",
        true,
    );
}

#[test]
fn values_are_compared_as_their_attribute_has_it() {
    check("USERNAME eq \"BJENSEN@EXAMPLE.COM\"", true);
    check("emails.value eq \"BABS@jensen.org\"", true);
    check("externalId eq \"bjensen-42\"", true);
    check("externalId eq \"BJENSEN-42\"", false);
    check("id eq \"2819c223-7f76\"", true);
    check("id eq \"2819C223-7F76\"", false);
    check("active eq true", true);
    check("active ne true", false);
    check("active eq \"True\"", true);
    check("emails[primary eq \"True\"]", true);
    check("userName ew \".com\"", true);
    check("userName gt \"a\" and userName lt \"C\"", true);
    check("userName ge \"BJENSEN@example.com\" and userName le \"bjensen@example.com\"", true);
    check("meta.created sw \"2011-08\"", true);
    check("emails eq \"babs@jensen.org\"", true);
    check("addresses.region eq \"ca\"", true);
    check("userName eq \"\\u0062jensen@example.com\"", true);
}

#[test]
fn one_value_meets_all_of_a_value_path() {
    check("emails[type eq \"home\" and value co \"@example.com\"]", false);
    check("emails.type eq \"home\" and emails.value co \"@example.com\"", true);
    check("emails[not (type eq \"work\")]", true);
    check("emails[type eq \"other\"]", false);
    check("addresses[type eq \"work\" and (country eq \"USA\" or country eq \"DE\")]", true);
}

#[test]
fn extensions_are_named_by_their_urn() {
    let urn = "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User";
    check(&format!("{urn}:department eq \"tour operations\""), true);
    check(&format!("{}:Department pr", urn.to_uppercase()), true);
    check(&format!("{urn}:manager.value eq \"26118915\""), true);
    check(&format!("{urn}:manager eq \"26118915\""), true);
    check(&format!("{urn}:costCenter pr"), false);
    check("department pr", false);
}

#[test]
fn what_is_not_there_has_no_value() {
    check("nickName eq null", true);
    check("nickName ne null", false);
    check("title eq null", false);
    check("title ne null", true);
    check("nickName ne \"x\"", true);
    check("emails.type ne \"work\"", true);
    check("nickName co \"\"", false);
    check("shoeSize pr", false);
    check("shoeSize eq 42", false);
    check("shoeSize ne 42", true);
    check("shoeSize eq null", true);
    check("shoeSize gt 4", false);
    check("shoes[size eq 42]", false);
    check("urn:example:2.0:Shoes:size pr", false);
    check("emails[size pr]", false);
}

#[test]
fn groups_are_found_by_their_members() {
    let check = |filter, expected| check_in(&GROUP, filter, expected);
    check("displayName eq \"tour guides\"", true);
    check("members[value eq \"2819c223\"]", true);
    check("members.value eq \"2819C223\"", false);
    check("members eq \"902c246b\"", true);
    check("members[value eq \"nobody\"]", false);
}

#[test]
fn what_cannot_be_compared_is_refused() {
    for (filter, expected) in [
        ("active gt true", "`active` cannot be compared: `gt true`"),
        ("active co \"t\"", "`active`"),
        ("active eq 1", "`active`"),
        ("active gt null", "`active`"),
        ("userName eq 5", "`userName` cannot be compared: `eq 5`"),
        ("userName eq true", "`userName`"),
        ("meta.created gt \"yesterday\"", "`created`"),
        ("name eq \"x\"", "`name`"),
        ("x509Certificates gt \"AA\"", "`value`"),
        ("userName[value eq \"x\"]", "no sub-attributes"),
        ("emails.value[type eq \"x\"]", "no sub-attributes"),
        ("", "byte 0"),
        ("userName", "byte"),
        ("userName eq", "byte"),
        ("userName eq bjensen", "byte"),
        ("userName is \"x\"", "byte"),
        ("(userName pr", "byte"),
        ("name.a.b pr", "sub-attribute"),
        ("userName eq \"\\x\"", "invalid"),
    ] {
        refused(filter, expected);
    }
}

#[test]
fn i_18_a_filter_has_limits() {
    let terms = |count: usize| vec!["title pr"; count].join(" or ");
    check(&terms(FILTER_TERMS_MAX), true);
    refused(&terms(FILTER_TERMS_MAX + 1), "terms");

    // Each `not` is a level, and so is what it holds: an odd number of them is true.
    let is_odd = FILTER_DEPTH_MAX % 2 == 1;
    let nots =
        |levels: usize| format!("{}title pr{}", "not (".repeat(levels - 1), ")".repeat(levels - 1));
    check(&nots(FILTER_DEPTH_MAX), is_odd);
    refused(&nots(FILTER_DEPTH_MAX + 1), "levels");

    let value = |levels: usize| format!("emails[{}]", nots(levels - 1));
    check(&value(FILTER_DEPTH_MAX).replace("title", "type"), !is_odd);
    refused(&value(FILTER_DEPTH_MAX + 1), "levels");

    let long = |bytes: usize| format!("title eq \"{}\"", "x".repeat(bytes - "title eq \"\"".len()));
    check(&long(FILTER_BYTES_MAX), false);
    refused(&long(FILTER_BYTES_MAX + 1), "longer");
}

#[test]
fn what_can_be_looked_up_is_told() {
    let check = |filter: &str, expected: &[(&'static str, &str)]| {
        let read = Filter::parse(filter, &USER).expect(filter);
        let told: Vec<_> =
            expected.iter().map(|&(attribute, value)| Equality { attribute, value }).collect();
        assert_eq!(read.equalities(), told, "{filter}");
    };
    check("userName eq \"Ann@Example.com\"", &[("userName", "ann@example.com")]);
    check("ExternalID eq \"Ann\"", &[("externalId", "Ann")]);
    check("id eq \"X\" and active eq true", &[("id", "X")]);
    check(
        "title pr and displayName eq \"Ann\" and userName eq \"a\"",
        &[("displayName", "ann"), ("userName", "a")],
    );
    check("(userName eq \"a\" and title pr) and id eq \"1\"", &[("userName", "a"), ("id", "1")]);
    for without in [
        "userName eq \"a\" or id eq \"1\"",
        "not (userName eq \"a\")",
        "userName ne \"a\"",
        "userName sw \"a\"",
        "emails eq \"a\"",
        "name.familyName eq \"a\"",
        "shoeSize eq \"a\"",
        "urn:ietf:params:scim:schemas:extension:enterprise:2.0:User:department eq \"a\"",
    ] {
        check(without, &[]);
    }
}

/// What only another type has matches nothing, and needs no looking through.
#[test]
fn what_a_type_does_not_have_matches_nothing_of_it() {
    let check = |filter: &str, of: &'static ResourceType, expected: bool| {
        let read = Filter::parse(filter, of).expect("a filter");
        assert_eq!(read.matches_nothing(), expected, "{filter}");
    };
    check(r#"userName eq "a""#, &USER, false);
    check(r#"userName eq "a""#, &GROUP, true);
    check(r#"userName eq "a" and id pr"#, &GROUP, true);
    check(r#"userName eq "a" or id pr"#, &GROUP, false);
    check(r#"userName eq "a" or title pr"#, &GROUP, true);
    check(r#"not (userName eq "a")"#, &GROUP, false);
}
