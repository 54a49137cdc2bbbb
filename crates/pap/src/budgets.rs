//! Budgets of the policy set in force: how much is left of each, and who used the rest.

use model::PersonId;
use serde_json::{Value, json};

use crate::command::{AdminError, Administration};

/// The most of those who used up something of one budget that are shown.
const SHOWN_MAX: usize = 1_000;

impl Administration {
    /// Lists them, each with what was used up of it in the time that is now.
    pub(crate) async fn budget_list(&self, by: &PersonId) -> Result<Value, AdminError> {
        self.may_read(by, "budget/").await?;
        let pip = self.authority.pip();
        let policy = pip.policy();
        let mut all = Vec::new();
        for (budget, window) in policy.snapshot.budgets().all(self.now()) {
            let used = authority::used(pip.store(), (&budget, &window), SHOWN_MAX).await;
            let used = used.map_err(AdminError::unavailable)?.into_iter();
            let used: Vec<_> = used
                .map(|(by, used)| json!({ "by": by, "used": used, "left": budget.cap.less(used) }))
                .collect();
            let mut told = json!(budget);
            told["is_all"] = json!(used.len() < SHOWN_MAX);
            told["used"] = json!(used);
            told["window"] = json!(window);
            all.push(told);
        }
        Ok(Value::Array(all))
    }
}
