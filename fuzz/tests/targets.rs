//! Every parser of untrusted bytes, each for `CHANCERY_FUZZ_SECONDS` seconds (3), beside each
//! other. See `fuzz/src/lib.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use fuzz::targets::{TARGETS, named};

/// A test for each target.
macro_rules! targets {
    ($($test:ident: $folder:literal;)*) => {
        const TESTED: &[&str] = &[$($folder),*];
        $(
            #[test]
            fn $test() {
                fuzz::drive($folder, named($folder), fuzz::time());
            }
        )*
    };
}

targets! {
    json_is_read_in_one_way: "json";
    numbers_are_exact: "number";
    messages_are_kept_as_received: "jsonrpc";
    events_are_the_same_however_cut: "sse";
    what_servers_ask_is_read_in_one_way: "input-required";
    header_values_stand_for_one_text: "header-value";
    annotations_are_followed: "param-headers";
    text_of_others_is_shown_whole: "untrusted";
    urls_have_one_reading: "https-url";
    tables_have_one_reading: "csv";
    tokens_are_signed: "jws";
    tokens_of_others_are_signed: "foreign-jws";
    access_tokens_are_signed: "access-token";
    assertions_are_signed: "client-assertion";
    initiations_are_signed: "initiation";
    enrolments_are_signed: "enrolment";
    lists_of_people_are_signed: "people";
    words_are_signed: "word";
    proofs_are_signed: "dpop-proof";
    forms_are_read_in_one_way: "token-form";
    tokens_of_others_are_one_header: "token-answer";
    authorization_requests_are_read_in_one_way: "authorization-request";
    forms_of_clients_are_read_in_one_way: "client-token-form";
    answers_stay_at_their_place: "redirect-uri";
    documents_admit_what_stands_in_them: "client-document";
    public_keys_have_one_spelling: "jwk";
    private_keys_survive_their_file: "pem";
    notes_are_written_back: "note";
    checkpoints_are_written_back: "checkpoint";
    verifier_keys_are_written_back: "verifier-key";
    paths_are_written_back: "tile-path";
    tiles_are_whole: "tile";
    bundles_are_written_back: "bundle";
    offline_proofs_are_written_back: "tlog-proof";
    records_are_written_canonically: "record";
    names_have_one_spelling: "name";
    no_tool_schema_keeps_policy_from_compiling: "tool-schema";
    policies_are_compiled_or_refused: "policy";
    files_beside_policies_are_compiled_or_refused: "policy-beside";
    files_of_cases_are_decided_or_refused: "case-file";
    foreign_policies_are_said_or_refused: "agentcore";
    spiffe_ids_have_one_spelling: "spiffe-id";
    rules_are_written_back: "workload-rule";
    filters_have_a_complement: "scim-filter";
    patches_are_whole_or_nothing: "scim-patch";
    resources_are_read_in_one_way: "scim-resource";
    queries_have_an_end: "scim-query";
    event_tokens_are_of_their_transmitter: "event-token";
    polls_have_an_end: "event-poll";
    receivers_ask_for_what_can_be_told: "receiver-request";
    transmitters_lead_to_nobody_else: "transmitter-answer";
}

#[test]
fn every_target_has_examples_and_every_folder_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let folders: BTreeSet<_> = folders.map(|name| name.into_string().unwrap()).collect();
    let all: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, all);
    assert_eq!(TARGETS.len(), all.len(), "no two targets share their examples");
    let tested: BTreeSet<_> = TESTED.iter().map(|&name| name.to_owned()).collect();
    assert_eq!(tested, all, "each target is a test");
    for (name, target) in TARGETS {
        let examples = fuzz::corpus(name);
        assert!(examples.iter().any(|example| target(example)), "{name}: no example is accepted");
    }
}
