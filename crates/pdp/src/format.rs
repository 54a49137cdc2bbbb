//! How policies are laid out.

use cedar_policy_formatter::{Config, policies_str_to_pretty};

use crate::report::Finding;

/// The width of a line, and by how much is indented: those of Cedar's own tools.
const CONFIG: Config = Config { line_width: 80, indent_width: 2 };

/// The policies of `text`, the content of `file`, laid out in the one way; comments stay.
pub fn format(file: &str, text: &str) -> Result<String, Finding> {
    policies_str_to_pretty(text, &CONFIG)
        .map_err(|report| Finding::at(file, None, format!("cannot be laid out: {report:#}")))
}
