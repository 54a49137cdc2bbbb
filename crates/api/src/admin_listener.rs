//! The listener of people and observers: `listen.admin`.

use axum::Router;

use crate::described::people::schemes;
use crate::openapi::About;
use crate::{Observers, People, observers, people};

/// The router of the listener, with one document for all that is there.
pub fn admin_listener(observers: Observers, people: People) -> Router {
    let about = About {
        title: "Chancery: people and observers",
        description: "Health, metrics and the public part of the log; and the pages on which people \
                      log in and consent. Administration is on a socket of its own.",
        schemes: schemes(),
    };
    let of_people = people::routes();
    let of_observers = observers::routes().with_document(&about, [of_people.told()]);
    observers.answering(of_observers).merge(people.answering(of_people.into_router()))
}
