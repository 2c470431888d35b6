//! One run: connect, warm up, measure, drain, leave.

use std::time::Duration;

use crate::clients::Clients;
use crate::clock::now_ns;
use crate::config::{Limit, RunConfig};
use crate::error::LoadError;
use crate::latency::LatencySummary;
use crate::limits;
use crate::procfs::ProcessSample;
use crate::publisher::Schedule;
use crate::sequence::StreamCounts;
use crate::swarm::Swarm;

/// Longest sleep of the loop, so that deadlines are met to a millisecond or so.
const TURN_MAX: Duration = Duration::from_millis(5);

/// Counters at one moment.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Snapshot {
    /// Moment, ns of the monotonic clock.
    pub at_ns: u64,
    /// Messages sent.
    pub published: u64,
    /// Messages acknowledged to publishers.
    pub acked: u64,
    /// Messages at subscribers.
    pub streams: StreamCounts,
    /// The broker, if it is observed.
    pub broker: Option<ProcessSample>,
    /// This process.
    pub generator: ProcessSample,
}

/// Everything measured.
#[derive(Debug)]
pub struct Outcome {
    /// Number of publishers.
    pub publishers: usize,
    /// Number of subscribers.
    pub subscribers: usize,
    /// Subscribers that get each message.
    pub fanout: u64,
    /// At the end of the warm-up.
    pub start: Snapshot,
    /// At the end of the measured interval.
    pub end: Snapshot,
    /// After everything under way has come or has been waited for.
    pub drained: Snapshot,
    /// Latency of the messages sent and delivered in the interval.
    pub latency: Option<LatencySummary>,
    /// Open loop: how late messages were sent.
    pub lateness: Option<LatencySummary>,
    /// What each subscriber has received by the end, in the order of the subscribers.
    pub received: Vec<StreamCounts>,
    /// Messages of earlier runs that came.
    pub stale: u64,
    /// TLS version and suite.
    pub tls: Option<String>,
}

/// Lets messages go: all at once in a closed loop, one by one in an open one.
enum Pace {
    Closed,
    Open { schedule: Schedule, released: u64, end: u64 },
}

struct Run<'a> {
    config: &'a RunConfig,
    swarm: Swarm,
    pace: Pace,
    fanout: u64,
}

/// Does the whole run.
///
/// # Errors
/// No result: see [`LoadError`]. Lost messages are a result, not an error.
pub fn run(config: &RunConfig) -> Result<Outcome, LoadError> {
    let clients = Clients::load(&config.clients)?;
    let (publishers, subscribers) = (clients.publishers.len(), clients.subscribers.len());
    limits::allow_connections(publishers + subscribers)?;
    let swarm = Swarm::connect(config, &clients)?;
    let pace = Pace::new(config.rate_per_s, publishers as u64);
    let mut run = Run { config, swarm, pace, fanout: config.fanout.unwrap_or(subscribers as u64) };
    let tls = run.swarm.tls_facts();
    run.begin();
    run.until(now_ns() + config.warm_up.as_nanos() as u64)?;
    let start = run.start_measuring()?;
    run.measure(start.at_ns, publishers as u64)?;
    let end = run.snapshot()?;
    let latency = run.swarm.tally.latencies.summary();
    let lateness = run.swarm.tally.lateness.summary();
    run.stop();
    run.until_complete(Some(config.drain_max))?;
    let drained = run.snapshot()?;
    run.swarm.leave();
    let received = run.swarm.subscriber_counts().collect();
    let (stale, fanout) = (run.swarm.tally.stale, run.fanout);
    Ok(Outcome {
        publishers,
        subscribers,
        fanout,
        start,
        end,
        drained,
        latency,
        lateness,
        received,
        stale,
        tls,
    })
}

impl Run<'_> {
    fn begin(&mut self) {
        match &self.pace {
            Pace::Closed => self.swarm.allow_all(u64::MAX),
            Pace::Open { schedule, .. } => self.swarm.follow(*schedule),
        }
    }

    fn start_measuring(&mut self) -> Result<Snapshot, LoadError> {
        let snapshot = self.snapshot()?;
        let from_ns = match &self.pace {
            Pace::Closed => snapshot.at_ns,
            // The first message of the interval may have been due a moment ago.
            Pace::Open { schedule, released, .. } => schedule.due_ns(*released).min(snapshot.at_ns),
        };
        self.swarm.tally.start_measuring(from_ns);
        Ok(snapshot)
    }

    fn measure(&mut self, start_ns: u64, publishers: u64) -> Result<(), LoadError> {
        match self.config.limit {
            Limit::Time(time) => self.until(start_ns + time.as_nanos() as u64),
            Limit::Messages(count) => {
                self.limit_to(count, publishers);
                self.until_complete(None)
            }
        }
    }

    /// Allows `count` more messages in all, rounded up to the same number for each publisher in a closed loop.
    fn limit_to(&mut self, count: u64, publishers: u64) {
        match &mut self.pace {
            Pace::Closed => {
                self.swarm.pause_all();
                self.swarm.allow_all(count.div_ceil(publishers));
            }
            Pace::Open { released, end, .. } => *end = *released + count,
        }
    }

    fn stop(&mut self) {
        self.pace.end();
        self.swarm.pause_all();
    }

    /// One turn of the loop.
    fn turn(&mut self, wait: Duration) -> Result<(), LoadError> {
        let wait = match &mut self.pace {
            Pace::Closed => wait,
            open @ Pace::Open { .. } => {
                open.release(&mut self.swarm, now_ns()).max(self.config.step).min(wait)
            }
        };
        self.swarm.turn(wait.min(TURN_MAX))
    }

    fn until(&mut self, deadline_ns: u64) -> Result<(), LoadError> {
        loop {
            let now_ns = now_ns();
            if now_ns >= deadline_ns {
                return Ok(());
            }
            self.turn(Duration::from_nanos(deadline_ns - now_ns))?;
        }
    }

    /// Goes on until all is delivered and acknowledged, nothing has come for the drain time, or the limit is reached.
    fn until_complete(&mut self, limit: Option<Duration>) -> Result<(), LoadError> {
        let mut latest = (self.progress(), now_ns());
        let end_ns = limit.map_or(u64::MAX, |limit| latest.1 + limit.as_nanos() as u64);
        while !self.is_complete() && now_ns() < end_ns {
            self.turn(TURN_MAX)?;
            let (progress, now_ns) = (self.progress(), now_ns());
            if progress != latest.0 {
                latest = (progress, now_ns);
            } else if now_ns - latest.1 > self.config.drain.as_nanos() as u64 {
                break;
            }
        }
        Ok(())
    }

    const fn progress(&self) -> (u64, u64, u64) {
        let tally = &self.swarm.tally;
        (tally.published, tally.acked, tally.streams.unique)
    }

    fn is_complete(&self) -> bool {
        let tally = &self.swarm.tally;
        let acked = self.config.qos == edgehub_mqtt::QoS::AtMostOnce || tally.acked == tally.published;
        acked && tally.streams.unique >= tally.published * self.fanout && self.all_is_sent()
    }

    /// Whether everything allowed has been sent.
    fn all_is_sent(&self) -> bool {
        match &self.pace {
            Pace::Closed => self.swarm.nothing_to_send(),
            Pace::Open { released, end, .. } => released >= end && self.swarm.nothing_to_send(),
        }
    }

    fn snapshot(&self) -> Result<Snapshot, LoadError> {
        let sample =
            |pid| ProcessSample::read(pid).map_err(|source| LoadError::BrokerProcess { pid, source });
        let tally = &self.swarm.tally;
        Ok(Snapshot {
            at_ns: now_ns(),
            published: tally.published,
            acked: tally.acked,
            streams: tally.streams,
            broker: self.config.broker_pid.map(sample).transpose()?,
            generator: sample(std::process::id())?,
        })
    }
}

impl Pace {
    fn new(rate_per_s: Option<f64>, publishers: u64) -> Self {
        match rate_per_s {
            None => Self::Closed,
            Some(rate_per_s) => {
                let schedule = Schedule { start_ns: now_ns(), rate_per_s, publishers };
                Self::Open { schedule, released: 0, end: u64::MAX }
            }
        }
    }

    /// Releases what is due; gives the time until the next. Below a millisecond it is zero: the poll cannot wait that
    /// exactly, so the loop spins.
    fn release(&mut self, swarm: &mut Swarm, now_ns: u64) -> Duration {
        let Self::Open { schedule, released, end } = self else { return TURN_MAX };
        while *released < *end && schedule.due_ns(*released) <= now_ns {
            swarm.allow_one((*released % schedule.publishers) as usize);
            *released += 1;
        }
        if released >= end {
            return TURN_MAX;
        }
        let wait = Duration::from_nanos(schedule.due_ns(*released).saturating_sub(now_ns));
        wait.saturating_sub(Duration::from_millis(1))
    }

    const fn end(&mut self) {
        if let Self::Open { released, end, .. } = self {
            *end = *released;
        }
    }
}

#[cfg(test)]
pub mod tests;
