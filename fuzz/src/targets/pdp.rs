//! What the decision point reads: tools' input schemas, which servers write, and policies with what stands beside them.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use json::Limits;
use model::ToolRef;
use pdp::agentcore::usual_claims;
use pdp::{Bundle, STARTER_POLICY, Snapshot, ToolSchema};
use serde_json::{Value, json};

/// The one tool of the bundles here.
static TOOL: LazyLock<ToolRef> = LazyLock::new(|| "up/tool".parse().expect("a tool"));

fn bundle(policy: &str, input_schema: Value) -> Bundle {
    Bundle {
        policies: BTreeMap::from([("policy.cedar".to_owned(), policy.to_owned())]),
        tools: BTreeMap::from([(TOOL.clone(), ToolSchema { input_schema })]),
        ..Bundle::default()
    }
}

/// A schema and arguments: no server's schema keeps a policy set from being compiled, or editors from being told of it,
/// and whether arguments fit it is said in the end.
pub fn tool_schema(bytes: &[u8]) -> bool {
    let limits = Limits { bytes: 8 << 10, depth: 48 };
    let Ok(value) = json::parse(bytes, limits) else { return false };
    let bundle = bundle(STARTER_POLICY, value["schema"].clone());
    pdp::schema_text(&bundle).expect("what a server lists keeps no editor from being told");
    let compiled = Snapshot::compile(bundle);
    let snapshot = compiled.expect("what a server lists keeps no policy set from being compiled");
    let fits = snapshot.validate_arguments(&TOOL, &value["arguments"]);
    assert!(fits.as_ref().err().is_none_or(|invalid| invalid.message.len() <= 300));
    assert_eq!(snapshot.validate_arguments(&TOOL, &value["arguments"]), fits);
    fits.is_ok()
}

/// A policy: it is compiled, under the digest of its bundle, or refused with what is wrong.
pub fn policy(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    is_compiled(bundle(text, json!({ "type": "object" })))
}

/// The files beside policies, and a schema part, with lines of `---` between them: the same of a set with them.
pub fn beside(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let mut files = text.split("\n---\n").map(str::to_owned);
    let arguments = json!({
        "amount": { "type": "number" },
        "account": { "type": "string" },
        "currency": { "type": "string" },
    });
    let required = json!(["amount", "account", "currency"]);
    let schema = json!({ "type": "object", "properties": arguments, "required": required });
    let mut bundle = Bundle {
        labels: files.next(),
        budgets: files.next(),
        strictness: files.next(),
        ..bundle(STARTER_POLICY, schema)
    };
    bundle.schema.extend(files.next().map(|text| ("own.cedarschema".to_owned(), text)));
    is_compiled(bundle)
}

fn is_compiled(bundle: Bundle) -> bool {
    let digest = bundle.digest();
    match Snapshot::compile(bundle) {
        Ok(snapshot) => {
            assert_eq!(snapshot.digest(), digest);
            true
        }
        Err(errors) => {
            assert!(!errors.to_string().is_empty());
            false
        }
    }
}

/// Policies of `AgentCore`: they are said whole, each under a name, in one way, or refused with what is wrong.
pub fn imported(bytes: &[u8]) -> bool {
    let Some(text) = super::text(bytes) else { return false };
    let files = |text: String| BTreeMap::from([("policy.cedar".to_owned(), text)]);
    let import = || pdp::agentcore::import(&files(text.to_owned()), &usual_claims());
    let said = import();
    match &said {
        Ok(said) => {
            let named = pdp::by_id(&files(said.clone())).expect("what is said is policies");
            assert!(!named.is_empty());
        }
        Err(errors) => assert!(!errors.to_string().is_empty()),
    }
    let said = said.ok();
    assert_eq!(import().ok(), said);
    said.is_some()
}
