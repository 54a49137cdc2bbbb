//! How much a bundle may hold, and how long each text in it may be that Cedar parses at once.

use crate::Bundle;
use crate::report::{CompileErrors, Finding, Said};

/// The most policies in one bundle.
pub const POLICIES_MAX: usize = 20_000;

/// The most bytes of policy and schema text in one bundle.
pub const POLICY_BYTES_MAX: usize = 16 << 20;

/// The longest text that Cedar parses at once, in bytes: a policy, or a schema part. Of `[1,1,…]` it takes about 1 KB
/// of memory for each number.
pub const TEXT_MAX: usize = 256 << 10;

/// The most tools in one bundle.
pub const TOOLS_MAX: usize = 20_000;

/// Whether `bundle` holds no more than may be; its texts are not parsed.
pub(crate) fn limits(bundle: &Bundle) -> Result<(), CompileErrors> {
    let texts = bundle.policies.values().chain(bundle.schema.values()).chain(&bundle.labels);
    let texts = texts.chain(&bundle.budgets).chain(&bundle.strictness);
    let bytes: usize = texts.map(String::len).sum();
    if bytes > POLICY_BYTES_MAX {
        let message = format!(
            "more than {POLICY_BYTES_MAX} bytes of policy: say of several tools or agents at once what is alike"
        );
        return Err(Finding::general(message).into());
    }
    if bundle.tools.len() > TOOLS_MAX {
        let message = format!("more than {TOOLS_MAX} tools: onboard only what is called");
        return Err(Finding::general(message).into());
    }
    Ok(())
}

/// Whether `text`, of which several can be written (`policies`, `schema parts`), is short enough to be parsed; else
/// what is the matter.
pub(crate) fn is_short(text: &str, several: &str) -> Result<(), Said> {
    if text.len() <= TEXT_MAX {
        return Ok(());
    }
    let remedy = format!("say of many at once what is alike, or write several {several}");
    Err((Some(0), format!("is {} bytes long, of at most {TEXT_MAX}: {remedy}", text.len())))
}
