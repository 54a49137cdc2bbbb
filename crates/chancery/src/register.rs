//! `chancery register`: agents with what acts as them, a page at a time, each line told as it comes.

use pap::Command as Asked;
use serde_json::Value;

use crate::cli::Register;
use crate::reviews::counted;

/// Runs one command.
pub(crate) async fn run(register: Register) -> anyhow::Result<()> {
    let Register::Show { at, socket } = register;
    let mut after = None;
    loop {
        let asked = Asked::RegisterShow { as_of: at.as_of.clone(), after };
        let told = counted(&socket.socket, &asked).await?;
        if let Some(why) = told["unseen"].as_str() {
            eprintln!("chancery: nobody can tell when instances were last seen: {why}");
        }
        let agents = told["agents"].as_array().into_iter().flatten();
        agents.for_each(|agent| println!("{agent}"));
        let Value::String(next) = &told["next"] else { return Ok(()) };
        after = Some(next.clone());
    }
}
