//! The names of the rows. Shared with the task that runs them; it knows nothing else.

/// Every row, in the order in which they are measured.
pub(crate) const ROWS: [&str; 24] = [
    "decide-100",
    "decide-10000",
    "depth",
    "prove",
    "agentdojo",
    "compile-policies",
    "compile-groups",
    "append-1",
    "append-64",
    "exchange",
    "exchange-peer",
    "cascade",
    "suspend",
    "signal",
    "replay",
    "activate",
    "scim-import",
    "governed-cpu",
    "governed-64",
    "governed-added",
    "shim-added",
    "flood",
    "idle-rss",
    "idle-stream",
];

/// The rows that were asked for, all if none was; the first name that is none is an error.
pub(crate) fn chosen(asked: &[String]) -> Result<Vec<&'static str>, String> {
    let known = |name: &String| ROWS.contains(&name.as_str());
    if let Some(unknown) = asked.iter().find(|name| !known(name)) {
        return Err(format!("there is no row `{unknown}`; the rows are {}", ROWS.join(", ")));
    }
    let wanted = |row: &&str| asked.is_empty() || asked.iter().any(|name| name == row);
    Ok(ROWS.into_iter().filter(wanted).collect())
}
