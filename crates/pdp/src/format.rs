//! How policies are laid out.

use std::collections::BTreeMap;

use cedar_policy::Policy;
use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::compile::parse;
use crate::limits::is_short;
use crate::nesting::is_shallow;
use crate::report::{Finding, Said};
use crate::split::{in_lines, placed};

/// The width of a line, and by how much is indented: those of Cedar's own tools.
const CONFIG: Config = Config { line_width: 80, indent_width: 2 };

/// The policies of `text`, the content of `file`, laid out in the one way; comments stay.
pub fn format(file: &str, text: &str) -> Result<String, Finding> {
    is_shallow(text).map_err(|(at, why)| Finding::within((file, 1, text), (Some(at), why)))?;
    for (line, policy) in in_lines(text) {
        is_short(policy, "policies").map_err(|said| Finding::within((file, line, policy), said))?;
    }
    policies_str_to_pretty(text, &CONFIG)
        .map_err(|report| Finding::at(file, None, format!("cannot be laid out: {report:#}")))
}

/// The policies in `files` by their ids, each laid out in the one way, so that those of two sets can be held against
/// each other.
pub fn by_id(files: &BTreeMap<String, String>) -> Result<BTreeMap<String, String>, Finding> {
    let laid_out = |(id, policy): (String, Policy)| {
        let text = policy.to_cedar();
        let text = text.ok_or_else(|| Finding::general("it has no text").of(&id))?;
        let text = format(&id, &text)?;
        Ok((id, text))
    };
    policies(files)?.into_iter().map(laid_out).collect()
}

/// The policies in `files` by their ids.
pub(crate) fn policies(
    files: &BTreeMap<String, String>,
) -> Result<BTreeMap<String, Policy>, Finding> {
    let mut all = BTreeMap::new();
    for (file, line, text) in placed(files) {
        let unread = |said: Said| Finding::within((file, line, text), said);
        let policy =
            parse(text).map_err(|found| unread(found.into_iter().next().unwrap_or_default()))?;
        let id = policy.annotation("id");
        let id = id.ok_or_else(|| unread((None, "the policy has no @id".to_owned())))?;
        all.insert(id.to_owned(), policy);
    }
    Ok(all)
}
