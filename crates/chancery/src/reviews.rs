//! `chancery review`: opens reviews, exports them while the service counts what agents did, takes what was
//! decided, and withdraws them.

use std::path::Path;

use anyhow::Context as _;
use pap::{Command as Asked, ReviewAsked, ReviewFormat};
use serde_json::Value;

use crate::cli::Review;
use crate::socket;

/// Runs one command.
pub(crate) async fn run(review: Review) -> anyhow::Result<()> {
    match review {
        Review::Open(typed) => {
            let (agents, sponsor, due) = (typed.agents, typed.sponsor, typed.due);
            let asked = Asked::ReviewOpen(ReviewAsked { agents, sponsor, due });
            println!("{}", socket::call(&typed.socket.socket, &asked).await?);
        }
        Review::Export { id, scim, socket } => {
            let format = if scim { ReviewFormat::Scim } else { ReviewFormat::Csv };
            let told = counted(&socket.socket, &Asked::ReviewExport { id, format }).await?;
            print!("{}", told["file"].as_str().context("the answer holds no file")?);
        }
        Review::Import { id, file, socket } => {
            let asked = Asked::ReviewImport { id, file: decisions(&file)? };
            println!("{}", counted(&socket.socket, &asked).await?);
        }
        Review::Withdraw { id, reason, socket } => {
            let asked = Asked::ReviewWithdraw { id, reason };
            println!("{}", socket::call(&socket.socket, &asked).await?);
        }
        Review::Show { id, socket } => {
            let told = socket::call(&socket.socket, &Asked::ReviewShow { id }).await?;
            println!("{}", serde_json::to_string_pretty(&told)?);
        }
        Review::List { socket } => {
            let told = socket::call(&socket.socket, &Asked::ReviewList).await?;
            told.as_array().into_iter().flatten().for_each(|review| println!("{review}"));
        }
    }
    Ok(())
}

/// What is answered to `asked` once the records are counted for it; tells meanwhile how far that is.
pub(crate) async fn counted(socket: &Path, asked: &Asked) -> anyhow::Result<Value> {
    loop {
        let told = socket::call(socket, asked).await?;
        if told["counted"].is_null() {
            return Ok(told);
        }
        eprintln!("chancery: counted {} of {} records", told["counted"], told["of"]);
    }
}

/// The text of the file at `path`, which is no longer than a table may be.
fn decisions(path: &Path) -> anyhow::Result<String> {
    let bytes = crate::people::read(path, pap::REVIEW_FILE_MAX)?;
    String::from_utf8(bytes).with_context(|| format!("`{}` is no table", path.display()))
}
