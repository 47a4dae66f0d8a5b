//! Telling channels what to mine, and how hard (specification, sections 5.3.15 to 5.3.17 and 5.3.21).
//!
//! A new target holds for jobs that come after it: whoever is told one is also sent a job, and all
//! targets go out before the first job does.

use std::collections::BTreeMap;
use std::sync::Arc;

use bitcoin::hashes::Hash;
use poolbox_accounting::Difficulty;

use super::{Session, Stop, seen};
use crate::job::Job;
use crate::session::{NOTIFY_EVERY_MS, Now, Outbox, PROBE_MS};
use crate::sink::WorkerChange;
use crate::sv2::channel::Channel;
use crate::sv2::message::{Activation, Writer};

/// A job on its way to the channels.
#[derive(Clone, Copy)]
struct Sending<'a> {
    job: &'a Arc<Job>,
    /// It is sent with the hash of the block before it: that block or the channel is new, or earlier jobs are
    /// over.
    with_prev_hash: bool,
    now: Now,
}

impl Session {
    pub(super) fn try_on_job(&mut self, job: &Arc<Job>, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let earlier = self.current.replace(Arc::clone(job));
        let new_block = earlier.is_none_or(|earlier| !earlier.template.is_beside(&job.template));
        let hardest = Difficulty::not_above(job.hardest);
        let all: Vec<usize> = (0..self.channels.len()).collect();
        for &position in &all {
            self.settle(position, hardest, out)?;
            if new_block && let Some(channel) = self.channels.get_mut(position) {
                channel.sent.retire_all(now.ms);
            }
        }
        self.send(&all, Sending { job, with_prev_hash: new_block, now }, out)
    }

    pub(super) fn try_on_tick(&mut self, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let Some(job) = self.current.clone() else { return Ok(()) };
        let hardest = Difficulty::not_above(job.hardest);
        let user_agent = self.user_agent();
        let mut due = Vec::new();
        for position in 0..self.channels.len() {
            let Some(channel) = self.channels.get_mut(position) else { break };
            channel.vardiff.on_tick(now.ms);
            let quiet = now.ms.saturating_sub(channel.notified_ms) >= NOTIFY_EVERY_MS;
            let stayed = now.ms.saturating_sub(channel.opened_ms) >= PROBE_MS;
            if stayed && channel.sent.newest().is_some() {
                self.make_known(position, out);
            }
            if self.settle(position, hardest, out)? || quiet {
                due.push(position);
            }
            if let Some(channel) = self.channels.get_mut(position).filter(|channel| channel.has_news()) {
                out.news.push(seen(channel, &user_agent, WorkerChange::Retargeted));
            }
        }
        self.send(&due, Sending { job: &job, with_prev_hash: false, now }, out)
    }

    /// Tells the channels whose difficulty changed with the bytes at hand, once for all that led to it.
    pub(super) fn retarget(&mut self, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        if self.unsettled.is_empty() {
            return Ok(());
        }
        let mut changed = std::mem::take(&mut self.unsettled);
        changed.sort_unstable();
        changed.dedup();
        let Some(job) = self.current.clone() else { return Ok(()) };
        let hardest = Difficulty::not_above(job.hardest);
        let mut due = Vec::new();
        for id in changed {
            if let Some(position) = self.position(id)
                && self.settle(position, hardest, out)?
            {
                due.push(position);
            }
        }
        self.send(&due, Sending { job: &job, with_prev_hash: false, now }, out)
    }

    /// The first job of a channel that was just opened, if there is one.
    pub(super) fn send_first_job(&mut self, position: usize, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let Some(job) = self.current.clone() else { return Ok(()) };
        self.send(&[position], Sending { job: &job, with_prev_hash: true, now }, out)
    }

    /// SetTarget, when the channel's difficulty is not what it was told last.
    fn settle(&mut self, position: usize, hardest: Difficulty, out: &mut Outbox) -> Result<bool, Stop> {
        let Some(channel) = self.channels.get_mut(position) else { return Ok(false) };
        if !channel.settle_difficulty(hardest) {
            return Ok(false);
        }
        if channel.known {
            let user_agent = self.setup.as_ref().map(|setup| Arc::clone(&setup.user_agent));
            out.news.push(seen(channel, &user_agent.unwrap_or_default(), WorkerChange::Retargeted));
        }
        let (id, told) = (channel.id, channel.told);
        self.writer(out).target(id, told)?;
        Ok(true)
    }

    /// Sends a job to the channels in these positions. Where it is due to several channels of a group, the
    /// whole group is told at once.
    fn send(&mut self, due: &[usize], sending: Sending<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let groups = self.setup.as_ref().is_some_and(|setup| !setup.standard_jobs);
        if due.len() < 2 || !groups {
            return due.iter().try_for_each(|&position| self.send_to_one(position, sending, out));
        }
        let mut members: BTreeMap<u32, Vec<usize>> = BTreeMap::new();
        for &position in due {
            if let Some(channel) = self.channels.get(position) {
                members.entry(channel.group).or_default().push(position);
            }
        }
        for (group, members) in members {
            match members.as_slice() {
                &[position] => self.send_to_one(position, sending, out)?,
                _ => self.send_to_group(group, sending, out)?,
            }
        }
        Ok(())
    }

    fn send_to_one(&mut self, position: usize, sending: Sending<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let Sending { job, with_prev_hash, now } = sending;
        let job_id = self.fresh_id();
        let Some(channel) = self.channels.get_mut(position) else { return Ok(()) };
        let coinbase = channel.coinbase(job)?;
        let time = channel.job_time(job, now);
        channel.note_job(job_id, job, &coinbase, time, now);
        let id = channel.id;
        let activation = sending.activation(time);
        let mut writer = Writer { link: &mut self.link, bytes: &mut out.bytes };
        match channel.sent.newest().and_then(|sent| Some((sent, sent.root?))) {
            Some((sent, root)) => writer.standard_job(id, sent, root.as_byte_array(), activation)?,
            None => writer.extended_job(id, job_id, job, &coinbase, activation)?,
        }
        if with_prev_hash {
            writer.prev_hash(id, job_id, job, time)?;
        }
        Ok(())
    }

    fn send_to_group(&mut self, group: u32, sending: Sending<'_>, out: &mut Outbox) -> Result<(), Stop> {
        let Sending { job, with_prev_hash, now } = sending;
        let job_id = self.fresh_id();
        let members = |channel: &&mut Channel| channel.group == group;
        let times = self.channels.iter_mut().filter(members).map(|channel| channel.job_time(job, now));
        let Some(time) = times.max() else { return Ok(()) };
        let mut shared = None;
        for channel in self.channels.iter_mut().filter(members) {
            let coinbase = channel.coinbase(job)?;
            channel.note_job(job_id, job, &coinbase, time, now);
            shared = Some(coinbase);
        }
        let Some(coinbase) = shared else { return Ok(()) };
        let mut writer = self.writer(out);
        writer.extended_job(group, job_id, job, &coinbase, sending.activation(time))?;
        if with_prev_hash {
            writer.prev_hash(group, job_id, job, time)?;
        }
        Ok(())
    }
}

impl Sending<'_> {
    const fn activation(self, time: u32) -> Activation {
        if self.with_prev_hash { Activation::WithPrevHash } else { Activation::Now(time) }
    }
}
