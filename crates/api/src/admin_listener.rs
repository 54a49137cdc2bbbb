//! The listener of people and observers: `listen.admin`.

use axum::Router;

use crate::described::{self, merged};
use crate::openapi::About;
use crate::{Directories, Observers, People, Streams, directories, observers, people, streams};

/// The router of the listener, with one document for all that is there.
pub fn admin_listener(
    observers: Observers,
    people: People,
    (directories, streams): (Directories, Streams),
) -> Router {
    let about = About {
        title: "Chancery: people, directories, streams and observers",
        description: "Health, metrics and the public part of the log; the pages on which people log \
                      in and consent; the SCIM service provider for directories; and where shared \
                      signals are pushed. Administration is on a socket of its own.",
        schemes: merged(
            described::people::schemes(),
            merged(described::directories::schemes(), described::streams::schemes()),
        ),
    };
    let of_people = people::routes();
    let of_directories = directories::routes();
    let of_streams = streams::routes();
    let others = [of_people.told(), of_directories.told(), of_streams.told()];
    let of_observers = observers::routes().with_document(&about, others);
    observers
        .answering(of_observers)
        .merge(people.answering(of_people.into_router()))
        .merge(directories.answering(of_directories.into_router()))
        .merge(streams.answering(of_streams.into_router()))
}
