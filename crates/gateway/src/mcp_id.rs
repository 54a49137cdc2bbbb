//! The client's own request id, kept as it was written.

use std::fmt;

use serde_json::value::RawValue;

/// A request id as the client wrote it, or null where there was none to read.
#[derive(Clone, Debug)]
pub(crate) struct Id(Option<Box<RawValue>>);

impl Id {
    /// The id of a request.
    pub(crate) const fn of(raw: Box<RawValue>) -> Self {
        Self(Some(raw))
    }

    /// No id: what could not be read is answered with null.
    pub(crate) const fn null() -> Self {
        Self(None)
    }
}

impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.as_ref().map_or("null", |raw| raw.get()))
    }
}
