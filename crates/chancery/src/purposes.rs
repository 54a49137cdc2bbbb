//! `chancery purpose`: what the service is asked.

use std::path::PathBuf;

use pap::{Command as Asked, PurposeRegistration, PurposeSaid};

use crate::cli::{Purpose, PurposeFor};

/// What is asked of purposes.
pub(crate) fn asked(purpose: Purpose) -> (PathBuf, Asked) {
    let (socket, asked) = match purpose {
        Purpose::Add {
            id,
            owner,
            tools,
            harm,
            objects,
            data,
            max_calls,
            max_tasks_a_day,
            description,
            socket,
        } => {
            let registration = PurposeRegistration {
                id,
                owner,
                tools,
                harm,
                objects,
                data,
                max_calls,
                max_tasks_a_day,
                description,
            };
            (socket, Asked::PurposeAdd(registration))
        }
        Purpose::Narrow { id, named, socket } => {
            (socket, Asked::PurposeNarrow(said(id, named, (false, false))))
        }
        Purpose::Widen { id, named, any_object, any_data, socket } => {
            (socket, Asked::PurposeWiden(said(id, named, (any_object, any_data))))
        }
        Purpose::Owner { id, owner, socket } => (socket, Asked::PurposeOwner { id, owner }),
        Purpose::Show { id, at, socket } => {
            (socket, Asked::PurposeList { id: Some(id), as_of: at.as_of })
        }
        Purpose::List { at, socket } => (socket, Asked::PurposeList { id: None, as_of: at.as_of }),
    };
    (socket.socket, asked)
}

fn said(id: String, named: PurposeFor, (any_object, any_data): (bool, bool)) -> PurposeSaid {
    let PurposeFor { tools, objects, data } = named;
    PurposeSaid { id, tools, objects, any_object, data, any_data }
}
