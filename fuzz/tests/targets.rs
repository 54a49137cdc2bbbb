//! Every parser of untrusted bytes, each for `CHANCERY_FUZZ_SECONDS` seconds (10), beside each
//! other. See `fuzz/src/lib.rs`.

use std::collections::BTreeSet;
use std::path::Path;

use fuzz::targets::{Target, json, log, mcp, oauth, pdp, records};

/// A test for each target, and the table of them all.
macro_rules! targets {
    ($($test:ident: $folder:literal, $target:path;)*) => {
        const TARGETS: &[(&str, Target)] = &[$(($folder, $target)),*];
        $(
            #[test]
            fn $test() {
                fuzz::drive($folder, $target);
            }
        )*
    };
}

targets! {
    json_is_read_in_one_way: "json", json::strict;
    numbers_are_exact: "number", json::number;
    messages_are_kept_as_received: "jsonrpc", mcp::message;
    events_are_the_same_however_cut: "sse", mcp::events;
    what_servers_ask_is_read_in_one_way: "input-required", mcp::input_required;
    header_values_stand_for_one_text: "header-value", mcp::header_value;
    annotations_are_followed: "param-headers", mcp::annotations;
    text_of_others_is_shown_whole: "untrusted", mcp::untrusted;
    tokens_are_signed: "jws", oauth::token;
    access_tokens_are_signed: "access-token", oauth::access;
    assertions_are_signed: "client-assertion", oauth::assertion;
    proofs_are_signed: "dpop-proof", oauth::proof;
    forms_are_read_in_one_way: "token-form", oauth::form;
    public_keys_have_one_spelling: "jwk", oauth::jwk;
    private_keys_survive_their_file: "pem", oauth::pem;
    notes_are_written_back: "note", log::note;
    checkpoints_are_written_back: "checkpoint", log::checkpoint;
    verifier_keys_are_written_back: "verifier-key", log::verifier_key;
    paths_are_written_back: "tile-path", log::tile_path;
    tiles_are_whole: "tile", log::tile;
    bundles_are_written_back: "bundle", log::bundle;
    offline_proofs_are_written_back: "tlog-proof", log::proof;
    records_are_written_canonically: "record", records::record;
    names_have_one_spelling: "name", records::name;
    no_tool_schema_keeps_policy_from_compiling: "tool-schema", pdp::tool_schema;
    policies_are_compiled_or_refused: "policy", pdp::policy;
}

#[test]
fn every_target_has_examples_and_every_folder_a_target() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("corpus");
    let folders = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    let folders: BTreeSet<_> = folders.map(|name| name.into_string().unwrap()).collect();
    let named: BTreeSet<_> = TARGETS.iter().map(|(name, _)| (*name).to_owned()).collect();
    assert_eq!(folders, named);
    assert_eq!(TARGETS.len(), named.len(), "no two targets share their examples");
    for (name, target) in TARGETS {
        let examples = fuzz::corpus(name);
        assert!(examples.iter().any(|example| target(example)), "{name}: no example is accepted");
    }
}
