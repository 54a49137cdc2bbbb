//! The listener of people and observers: `listen.admin`.

use axum::Router;
use serde_json::Value;

use crate::described;
use crate::openapi::About;
use crate::{Directories, Observers, People, directories, observers, people};

/// The router of the listener, with one document for all that is there.
pub fn admin_listener(observers: Observers, people: People, directories: Directories) -> Router {
    let about = About {
        title: "Chancery: people, directories and observers",
        description: "Health, metrics and the public part of the log; the pages on which people log \
                      in and consent; and the SCIM service provider for directories. Administration \
                      is on a socket of its own.",
        schemes: merged(described::people::schemes(), described::directories::schemes()),
    };
    let of_people = people::routes();
    let of_directories = directories::routes();
    let others = [of_people.told(), of_directories.told()];
    let of_observers = observers::routes().with_document(&about, others);
    observers
        .answering(of_observers)
        .merge(people.answering(of_people.into_router()))
        .merge(directories.answering(of_directories.into_router()))
}

/// All schemes of both.
fn merged(mut schemes: Value, others: Value) -> Value {
    if let (Value::Object(schemes), Value::Object(others)) = (&mut schemes, others) {
        schemes.extend(others);
    }
    schemes
}
