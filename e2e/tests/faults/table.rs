//! `docs/failure-table.md` names tests that exist.

/// Every row names a test, and there is such a test.
#[test]
fn every_row_of_the_failure_table_has_its_test() {
    let root = e2e::repository();
    let table = std::fs::read_to_string(root.join("docs/failure-table.md")).expect("it is there");
    let mut sources = String::new();
    let mut dirs = vec![root.join("e2e/tests"), root.join("crates")];
    while let Some(dir) = dirs.pop() {
        for entry in std::fs::read_dir(dir).expect("it can be read").flatten() {
            let path = entry.path();
            if path.is_dir() {
                dirs.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                sources += &std::fs::read_to_string(path).expect("it is text");
            }
        }
    }
    let rows: Vec<_> = table.lines().filter(|line| line.starts_with("| ")).skip(2).collect();
    assert!(rows.len() > 10, "the table has {} rows", rows.len());
    for row in rows {
        let tests = row.trim_end_matches('|').rsplit('|').next().unwrap_or_default();
        let tests: Vec<_> = tests.split('`').skip(1).step_by(2).collect();
        assert!(!tests.is_empty(), "no test: {row}");
        for test in tests {
            assert!(sources.contains(&format!("fn {test}(")), "there is no test `{test}`: {row}");
        }
    }
}
