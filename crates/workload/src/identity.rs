//! Who the holder of a token is.

use model::{Timestamp, WorkloadIdentity};

/// What a token that was verified says.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "whoever verifies a token wants to know whose it is"]
pub struct Verified {
    /// Whose it is.
    pub identity: WorkloadIdentity,
    /// Until when it says so (`exp`): nothing that rests on it alone should last longer.
    pub expires: Timestamp,
}
