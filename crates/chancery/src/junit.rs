//! The results of cases as JUnit XML, which continuous integration shows.

use std::collections::BTreeMap;

use pap::CaseResult;
use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

/// The report: a suite for each file.
pub(crate) fn report(results: &BTreeMap<String, Vec<CaseResult>>) -> anyhow::Result<String> {
    let mut report = Report::new("chancery policy test");
    for (file, results) in results {
        let mut suite = TestSuite::new(file.as_str());
        suite.add_test_cases(results.iter().map(|result| case(file, result)));
        report.add_test_suite(suite);
    }
    Ok(report.to_string()?)
}

fn case(file: &str, result: &CaseResult) -> TestCase {
    let status = match &result.held {
        Ok(()) => TestCaseStatus::success(),
        Err(error) => {
            let mut status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_message(error.to_string());
            status
        }
    };
    let mut case = TestCase::new(result.name.as_str(), status);
    case.extra.insert("file".into(), file.into());
    if let Some(line) = result.line {
        case.extra.insert("line".into(), line.to_string().into());
    }
    case
}
