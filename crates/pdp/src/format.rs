//! How policies are laid out.

use std::collections::BTreeMap;
use std::str::FromStr as _;

use cedar_policy::{Policy, PolicySet};
use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::nesting::is_shallow;
use crate::report::{Finding, line_of};

/// The width of a line, and by how much is indented: those of Cedar's own tools.
const CONFIG: Config = Config { line_width: 80, indent_width: 2 };

/// The policies of `text`, the content of `file`, laid out in the one way; comments stay.
pub fn format(file: &str, text: &str) -> Result<String, Finding> {
    shallow(file, text)?;
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
    for (file, text) in files {
        let unread = |why: String| Finding::at(file, None, why);
        shallow(file, text)?;
        let set = PolicySet::from_str(text).map_err(|error| unread(error.to_string()))?;
        for policy in set.policies() {
            let id =
                policy.annotation("id").ok_or_else(|| unread("a policy has no @id".to_owned()))?;
            all.insert(id.to_owned(), policy.clone());
        }
    }
    Ok(all)
}

/// Whether `text`, the content of `file`, nests no deeper than can be parsed.
fn shallow(file: &str, text: &str) -> Result<(), Finding> {
    is_shallow(text).map_err(|(at, why)| Finding::at(file, Some(line_of(text, at)), why))
}
