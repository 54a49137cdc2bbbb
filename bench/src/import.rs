//! `scim-import`: a whole organisation is told by its directory, one request for each person, and after that
//! one for each agent.

use std::cell::Cell;
use std::path::Path;
use std::rc::Rc;
use std::time::Instant;

use crate::deployment::Deployment;
use crate::directory::{Directory, say};
use crate::governed::{Programs, progress};
use crate::http::Connection;
use crate::load;
use crate::report::{Goal, Round, Row};
use crate::upstream::Upstream;

const ROUNDS: usize = 3;

/// How many people there are.
const PEOPLE: usize = 100_000;

/// How many agents there are, each of somebody else.
const AGENTS: usize = 10_000;

/// How many requests are under way at once, each on a connection of its own.
const CLIENTS: usize = 32;

/// How many times it is said of each kind how far it is.
const STEPS: usize = 10;

/// How long it may take at most, in seconds.
const LIMIT_S: f64 = 90.0;

/// Measures the row.
pub(crate) fn measure(dir: &Path, programs: &Programs) -> anyhow::Result<Row> {
    let mut rounds = Vec::with_capacity(ROUNDS);
    for round in 0..ROUNDS {
        let dir = dir.join(format!("round-{round}"));
        std::fs::create_dir(&dir)?;
        let upstream = Upstream::start()?;
        let deployment = Deployment::start(&dir, &programs.chancery, upstream.port, "")?;
        let directory = Directory::register(&deployment)?;
        let value = load::on_load_core(import(Rc::new(directory)))?;
        progress(&format!("{value:.1} s"));
        rounds.push(Round { value, ratio: value / LIMIT_S });
    }
    let against =
        format!("{LIMIT_S:.0} s for {PEOPLE} people and {AGENTS} agents by {CLIENTS} clients");
    let goal = Goal { value_at_most: Some(LIMIT_S), ..Goal::default() };
    Ok(Row::new("scim-import", "s", rounds).against(against).wants(goal))
}

/// How long it takes until everybody is known, and every agent, in seconds.
async fn import(directory: Rc<Directory>) -> anyhow::Result<f64> {
    let started = Instant::now();
    for (what, count) in [(What::People, PEOPLE), (What::Agents, AGENTS)] {
        let next = Rc::new(Cell::new(0));
        let clients: Vec<_> = (0..CLIENTS)
            .map(|_| client(directory.clone(), (what, count, next.clone()), started))
            .map(tokio::task::spawn_local)
            .collect();
        for client in clients {
            client.await??;
        }
    }
    Ok(started.elapsed().as_secs_f64())
}

/// What a directory tells of.
#[derive(Clone, Copy, Debug)]
enum What {
    People,
    Agents,
}

/// Tells of one after the other, until all of this kind are told of.
async fn client(
    directory: Rc<Directory>,
    (what, count, next): (What, usize, Rc<Cell<usize>>),
    started: Instant,
) -> anyhow::Result<()> {
    let mut connection = Connection::open(directory.port).await?;
    loop {
        let number = next.replace(next.get() + 1);
        if number >= count {
            return Ok(());
        }
        if number.is_multiple_of(count / STEPS) && number > 0 {
            progress(&format!("{number} {what:?}, {:.1} s", started.elapsed().as_secs_f64()));
        }
        let person = format!("p{number}");
        let request = match what {
            What::People => directory.new_user(&person),
            What::Agents => directory.new_agent(&format!("a{number}"), &person),
        };
        say(&mut connection, &request, 201).await?;
    }
}
