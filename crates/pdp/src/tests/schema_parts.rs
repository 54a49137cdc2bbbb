//! What schema parts declare: only which policies compile hangs on it.

use std::collections::{BTreeMap, BTreeSet};

use cedar_policy::Schema;
use serde_json::json;

use super::fixtures::{Case, bundle, person, show};
use crate::{Bundle, Compiler, Snapshot};

const POLICIES: &str = r#"
@id("lookup") permit (principal, action == Action::"crm/lookup", resource)
when { context.input.id > 1 && context.sponsor.active };
@id("clerks") forbid (principal, action == Action::"crm/lookup", resource)
when { context has subject && !(context.subject in Group::"clerks") };
@id("once") forbid (principal, action in Action::"tools/call", resource is Tool)
when { context.now < datetime("2000-01-01T00:00:00Z") };"#;

/// A set with these schema parts.
fn with(parts: &[&str]) -> Bundle {
    let part = |(at, text): (usize, &&str)| (format!("{at}.cedarschema"), (*text).to_owned());
    let schema: BTreeMap<_, _> = parts.iter().enumerate().map(part).collect();
    Bundle { schema, ..bundle(POLICIES) }
}

/// Of two people who are active, a `Person` that is no more than that knows no two: what is permitted to nobody but
/// somebody else than the sponsor would be proved never to be permitted. So it is with times, amounts and addresses.
#[test]
fn n_094_no_schema_part_says_what_a_word_means() {
    let check = |parts: &[&str], place: &str, name: &str| {
        let errors = Snapshot::compile(with(parts)).expect_err(name).to_string();
        let why = format!("{place}: `{name}` names something else already: give the type another");
        assert!(errors.starts_with(&why), "{errors}");
    };
    check(&["type Person = { active: Bool };"], "0.cedarschema:1", "Person");
    check(&["entity Desk;\ntype datetime = Long;"], "0.cedarschema:2", "datetime");
    check(&["type Ends = { any_object: Bool };"], "0.cedarschema:1", "Ends");
    for name in ["decimal", "duration", "ipaddr", "Session", "UnknownInput", "UnknownProvenance"] {
        check(&[format!("type {name} = Long;").as_str()], "0.cedarschema:1", name);
        check(&[format!("entity Own,\n  {name};").as_str()], "0.cedarschema:2", name);
    }
    // Nor is what a text or a number is, which no common type is called; nor any of this in a namespace, where others of
    // it would read their own, and what is not known yet could be told no more.
    for name in ["Bool", "Long", "String"] {
        check(&[format!("entity {name} enum [\"one\"];").as_str()], "0.cedarschema:1", name);
    }
    for name in ["String", "decimal", "UnknownInput", "UnknownProvenance"] {
        let part = format!("namespace Own {{\n  entity {name};\n}}");
        check(&[part.as_str()], "0.cedarschema:2", name);
    }
    // A name that only begins so, or is that of a member, is another one.
    let late = "entity Persons = {\n  Person: Person };\nentity Person;";
    check(&[late], "0.cedarschema:3", "Person");
    // So is one that a comment or a text tells of.
    let told =
        "// Desk, Person\n@doc(\"type Person\")\nentity Desk; // entity\ntype // a\nPerson = Long;";
    check(&[told], "0.cedarschema:5", "Person");
    // Nor do two parts mean something else by one name.
    check(&["entity Desk;", "\ntype Desk = Long;"], "1.cedarschema:2", "Desk");
    check(&["entity Desk;\ntype Desk = Long;"], "0.cedarschema:1", "Desk");
    let (desk, line) = ("namespace Own { entity Desk; }", "namespace Own {\n  type Desk = Long; }");
    check(&[desk, line], "1.cedarschema:2", "Desk");
}

/// An action is told with the line on which it is declared, whatever else is called so, or said in comments and texts.
#[test]
fn an_action_of_a_schema_part_is_told_with_its_line() {
    let check = |part: &str, line: usize| {
        let errors = Snapshot::compile(with(&[part])).expect_err(part).to_string();
        let why = format!("0.cedarschema:{line}: a schema part declares types; actions come from");
        assert!(errors.starts_with(&why), "{part}: {errors}");
    };
    check("action \"sit\";", 1);
    check("entity Desk;\naction sit, stand;\naction \"lie\";", 2);
    check("entity Desk;\nexternal\naction \"sit\";", 3);
    check("namespace Own {\n  action \"sit\";\n}", 2);
    check("namespace Own { entity Desk; }\naction \"sit\";", 2);
    check("@doc(\"action sit\")\naction \"sit\";", 2);
    check("@entity\naction \"sit\";", 2);
    check("@action(\"sit\")\nentity Desk;\naction\n\"sit\";", 3);
    check("// action \"sit\";\nentity Desk = {\n  action: Long };\naction \"sit\";", 4);
    check("entity Desk = { \"; action sit\": Long,\n  action?: Long };\naction \"sit\";", 3);
    check("type action = Long;\nentity Desk = { at: action } tags action;\naction \"sit\";", 3);
}

/// Types that come to too much are told with their part, and with the line of the first one that does so by itself.
#[test]
fn types_that_are_too_large_are_told_with_their_place() {
    let check = |parts: &[&str], place: &str| {
        let errors = Snapshot::compile(with(parts)).expect_err(place).to_string();
        let why = format!("{place}: types nest too deep, or come to more than 100000 members");
        assert!(errors.starts_with(&why), "{errors}");
    };
    // Each is twice the one before, the last some thousands of members.
    let doubled = (1..=8).map(|at| format!("type A{at} = {{ a: A{0}, b: A{0} }};\n", at - 1));
    let doubled = ["type A0 = { a: Long };\n".to_owned()].into_iter().chain(doubled);
    let doubled: Vec<_> = doubled.collect();
    let small = doubled.concat();
    Snapshot::compile(with(&[small.as_str()])).expect("they are small");
    let members: Vec<_> = (0..100).map(|at| format!("a{at}: A8")).collect();
    let members = members.join(", ");
    let common = format!("{small}type Big = {{ {members} }};");
    check(&["entity Desk;", common.as_str()], "1.cedarschema:10");
    let entity = format!("entity Chair;\nentity Big = {{ {members} }};");
    check(&[small.as_str(), entity.as_str()], "1.cedarschema:2");
    // No single one, but all together.
    let many: Vec<_> = (0..100).map(|at| format!("entity E{at} = {{ a: A8 }};\n")).collect();
    check(&[small.as_str(), many.concat().as_str()], "1.cedarschema");
}

/// What `set` answers, and whether it could permit it of whatever arguments.
fn answers(set: &Snapshot) -> Vec<(String, bool)> {
    let mut cases = Vec::new();
    for id in [1, 2] {
        let case = Case::call("crm/lookup", json!({ "id": id }));
        cases.push(case.clone().on_behalf_of(person("carla", &["clerks"])));
        cases.push(case.clone().on_behalf_of(person("dan", &[])));
        cases.push(case);
    }
    let answer = |case: &Case| (show(&case.decide(set)), case.could_permit(set));
    cases.iter().map(answer).collect()
}

/// What was decided when parts declared types under any names is decided again as it was, by a set of the same digest.
#[test]
fn a_set_whose_parts_named_anew_what_has_a_name_is_read_as_it_was() {
    let expected = answers(&Snapshot::compile(with(&[])).expect("it compiles"));
    for part in ["type duration = Long;", "namespace Own { type decimal = Long; entity Desk; }"] {
        let bundle = with(&[part]);
        assert!(Snapshot::compile(bundle.clone()).is_err(), "{part}");
        for mut before in Compiler::of_before() {
            let set = before.compile(bundle.clone()).expect("it was one");
            assert_eq!(set.digest(), bundle.digest());
            assert_eq!(answers(&set), expected, "{part}");
        }
    }
}

/// The whole schema is one text that can be read, which a proof rests on, whatever parts declare and wherever.
#[test]
fn parts_of_one_namespace_are_told_together() {
    let parts = [
        "type Amount = decimal; namespace Own { type Note = { by: Person, of: Amount }; entity Desk in [Server]; }",
        "entity Room; namespace More { entity Lamp; } namespace Own { entity Chair = { note: Note }; }",
    ];
    let set = Snapshot::compile(with(&parts)).expect("it compiles");
    let told = set.provable(&BTreeMap::new()).expect("it has a text").schema;
    let (read, _) = Schema::from_cedarschema_str(&told).expect("it can be read");
    let kinds: BTreeSet<String> = read.entity_types().map(ToString::to_string).collect();
    for kind in ["Room", "More::Lamp", "Own::Desk", "Own::Chair", "Person", "Tool"] {
        assert!(kinds.contains(kind), "{kind}: {kinds:?}");
    }
}

/// A change of a schema part alone is no widening: what is asked about is of none of its types.
#[test]
fn no_answer_hangs_on_a_schema_part() {
    let answers = |parts: &[&str]| answers(&Snapshot::compile(with(parts)).expect("it compiles"));
    let expected = answers(&[]);
    assert!(expected.iter().any(|(told, _)| told.starts_with("permit by lookup")), "{expected:?}");
    assert!(expected.iter().any(|(told, _)| told.contains("`clerks`")), "{expected:?}");
    let all: [&[&str]; 4] = [
        &["entity Desk in [Group] = { of: Person, since: datetime };"],
        &["type Note = { by: Person, amount: decimal };", "entity Chair = { note: Note };"],
        &[
            "namespace Own { type Amount = decimal; entity Desk in [Server]; }",
            "namespace More { type Amount = Long; } namespace Own { entity Chair; }",
        ],
        &["entity Desk enum [\"one\", \"two\"];"],
    ];
    for parts in all {
        assert_eq!(answers(parts), expected, "{parts:?}");
    }
}
