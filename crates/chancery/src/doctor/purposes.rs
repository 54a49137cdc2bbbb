//! Which purposes leave open on which data work is done for them.

use pap::Command as Asked;
use serde_json::Value;

use super::Observation;
use crate::config::Config;
use crate::socket;

/// Asks the service.
pub(super) async fn check(config: &Config) -> Vec<Observation> {
    let asked = Asked::PurposeList { id: None, as_of: None };
    match socket::call(&config.admin_socket(), &asked).await {
        Ok(listed) => open(&listed),
        Err(error) => {
            let what = format!("it did not tell what purposes are for: {error:#}");
            vec![Observation::weak("purposes", what, "see its log")]
        }
    }
}

/// What is told of the purposes that were `listed`.
fn open(listed: &Value) -> Vec<Observation> {
    let rows = listed.as_array().into_iter().flatten();
    rows.map(|row| {
        let id = row["id"].as_str().unwrap_or_default();
        if row["any_object"] != true {
            return Observation::ok("purposes", format!("`{id}` says on which data work is done"));
        }
        let what = format!(
            "`{id}` names no data objects: it is for whatever the mandate and the ceiling allow"
        );
        let remedy = format!("chancery purpose narrow {id} --object … (docs/purposes.md)");
        Observation::weak("purposes", what, remedy)
    })
    .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::State;
    use super::*;

    #[test]
    fn r_41_a_purpose_that_names_no_data_objects_is_told() {
        let rows = json!([
            { "id": "care", "any_object": true },
            { "id": "refunds", "any_object": false },
        ]);
        let told = open(&rows);
        assert_eq!(told.iter().map(|it| it.state).collect::<Vec<_>>(), [State::Weak, State::Ok]);
        assert!(told[0].what.starts_with("`care` names no data objects"), "{told:?}");
        assert_eq!(told[1].what, "`refunds` says on which data work is done");
        assert_eq!(open(&json!([])), []);
    }
}
