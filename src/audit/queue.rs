//! The way to the writer: what is asked of it, and when it has waited long enough for more.
//!
//! A commit costs the disk as much for one record as for a hundred. So what nobody waits for is gathered for a moment,
//! and where several wait, they wait for each other. Whoever waits alone is served at once.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread::Thread;
use std::time::Duration;

use super::auditor::AuditUnavailable;
use super::writer::Job;

/// Records in one transaction at most.
const BATCH: usize = 512;
/// How long what nobody waits for is gathered.
const GATHERED: Duration = Duration::from_millis(10);
/// How long those who wait do so for others, where there were others just before.
const COMPANY: Duration = Duration::from_micros(300);

/// Wakes the writer while it gathers.
#[derive(Debug, Default)]
struct Bell {
    writer: OnceLock<Thread>,
    rung: AtomicBool,
}

/// The side of those who have something to be written.
#[derive(Debug, Clone)]
pub(super) struct Queue {
    jobs: Sender<Job>,
    bell: Arc<Bell>,
}

/// The writer's side.
#[derive(Debug)]
pub(super) struct Queued {
    jobs: Receiver<Job>,
    bell: Arc<Bell>,
    /// Whether several waited for the last batch.
    had_company: bool,
}

pub(super) fn queue() -> (Queue, Queued) {
    let (sender, receiver) = channel();
    let bell = Arc::new(Bell::default());
    (Queue { jobs: sender, bell: Arc::clone(&bell) }, Queued { jobs: receiver, bell, had_company: false })
}

impl Queue {
    /// Queues it. What somebody waits for ends the gathering.
    pub(super) fn send(&self, job: Job) -> Result<(), AuditUnavailable> {
        let urgent = job.is_awaited();
        self.jobs.send(job).map_err(|_| AuditUnavailable)?;
        if urgent {
            self.hurry();
        }
        Ok(())
    }

    /// Ends the gathering: somebody waits for room.
    pub(super) fn hurry(&self) {
        self.bell.rung.store(true, Ordering::Release);
        if let Some(writer) = self.bell.writer.get() {
            writer.unpark();
        }
    }
}

impl Queued {
    /// What comes next, however long it takes; `None` when nobody is left who could send anything.
    pub(super) fn next(&self) -> Option<Job> {
        self.jobs.recv().ok()
    }

    /// What comes within this time.
    pub(super) fn next_within(&self, time: Duration) -> Result<Job, RecvTimeoutError> {
        self.jobs.recv_timeout(time)
    }

    /// A batch that begins with this, and whether the writer is to end after it.
    pub(super) fn batch(&mut self, first: Option<Job>) -> (Vec<Job>, bool) {
        let mut batch = Vec::new();
        self.bell.rung.store(false, Ordering::Release);
        let Some(first) = first else { return (batch, false) };
        if matches!(first, Job::Stop) {
            return (batch, true);
        }
        batch.push(first);
        if self.take(&mut batch) {
            return (batch, true);
        }
        let awaited = |batch: &[Job]| batch.iter().filter(|job| job.is_awaited()).count();
        if batch.len() < BATCH {
            if awaited(&batch) == 0 {
                self.bell.writer.get_or_init(std::thread::current);
                // Whoever rang since the bell was silenced has left a token, so that this returns at once.
                if !self.bell.rung.load(Ordering::Acquire) {
                    std::thread::park_timeout(GATHERED);
                }
            } else if self.had_company {
                std::thread::sleep(COMPANY);
            }
        }
        let stop = self.take(&mut batch);
        self.had_company = awaited(&batch) > 1;
        (batch, stop)
    }

    /// Takes what has arrived; whether the writer is to end.
    fn take(&self, batch: &mut Vec<Job>) -> bool {
        while batch.len() < BATCH {
            match self.jobs.try_recv() {
                Ok(Job::Stop) => return true,
                Ok(job) => batch.push(job),
                Err(_) => return false,
            }
        }
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::SinkName;

    fn advance(cursor: i64) -> Job {
        Job::Advance("collector".parse::<SinkName>().expect("a name"), cursor)
    }

    fn cursors(batch: &[Job]) -> Vec<i64> {
        let cursor = |job: &Job| match job {
            Job::Advance(_, cursor) => Some(*cursor),
            Job::Write { .. } | Job::Probe | Job::Stop => None,
        };
        batch.iter().filter_map(cursor).collect()
    }

    #[test]
    fn what_has_arrived_is_one_batch_in_order_and_no_larger_than_allowed() {
        let (sender, mut queued) = queue();
        let all = i64::try_from(BATCH).expect("a number") + 3;
        (0..all).for_each(|cursor| sender.send(advance(cursor)).expect("queued"));
        let first = queued.next();
        let (batch, stop) = queued.batch(first);
        assert_eq!((batch.len(), stop), (BATCH, false));
        let first = queued.next();
        let (rest, _) = queued.batch(first);
        assert_eq!(cursors(&[batch, rest].into_iter().flatten().collect::<Vec<_>>()), (0..all).collect::<Vec<_>>());
    }

    #[test]
    fn what_comes_while_others_are_gathered_comes_along() {
        let (sender, mut queued) = queue();
        sender.send(advance(1)).expect("queued");
        let first = queued.next();
        let later = std::thread::spawn({
            let sender = sender.clone();
            move || {
                sender.send(advance(2)).expect("queued");
                sender.send(Job::Probe).expect("queued");
            }
        });
        let mut seen = Vec::new();
        let (mut next, mut probed) = (first, false);
        while !probed {
            let (batch, _) = queued.batch(next);
            probed = batch.iter().any(|job| matches!(job, Job::Probe));
            seen.extend(cursors(&batch));
            next = if probed { None } else { queued.next() };
        }
        later.join().expect("done");
        assert_eq!(seen, [1, 2]);
    }

    #[test]
    fn a_stop_ends_the_batch_that_it_comes_in() {
        let (sender, mut queued) = queue();
        sender.send(advance(1)).expect("queued");
        sender.send(Job::Stop).expect("queued");
        sender.send(advance(2)).expect("queued");
        let first = queued.next();
        let (batch, stop) = queued.batch(first);
        assert_eq!((cursors(&batch), stop), (vec![1], true));
        assert!(queued.batch(Some(Job::Stop)).1);
        drop(sender);
    }
}
