//! Facts that several ask for at once are read together: one thread is woken for all of them, and one
//! transaction, which is begun after each has asked, shows them the same moment.
//!
//! INVARIANT: while nothing can be read, only so much waits; who gives up makes room at once, and nothing is read for
//! them, or for who does so while others are read (`i_18_only_so_many_loads_wait_and_none_of_who_gave_up_is_read`,
//! `i_18_only_so_many_loads_are_read_together_and_none_of_who_gives_up_meanwhile`).

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use model::{FactKey, Revision};
use rusqlite::{Connection, OptionalExtension as _, params};
use store::Facts;
use tokio::sync::oneshot::{self, error::RecvError};

use crate::batch::unsigned;
use crate::open::Readers;
use crate::queue::NotTaken;

/// How many threads read facts at once.
const THREADS_MAX: usize = 4;

/// How many loads wait for each thread that reads, before another one begins to.
const WAITING_EACH: usize = 16;

/// How many loads wait at most.
const WAITING_MAX: usize = 16_384;

/// How many loads one transaction reads at most: it keeps back what is to be moved out of the write-ahead log.
const TOGETHER_MAX: usize = 256;

/// What somebody who waits is told.
type Reply = Result<Facts, Arc<rusqlite::Error>>;

/// The facts that somebody waits for.
struct Load {
    keys: Vec<FactKey>,
    reply: oneshot::Sender<Reply>,
}

/// Somebody who waits for facts: who gives up gives their place back.
pub(crate) struct Waiter {
    loads: Arc<Loads>,
    number: u64,
    reply: oneshot::Receiver<Reply>,
    is_over: bool,
}

/// What waits to be read, in the order in which it came, and how many threads read.
#[derive(Default)]
struct Waiting {
    loads: BTreeMap<u64, Load>,
    /// The number of the next one.
    next: u64,
    threads: usize,
}

/// All that waits to be read.
#[derive(Default)]
pub(crate) struct Loads(Mutex<Waiting>);

/// The turn of a thread to read what waits.
pub(crate) struct Turn {
    loads: Arc<Loads>,
    is_over: bool,
}

impl Loads {
    /// Has somebody wait for the facts at `keys`, unless too many do; gives the turn of one more thread, if one more is
    /// to read.
    pub(crate) fn push(
        self: &Arc<Self>,
        keys: Vec<FactKey>,
    ) -> Result<(Waiter, Option<Turn>), NotTaken> {
        let (reply, answer) = oneshot::channel();
        let mut waiting = self.0.lock().expect("no panic while it is held");
        if waiting.loads.len() >= WAITING_MAX {
            return Err(NotTaken::Full);
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.loads.insert(number, Load { keys, reply });
        let waiter = Waiter { loads: self.clone(), number, reply: answer, is_over: false };
        let are_enough = waiting.loads.len() <= waiting.threads * WAITING_EACH;
        if are_enough || waiting.threads == THREADS_MAX {
            return Ok((waiter, None));
        }
        waiting.threads += 1;
        Ok((waiter, Some(Turn { loads: self.clone(), is_over: false })))
    }
}

impl Waiter {
    /// What was read, or why it could not be.
    ///
    /// # Errors
    /// Nobody reads it any longer.
    pub(crate) async fn answer(mut self) -> Result<Reply, RecvError> {
        let answer = (&mut self.reply).await;
        self.is_over = true;
        answer
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut waiting = self.loads.0.lock().expect("no panic while it is held");
        waiting.loads.remove(&self.number);
    }
}

impl Turn {
    /// Reads what waits, until nothing does.
    pub(crate) fn read(mut self, readers: &Readers) {
        while let Some(mut loads) = self.take() {
            if let Err(error) = readers.run(|connection| answer(connection, &mut loads)) {
                let error = Arc::new(error);
                for load in loads {
                    // Who gave up waiting is told nothing.
                    drop(load.reply.send(Err(error.clone())));
                }
            }
        }
    }

    /// What somebody waits for, as much of it as is read together; if nobody does, the turn is over.
    fn take(&mut self) -> Option<VecDeque<Load>> {
        let mut waiting = self.loads.0.lock().expect("no panic while it is held");
        if waiting.loads.is_empty() {
            waiting.threads -= 1;
            self.is_over = true;
            return None;
        }
        let first = std::iter::from_fn(|| waiting.loads.pop_first());
        Some(first.map(|(_, load)| load).take(TOGETHER_MAX).collect())
    }
}

impl Drop for Turn {
    /// Where it did not come to its end nobody waits in vain.
    fn drop(&mut self) {
        if self.is_over {
            return;
        }
        let mut waiting = self.loads.0.lock().expect("no panic while it is held");
        waiting.threads -= 1;
        if waiting.threads == 0 {
            waiting.loads.clear();
        }
    }
}

/// Answers all `loads` as of one moment; those that are left over were not read.
fn answer(connection: &mut Connection, loads: &mut VecDeque<Load>) -> Result<(), rusqlite::Error> {
    let transaction = connection.transaction()?;
    let revision: i64 = {
        let mut head = transaction.prepare_cached("SELECT revision FROM head")?;
        head.query_row([], |row| row.get(0))?
    };
    let revision = Revision(unsigned(revision));
    let mut query = transaction.prepare_cached("SELECT body FROM fact WHERE key = ?1")?;
    while let Some(Load { keys, reply }) = loads.front() {
        if reply.is_closed() {
            loads.pop_front();
            continue;
        }
        let body = |key: &FactKey| {
            query.query_row(params![key.as_str()], |row| row.get::<_, Vec<u8>>(0)).optional()
        };
        let bodies = keys.iter().map(body).collect::<Result<_, _>>()?;
        if let Some(Load { reply, .. }) = loads.pop_front() {
            drop(reply.send(Ok(Facts { bodies, revision })));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Has one more load wait; gives who waits for it, and the turn to read.
    fn pushed(loads: &Arc<Loads>) -> (Waiter, Option<Turn>) {
        loads.push(Vec::new()).expect("there is room")
    }

    #[test]
    fn one_thread_reads_for_many_and_another_where_too_many_wait() {
        let loads = Arc::new(Loads::default());
        let (mut answers, mut turns) = (Vec::new(), Vec::new());
        for waiting in 1..=2 * THREADS_MAX * WAITING_EACH {
            let (answer, turn) = pushed(&loads);
            answers.push(answer);
            turns.extend(turn);
            let wanted = (waiting - 1) / WAITING_EACH + 1;
            assert_eq!(turns.len(), wanted.min(THREADS_MAX), "{waiting} wait");
        }
        let mut first = turns.remove(0);
        assert_eq!(first.take().map(|taken| taken.len()), Some(answers.len()));
        for mut turn in turns.into_iter().chain([first]) {
            assert!(turn.take().is_none());
        }
        assert!(pushed(&loads).1.is_some(), "nobody reads any longer");
    }

    #[test]
    fn nobody_waits_for_a_thread_that_does_not_come() {
        let loads = Arc::new(Loads::default());
        let (mut waiter, turn) = pushed(&loads);
        drop(turn.expect("the first one begins"));
        assert!(matches!(waiter.reply.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(pushed(&loads).1.is_some(), "the next one begins anew");
    }

    #[test]
    fn i_18_only_so_many_loads_wait_and_none_of_who_gave_up_is_read() {
        let loads = Arc::new(Loads::default());
        let (mut answers, mut turns) = (Vec::new(), Vec::new());
        for _ in 0..WAITING_MAX {
            let (answer, turn) = pushed(&loads);
            answers.push(answer);
            turns.extend(turn);
        }
        let is_full = || matches!(loads.push(Vec::new()), Err(NotTaken::Full));
        assert!(is_full());
        // Who gives up makes room for one, and no more.
        drop(answers.pop());
        answers.push(pushed(&loads).0);
        assert!(is_full());
        answers.truncate(1);
        let mut turn = turns.remove(0);
        assert_eq!(turn.take().map(|taken| taken.len()), Some(1));
        assert!(turn.take().is_none(), "nobody else waits");
        drop(pushed(&loads));
        assert!(turns.remove(0).take().is_none(), "who asked has given up");
    }

    #[test]
    fn i_18_only_so_many_loads_are_read_together_and_none_of_who_gives_up_meanwhile() {
        let loads = Arc::new(Loads::default());
        let (mut answers, mut turns) = (Vec::new(), Vec::new());
        for _ in 0..=TOGETHER_MAX {
            let (answer, turn) = pushed(&loads);
            answers.push(answer);
            turns.extend(turn);
        }
        let mut turn = turns.remove(0);
        for together in [TOGETHER_MAX, answers.len() - TOGETHER_MAX] {
            assert_eq!(turn.take().map(|taken| taken.len()), Some(together));
        }

        let mut connection = Connection::open_in_memory().unwrap();
        connection.execute_batch(include_str!("../migrations/0001.sql")).unwrap();
        // One that is no fact: whoever reads it fails.
        connection.execute("INSERT INTO fact VALUES ('bad', 1, 7)", []).unwrap();
        let asked = |key: &str| {
            let (reply, answer) = oneshot::channel();
            (Load { keys: vec![FactKey::from_text(key)], reply }, answer)
        };
        let ((bad, gone), (none, mut waits)) = (asked("bad"), asked("none"));
        drop(gone);
        let mut taken = VecDeque::from([bad, none]);
        answer(&mut connection, &mut taken).unwrap();
        assert!(taken.is_empty());
        let facts = waits.try_recv().unwrap().unwrap();
        assert!(facts.bodies[0].is_none());
    }
}
