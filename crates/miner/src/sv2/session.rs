//! One connection over Stratum V2: messages in, actions out. One channel, for one user.

use std::collections::VecDeque;
use std::sync::Arc;

use crate::protocol::{self, ProtocolError};
use crate::sv2::link::{Frame, Header, LinkError};
use crate::sv2::message::{
    Announced, AnnouncedRoot, NewBlock, Opened, Opening, Received, Setup, Submission, TooLong, open, read,
    setup, submission_header, write_submission,
};
use crate::sv2::noise::NoiseError;
use crate::target::Target;
use crate::work::{Coinbase, Job, Root, Solution};

/// `SetupConnection`'s flag of a miner that hashes no coinbases.
const REQUIRES_STANDARD_JOBS: u32 = 1;
/// `SetupConnection.Success`'s flag of a pool that allows no version rolling.
const REQUIRES_FIXED_VERSION: u32 = 1;
/// Version bits that may be rolled: those of BIP 320.
const VERSION_MASK: u32 = 0x1fff_e000;
/// Bytes of extranonce to ask for: more than a CPU uses up in the life of a job.
const EXTRANONCE_SIZE: u16 = 2;
/// Longest extranonce that the protocol has.
const MAX_EXTRANONCE: usize = 32;
/// Jobs kept: those whose late shares still count, and those whose block has not come.
const MAX_JOBS: usize = 16;

/// What to do next; messages are frames.
pub type Action = protocol::Action<Frame>;

/// What to mine on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ChannelKind {
    /// The miner completes coinbases: extranonces never run out.
    #[default]
    Extended,
    /// The pool sends finished merkle roots, as small devices like them.
    Standard,
}

/// Who mines, with what, and where it connected to.
#[derive(Clone, Debug)]
pub struct Miner {
    /// `owner.worker`.
    pub user: String,
    /// Name and version of the miner, as `name/version`.
    pub user_agent: String,
    /// Hashes per second.
    pub hashrate: f32,
    /// On this kind of channel.
    pub channel: ChannelKind,
    /// The pool's host.
    pub host: String,
    /// The pool's port.
    pub port: u16,
}

/// Why this connection leads nowhere.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Sv2Error {
    /// Something else than Stratum V2 answers.
    #[error("it does not speak Stratum V2 ({0}); check host and port")]
    NotStratum(NoiseError),
    /// Another pool than the one that the URL means.
    #[error("it is not the pool of the URL: {0}")]
    WrongPool(NoiseError),
    /// The bytes that came mean nothing.
    #[error("the pool's messages cannot be read: {0}")]
    Unreadable(#[from] LinkError),
    /// The pool cannot serve this miner.
    #[error("the pool refused the connection: {0}")]
    NotSetUp(String),
    /// The user is not wanted, or not this kind of channel.
    #[error("the pool refused the channel: {0}; check the user name and --channel")]
    NotAuthorized(String),
    /// Its strings have an end.
    #[error("host, user name and user agent must not be longer than 255 bytes")]
    TooLong,
    /// A message of the pool that cannot be worked with.
    #[error("the pool sent a {message} that cannot be used: {problem}")]
    Unusable {
        /// Its name.
        message: &'static str,
        /// What is wrong.
        problem: String,
    },
    /// The pool wants no more of this channel.
    #[error("the pool closed the channel: {0}")]
    ChannelClosed(String),
}

impl Sv2Error {
    /// The error of a handshake that failed.
    pub const fn of_handshake(error: NoiseError) -> Self {
        match error {
            NoiseError::WrongAuthority | NoiseError::Expired => Self::WrongPool(error),
            other => Self::NotStratum(other),
        }
    }

    /// Whether trying again is pointless until somebody changes a setting.
    pub const fn blames_the_settings(&self) -> bool {
        matches!(self, Self::NotStratum(_) | Self::WrongPool(_) | Self::NotSetUp(_) | Self::NotAuthorized(_))
    }
}

impl From<TooLong> for Sv2Error {
    fn from(_: TooLong) -> Self {
        Self::TooLong
    }
}

/// One connection's state, from the end of the handshake on.
pub struct Session {
    miner: Miner,
    version_mask: u32,
    channel: Option<Channel>,
}

/// The open channel.
struct Channel {
    id: u32,
    group: u32,
    target: Target,
    prefix: Vec<u8>,
    extranonce_size: usize,
    block: Option<NewBlock>,
    /// Jobs that wait for their block.
    future: VecDeque<Draft>,
    /// Jobs whose shares are not stale, newest last.
    live: VecDeque<(u32, Arc<Job>)>,
    next_sequence: u32,
}

/// A job without its block. What the channel's extranonce was when it came is in it already.
struct Draft {
    id: u32,
    version: u32,
    version_mask: u32,
    root: Root,
}

impl Session {
    /// A connection just encrypted, and what to open it with.
    ///
    /// # Errors
    /// [`Sv2Error::TooLong`].
    pub fn open(miner: Miner) -> Result<(Self, Frame), Sv2Error> {
        let (vendor, firmware) = miner.user_agent.split_once('/').unwrap_or((&miner.user_agent, ""));
        let flags = match miner.channel {
            ChannelKind::Standard => REQUIRES_STANDARD_JOBS,
            ChannelKind::Extended => 0,
        };
        let greeting = setup(&Setup { flags, host: &miner.host, port: miner.port, vendor, firmware })?;
        Ok((Self { miner, version_mask: VERSION_MASK, channel: None }, greeting))
    }

    /// Takes one message from the pool.
    ///
    /// # Errors
    /// [`Sv2Error`]: the connection is of no use any more.
    pub fn receive(&mut self, header: Header, payload: &mut [u8]) -> Result<Vec<Action>, Sv2Error> {
        let problem = "it cannot be decoded";
        match read(header, payload).map_err(|error| unusable(error.0, problem))? {
            Received::Ready(flags) => self.ready(flags),
            Received::NotReady(reason) => Err(Sv2Error::NotSetUp(reason)),
            Received::NotOpened(reason) => Err(Sv2Error::NotAuthorized(reason)),
            Received::Opened(opened) => self.opened(opened),
            Received::Reconnect(..) => Ok(vec![Action::Reconnect]),
            Received::Other => Ok(Vec::new()),
            received => match &mut self.channel {
                Some(channel) => channel.receive(received, self.version_mask),
                None => Ok(Vec::new()),
            },
        }
    }

    /// The frame that submits a share, unless the pool would call it stale.
    pub fn submit(&mut self, share: &Solution) -> Option<Frame> {
        let channel = self.channel.as_mut()?;
        let &(job, _) = channel.live.iter().find(|(_, live)| Arc::ptr_eq(live, &share.job))?;
        let extended = self.miner.channel == ChannelKind::Extended;
        let extranonce = extended.then_some(&share.extranonce2[..]);
        let submission = Submission {
            channel: channel.id,
            sequence: channel.next_sequence,
            job,
            nonce: share.nonce,
            time: share.job.time,
            version: share.version,
            extranonce,
        };
        channel.next_sequence = channel.next_sequence.wrapping_add(1);
        let header = submission_header(extranonce.map(<[u8]>::len));
        let mut payload = Vec::with_capacity(header.length);
        write_submission(&submission, &mut payload);
        Some(Frame { extension: header.extension, kind: header.kind, payload })
    }

    /// The numbers of channel and newest job, which shares are submitted with.
    pub fn place(&self) -> Option<(u32, u32)> {
        let channel = self.channel.as_ref()?;
        channel.live.back().map(|&(job, _)| (channel.id, job))
    }

    /// The connection is set up: a channel next.
    fn ready(&mut self, flags: u32) -> Result<Vec<Action>, Sv2Error> {
        if flags & REQUIRES_FIXED_VERSION != 0 {
            self.version_mask = 0;
        }
        let extranonce_size = match self.miner.channel {
            ChannelKind::Extended => Some(EXTRANONCE_SIZE),
            ChannelKind::Standard => None,
        };
        let opening = Opening { user: &self.miner.user, hashrate: self.miner.hashrate, extranonce_size };
        Ok(vec![Action::Send(open(&opening)?)])
    }

    fn opened(&mut self, opened: Opened) -> Result<Vec<Action>, Sv2Error> {
        let Opened { channel: id, group, target, prefix, extranonce_size } = opened;
        if prefix.len() + extranonce_size > MAX_EXTRANONCE {
            let problem = format!("its extranonce is longer than {MAX_EXTRANONCE} bytes");
            return Err(unusable("OpenExtendedMiningChannel.Success", problem));
        }
        self.channel = Some(Channel {
            id,
            group,
            target,
            prefix,
            extranonce_size,
            block: None,
            future: VecDeque::new(),
            live: VecDeque::new(),
            next_sequence: 0,
        });
        Ok(vec![Action::Authorized])
    }
}

impl Channel {
    fn receive(&mut self, received: Received, version_mask: u32) -> Result<Vec<Action>, Sv2Error> {
        match received {
            Received::Job(to, job) if self.is_meant(to) => return self.announced(job, version_mask),
            Received::Block(to, block) if self.is_meant(to) => {
                return self.new_block(block).map(|job| vec![Action::Hash(job)]);
            }
            // Holds for jobs that are not hashed yet.
            Received::Target(to, target) if self.is_meant(to) => self.target = target,
            Received::Prefix(to, prefix) if to == self.id => {
                if prefix.len() + self.extranonce_size > MAX_EXTRANONCE {
                    return Err(unusable("SetExtranoncePrefix", "the prefix is too long"));
                }
                self.prefix = prefix;
            }
            Received::Group(group, channels) if channels.contains(&self.id) => self.group = group,
            Received::Accepted(to, shares) if to == self.id => return Ok(vec![Action::Accepted(shares)]),
            Received::Rejected(to, reason) if to == self.id => return Ok(vec![Action::Rejected(reason)]),
            Received::Closed(to, reason) if self.is_meant(to) => return Err(Sv2Error::ChannelClosed(reason)),
            _ => {}
        }
        Ok(Vec::new())
    }

    const fn is_meant(&self, to: u32) -> bool {
        to == self.id || to == self.group
    }

    fn announced(&mut self, job: Announced, version_mask: u32) -> Result<Vec<Action>, Sv2Error> {
        let Announced { id, time, version, rolling, root } = job;
        let draft = Draft {
            id,
            version,
            version_mask: if rolling { version_mask } else { 0 },
            root: match root {
                AnnouncedRoot::Given(root) => Root::Given(root),
                AnnouncedRoot::Coinbase { prefix, suffix, path } => Root::Coinbase(Coinbase {
                    prefix: [prefix, self.prefix.clone()].concat(),
                    extranonce2_size: self.extranonce_size,
                    suffix,
                    merkle_path: path,
                }),
            },
        };
        let Some(time) = time else {
            if self.future.len() == MAX_JOBS {
                self.future.pop_front();
            }
            self.future.push_back(draft);
            return Ok(Vec::new());
        };
        let block = self.block.ok_or_else(|| unusable("job", "it came before the block to build on"))?;
        Ok(vec![Action::Hash(self.activate(draft, &block, time))])
    }

    /// A block was found: everything but the job that was kept for it is stale.
    fn new_block(&mut self, block: NewBlock) -> Result<Arc<Job>, Sv2Error> {
        let draft = self.future.drain(..).find(|draft| draft.id == block.job);
        let draft = draft.ok_or_else(|| {
            unusable("SetNewPrevHash", format!("job {} was not sent for later use before", block.job))
        })?;
        self.live.clear();
        self.block = Some(block);
        Ok(self.activate(draft, &block, block.time))
    }

    fn activate(&mut self, draft: Draft, block: &NewBlock, time: u32) -> Arc<Job> {
        let Draft { id, version, version_mask, root } = draft;
        let job = Arc::new(Job {
            id: id.to_string(),
            version,
            version_mask,
            previous: block.previous,
            root,
            time,
            bits: block.bits,
            target: self.target,
            difficulty: self.target.difficulty(),
        });
        if self.live.len() == MAX_JOBS {
            self.live.pop_front();
        }
        self.live.push_back((id, Arc::clone(&job)));
        job
    }
}

impl protocol::Session for Session {
    type Message = Frame;

    fn receive(&mut self, frame: Frame) -> Result<Vec<Action>, ProtocolError> {
        let header = frame.header();
        let mut payload = frame.payload;
        Ok(Self::receive(self, header, &mut payload)?)
    }

    fn submit(&mut self, share: &Solution) -> Option<Frame> {
        Self::submit(self, share)
    }
}

fn unusable(message: &'static str, problem: impl Into<String>) -> Sv2Error {
    Sv2Error::Unusable { message, problem: problem.into() }
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
