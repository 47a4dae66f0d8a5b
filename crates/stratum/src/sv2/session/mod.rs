//! One miner's Sv2 connection as a pure state machine: bytes, a job or the passing of time in, bytes and
//! shares out. No socket, no clock.
//!
//! Here: messages and where they go. [`setup`] is the beginning of a connection, [`channels`] opens,
//! updates and closes them, [`jobs`] tells them what to mine, [`shares`] takes what they found.

mod channels;
mod jobs;
mod setup;
mod shares;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;

use stratum_core::binary_sv2::{Decodable, from_bytes};
use stratum_core::common_messages_sv2::MESSAGE_TYPE_SETUP_CONNECTION;
use stratum_core::extensions_sv2::extensions_negotiation;
use stratum_core::mining_sv2 as mining;

use super::authority::AuthorityKey;
use super::channel::{Channel, Submitted};
use super::message::Writer;
use super::noise::{Broken, Header, Link, Step};
use crate::coinbase::CoinbaseError;
use crate::extranonce::Extranonces;
use crate::job::Job;
use crate::session::{NO_ROOM, Now, Outbox, SessionSettings};
use crate::sink::{News, Protocol, WorkerChange, WorkerSeen};
use channels::Group;
use setup::Setup;
use shares::Waiting;

const UNREADABLE: Broken = Broken("a message could not be read");

/// What broke off the handling of a message.
#[derive(Debug)]
enum Stop {
    Broken(Broken),
    Coinbase(CoinbaseError),
}

impl From<Broken> for Stop {
    fn from(broken: Broken) -> Self {
        Self::Broken(broken)
    }
}

impl From<CoinbaseError> for Stop {
    fn from(error: CoinbaseError) -> Self {
        match error {
            CoinbaseError::NoRoom => Self::Broken(Broken(NO_ROOM)),
            error => Self::Coinbase(error),
        }
    }
}

/// The state of one connection.
#[derive(Debug)]
pub struct Session {
    settings: Arc<SessionSettings>,
    extranonces: Arc<Extranonces>,
    link: Link,
    /// The beginning of a message whose end has not come.
    partial: Vec<u8>,
    setup: Option<Setup>,
    /// Ordered by id, for ids only grow.
    channels: Vec<Channel>,
    groups: Vec<Group>,
    /// Of channels, groups and jobs.
    next_id: u32,
    current: Option<Arc<Job>>,
    /// Channels whose difficulty may have changed with the bytes at hand.
    unsettled: Vec<u32>,
    waiting: VecDeque<Waiting>,
    /// Somebody was refused a channel; the log was told.
    refused: bool,
}

impl Session {
    /// A connection that was just opened.
    pub fn new(
        settings: Arc<SessionSettings>,
        extranonces: Arc<Extranonces>,
        authority: AuthorityKey,
    ) -> Self {
        Self {
            settings,
            extranonces,
            link: Link::new(authority),
            partial: Vec::new(),
            setup: None,
            channels: Vec::new(),
            groups: Vec::new(),
            next_id: 1,
            current: None,
            unsettled: Vec::new(),
            waiting: VecDeque::new(),
            refused: false,
        }
    }

    fn try_on_bytes(&mut self, input: &mut [u8], now: Now, out: &mut Outbox) -> Result<(), Stop> {
        if self.partial.is_empty() {
            let taken = self.take(input, now, out)?;
            self.partial.extend_from_slice(input.get(taken..).unwrap_or_default());
        } else {
            let mut whole = std::mem::take(&mut self.partial);
            whole.extend_from_slice(input);
            let taken = self.take(&mut whole, now, out)?;
            whole.drain(..taken);
            // An idle connection holds no buffer.
            self.partial = whole.into_boxed_slice().into();
        }
        if out.close.is_none() { self.retarget(now, out) } else { Ok(()) }
    }

    /// Takes all whole messages from the front of `input`; how many bytes they were.
    fn take(&mut self, input: &mut [u8], now: Now, out: &mut Outbox) -> Result<usize, Stop> {
        let mut taken = 0;
        loop {
            let rest = input.get_mut(taken..).unwrap_or_default();
            let (bytes, step) = self.link.take(rest, &mut out.bytes)?;
            taken += bytes;
            match step {
                Step::Message(header, payload) => self.on_message(header, payload, now, out)?,
                Step::Progress => {}
                Step::More => return Ok(taken),
            }
            if out.close.is_some() {
                return Ok(taken);
            }
        }
    }

    fn on_message(
        &mut self,
        header: Header,
        payload: &mut [u8],
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        out.messages += 1;
        match (header.extension, header.message_type) {
            (0, MESSAGE_TYPE_SETUP_CONNECTION) => self.set_up(read(payload)?, out),
            (0, _) if self.setup.is_none() => Err(Broken("the first message was not SetupConnection").into()),
            (0, message_type) => self.on_mining_message(message_type, payload, now, out),
            (
                extensions_negotiation::EXTENSION_TYPE,
                extensions_negotiation::MESSAGE_TYPE_REQUEST_EXTENSIONS,
            ) => self.decline_extensions(read(payload)?, out),
            // What belongs to an extension that was not negotiated is ignored (section 3.4.1).
            _ => Ok(()),
        }
    }

    fn on_mining_message(
        &mut self,
        message_type: u8,
        payload: &mut [u8],
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        match message_type {
            mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED => {
                self.submit(Submitted::read(payload, true).ok_or(UNREADABLE)?, now, out)
            }
            mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD => {
                self.submit(Submitted::read(payload, false).ok_or(UNREADABLE)?, now, out)
            }
            mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL => {
                self.open_standard(&read(payload)?, now, out)
            }
            mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL => {
                self.open_extended(&read(payload)?, now, out)
            }
            mining::MESSAGE_TYPE_UPDATE_CHANNEL => self.update(&read(payload)?, now, out),
            mining::MESSAGE_TYPE_CLOSE_CHANNEL => {
                self.close(&read(payload)?, out);
                Ok(())
            }
            mining::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB => self.decline_custom_job(&read(payload)?, out),
            // A later version of the protocol may know more.
            _ => Ok(()),
        }
    }

    fn position(&self, id: u32) -> Option<usize> {
        self.channels.binary_search_by_key(&id, |channel| channel.id).ok()
    }

    fn channel(&mut self, id: u32) -> Option<&mut Channel> {
        self.position(id).and_then(|position| self.channels.get_mut(position))
    }

    /// Reports a channel, once: at its first share, good or bad, or when it stayed.
    fn make_known(&mut self, position: usize, out: &mut Outbox) {
        let user_agent = self.user_agent();
        if let Some(channel) = self.channels.get_mut(position)
            && !channel.known
        {
            channel.known = true;
            out.news.push(seen(channel, &user_agent, WorkerChange::Joined));
        }
    }

    fn user_agent(&self) -> Arc<str> {
        self.setup.as_ref().map(|setup| Arc::clone(&setup.user_agent)).unwrap_or_default()
    }

    const fn fresh_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id = self.next_id.wrapping_add(1);
        id
    }

    const fn writer<'a>(&'a mut self, out: &'a mut Outbox) -> Writer<'a> {
        Writer { link: &mut self.link, bytes: &mut out.bytes }
    }

    /// What an event left: a broken link closes the connection, a wrong coinbase stops the pool.
    fn conclude(result: Result<(), Stop>, out: &mut Outbox) {
        match result {
            Ok(()) => {}
            Err(Stop::Broken(Broken(reason))) => out.close = out.close.or(Some(reason)),
            Err(Stop::Coinbase(error)) => out.halt = Some(error),
        }
    }
}

impl crate::Session for Session {
    fn on_bytes(&mut self, input: &mut [u8], now: Now, out: &mut Outbox) {
        Self::conclude(self.try_on_bytes(input, now, out), out);
    }

    fn on_job(&mut self, job: &Arc<Job>, now: Now, out: &mut Outbox) {
        Self::conclude(self.try_on_job(job, now, out), out);
    }

    fn on_tick(&mut self, now: Now, out: &mut Outbox) {
        Self::conclude(self.try_on_tick(now, out), out);
    }

    fn on_kept(&mut self, count: usize, kept: bool, out: &mut Outbox) {
        Self::conclude(self.answer(count, kept, out), out);
    }

    fn on_close(&mut self, out: &mut Outbox) {
        let user_agent = self.user_agent();
        let known = self.channels.iter_mut().filter(|channel| channel.known);
        out.news.extend(known.map(|channel| seen(channel, &user_agent, WorkerChange::Left)));
    }

    /// Has set the connection up: a proxy may have to wait for its first miner before it opens a channel.
    fn ready(&self) -> bool {
        self.setup.is_some()
    }
}

fn read<'a, M: Decodable<'a>>(payload: &'a mut [u8]) -> Result<M, Broken> {
    from_bytes(payload).map_err(|_| UNREADABLE)
}

fn seen(channel: &mut Channel, user_agent: &Arc<str>, change: WorkerChange) -> News {
    channel.reported = channel.vardiff.measured();
    News::Worker(WorkerSeen {
        identity: Arc::clone(&channel.identity),
        protocol: Protocol::Sv2,
        user_agent: Arc::clone(user_agent),
        difficulty: channel.told,
        measured: channel.vardiff.measured(),
        change,
    })
}
