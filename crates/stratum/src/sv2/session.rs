//! One miner's Sv2 connection as a pure state machine: bytes, a job or the passing of time in, bytes and
//! shares out. No socket, no clock.

use std::collections::VecDeque;
use std::sync::Arc;

use bitcoin::{BlockHash, Target};
use poolbox_accounting::{Difficulty, Identity, Work};
use stratum_core::binary_sv2::{U256, from_bytes};
use stratum_core::common_messages_sv2::{
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS, ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL,
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol as SubProtocol, SetupConnection, SetupConnectionError,
    SetupConnectionSuccess,
};
use stratum_core::mining_sv2 as mining;
use stratum_core::mining_sv2::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, SetCustomMiningJob, SetCustomMiningJobError, SubmitSharesSuccess,
    UpdateChannel, UpdateChannelError,
};

use super::authority::AuthorityKey;
use super::channel::{Channel, Kind, Submitted, within};
use super::message::{Activation, Writer, target};
use super::noise::{Broken, Header, Link, Step};
use crate::coinbase::{CoinbaseError, MAX_MINER_EXTRANONCE_BYTES, MINER_EXTRANONCE_BYTES};
use crate::job::Job;
use crate::payout::PayoutOutput;
use crate::sent::SentJobs;
use crate::server::Extranonces;
use crate::session::{NOTIFY_EVERY_MS, Now, Outbox, PROBE_MS, SessionSettings};
use crate::share::RejectReason;
use crate::sink::{News, Protocol, RejectedShare, WorkerChange, WorkerSeen};
use crate::vardiff::{Introduction, Start, Vardiff, VardiffLimits};

/// The one version of the protocol.
const VERSION: u16 = 2;
/// SetupConnection flags of the mining protocol (section 5.3.1).
const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;
/// Channels on one connection.
const MAX_CHANNELS: usize = 1024;
/// Longest user agent that is kept.
const MAX_AGENT_CHARS: usize = 64;

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
        Self::Coinbase(error)
    }
}

/// A share that is on its way to the disk.
#[derive(Clone, Copy, Debug)]
struct Waiting {
    channel: u32,
    sequence: u32,
    work: Work,
    hash: BlockHash,
}

/// What the miner said of itself when it set the connection up.
#[derive(Clone, Debug)]
struct Setup {
    standard_jobs: bool,
    user_agent: Arc<str>,
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
    groups: Vec<(u32, PayoutOutput, usize)>,
    /// Of channels, groups and jobs.
    next_id: u32,
    current: Option<Arc<Job>>,
    waiting: VecDeque<Waiting>,
    notified_ms: u64,
    notified_time: u32,
}

impl Session {
    /// A connection that was just opened.
    pub fn new(
        settings: Arc<SessionSettings>,
        extranonces: Arc<Extranonces>,
        authority: AuthorityKey,
        now: Now,
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
            waiting: VecDeque::new(),
            notified_ms: now.ms,
            notified_time: 0,
        }
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
        // What belongs to an extension that was not negotiated is ignored (section 3.4.1).
        if header.extension != 0 {
            return Ok(());
        }
        if header.message_type == MESSAGE_TYPE_SETUP_CONNECTION {
            return self.set_up(read(payload)?, out);
        }
        if self.setup.is_none() {
            return Err(Broken("the first message was not SetupConnection").into());
        }
        match header.message_type {
            mining::MESSAGE_TYPE_SUBMIT_SHARES_EXTENDED => {
                let submitted = Submitted::read(payload, true).ok_or(UNREADABLE)?;
                self.submit(submitted, now, out)
            }
            mining::MESSAGE_TYPE_SUBMIT_SHARES_STANDARD => {
                let submitted = Submitted::read(payload, false).ok_or(UNREADABLE)?;
                self.submit(submitted, now, out)
            }
            mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL => {
                let open: OpenStandardMiningChannel<'_> = read(payload)?;
                let wanted = Wanted {
                    request_id: open.request_id,
                    kind: Kind::Standard,
                    user: &String::from_utf8_lossy(open.user_identity.as_bytes()),
                    nominal: open.nominal_hash_rate,
                    max_target: number(&open.max_target),
                };
                self.open(&wanted, now, out)
            }
            mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL => {
                let open: OpenExtendedMiningChannel<'_> = read(payload)?;
                let wanted = Wanted {
                    request_id: open.request_id,
                    kind: Kind::Extended(usize::from(open.min_extranonce_size).max(MINER_EXTRANONCE_BYTES)),
                    user: &String::from_utf8_lossy(open.user_identity.as_bytes()),
                    nominal: open.nominal_hash_rate,
                    max_target: number(&open.max_target),
                };
                self.open(&wanted, now, out)
            }
            mining::MESSAGE_TYPE_UPDATE_CHANNEL => self.update(&read(payload)?, now, out),
            mining::MESSAGE_TYPE_CLOSE_CHANNEL => {
                let message: CloseChannel<'_> = read(payload)?;
                self.close(message.channel_id, out);
                Ok(())
            }
            mining::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB => {
                let message: SetCustomMiningJob<'_> = read(payload)?;
                let code = mining::ERROR_CODE_SET_CUSTOM_MINING_JOB_JD_NOT_SUPPORTED;
                let error = SetCustomMiningJobError {
                    channel_id: message.channel_id,
                    request_id: message.request_id,
                    error_code: code.try_into().map_err(|_| Broken("an error code was too long"))?,
                };
                let message_type = mining::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR;
                Ok(self.writer(out).channel(message_type, error)?)
            }
            // A later version of the protocol may know more.
            _ => Ok(()),
        }
    }

    fn set_up(&mut self, message: SetupConnection<'_>, out: &mut Outbox) -> Result<(), Stop> {
        if self.setup.is_some() {
            return Err(Broken("it sent SetupConnection twice").into());
        }
        let unsupported = message.flags & !SUPPORTED_FLAGS;
        let error = if message.protocol != SubProtocol::MiningProtocol {
            Some((0, ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL))
        } else if message.min_version > VERSION || message.max_version < VERSION {
            Some((0, ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH))
        } else if unsupported != 0 {
            // All that this server lacks, whatever the miner asked for (section 3.6.3).
            Some((
                unsupported | REQUIRES_WORK_SELECTION,
                ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS,
            ))
        } else {
            None
        };
        if let Some((flags, code)) = error {
            let error_code = code.try_into().map_err(|_| Broken("an error code was too long"))?;
            let message = SetupConnectionError { flags, error_code };
            self.writer(out).common(MESSAGE_TYPE_SETUP_CONNECTION_ERROR, message)?;
            out.close = Some("its SetupConnection asked for something that this server lacks");
            return Ok(());
        }
        let words = [&message.vendor, &message.hardware_version, &message.firmware];
        let words = words.map(|word| String::from_utf8_lossy(word.as_bytes()).into_owned());
        let agent = words.iter().filter(|word| !word.is_empty()).cloned().collect::<Vec<_>>().join("/");
        let agent: String = agent.chars().filter(|c| !c.is_control()).take(MAX_AGENT_CHARS).collect();
        let standard_jobs = message.flags & REQUIRES_STANDARD_JOBS != 0;
        self.setup = Some(Setup { standard_jobs, user_agent: agent.into() });
        let message = SetupConnectionSuccess { used_version: VERSION, flags: 0 };
        Ok(self.writer(out).common(MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, message)?)
    }

    fn open(&mut self, wanted: &Wanted<'_>, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let request_id = wanted.request_id;
        let (identity, payout) = match self.identify(wanted.user) {
            Ok(identified) => identified,
            Err(sentence) => {
                tracing::info!(user = wanted.user, reason = sentence, "Sv2 channel refused");
                let code = mining::ERROR_CODE_OPEN_MINING_CHANNEL_UNKNOWN_USER;
                return Ok(self.writer(out).open_error(request_id, code)?);
            }
        };
        let limits = match self.limits(wanted) {
            Ok(limits) => limits,
            Err(code) => return Ok(self.writer(out).open_error(request_id, code)?),
        };
        let user_agent = self.user_agent();
        let about = Introduction {
            user_agent: &user_agent,
            remembered: self.settings.memory.difficulty(&identity, &user_agent),
            wish: None,
            hashrate: Some(f64::from(wanted.nominal)),
        };
        let start = Start::choose(&about, self.settings.network, self.settings.start);
        let vardiff = Vardiff::begin(start, limits, now.ms);
        let id = self.fresh_id();
        let group = self.group(&payout, wanted.kind.extranonce_bytes());
        let mut channel = Channel {
            id,
            group,
            kind: wanted.kind,
            identity,
            payout,
            extranonce: self.extranonces.next(),
            told: vardiff.difficulty(),
            vardiff,
            limits,
            nominal: wanted.nominal,
            sent: SentJobs::default(),
            opened_ms: now.ms,
            known: false,
        };
        if let Some(job) = &self.current {
            channel.settle_difficulty(job);
        }
        let (prefix, target) = (channel.extranonce_prefix(), target(channel.told));
        let too_long = |_| Broken("an extranonce was too long");
        match wanted.kind {
            Kind::Standard => {
                let message = OpenStandardMiningChannelSuccess {
                    request_id,
                    channel_id: id,
                    target: U256::from(&target),
                    extranonce_prefix: prefix.as_slice().try_into().map_err(too_long)?,
                    group_channel_id: group,
                };
                let message_type = mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS;
                self.writer(out).common(message_type, message)?;
            }
            Kind::Extended(bytes) => {
                let message = OpenExtendedMiningChannelSuccess {
                    request_id,
                    channel_id: id,
                    target: U256::from(&target),
                    // At most MAX_MINER_EXTRANONCE_BYTES.
                    extranonce_size: bytes as u16,
                    extranonce_prefix: prefix.as_slice().try_into().map_err(too_long)?,
                    group_channel_id: group,
                };
                let message_type = mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS;
                self.writer(out).common(message_type, message)?;
            }
        }
        self.channels.push(channel);
        let Some(job) = self.current.clone() else { return Ok(()) };
        let last = self.channels.len() - 1;
        self.send_job(last..last + 1, &job, true, now, out)
    }

    /// Who a user name is and whom their blocks pay; otherwise why not.
    fn identify(&self, user: &str) -> Result<(Arc<Identity>, PayoutOutput), String> {
        let identity = Identity::parse(user, self.settings.network).map_err(|error| error.to_string())?;
        let payout = self.settings.payout.output_for(&identity).map_err(|error| error.to_string())?;
        Ok((Arc::new(identity), payout))
    }

    /// The limits of the channel that is wanted, or the code of why it cannot be.
    fn limits(&self, wanted: &Wanted<'_>) -> Result<VardiffLimits, &'static str> {
        if self.channels.len() >= MAX_CHANNELS {
            return Err(mining::ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED);
        }
        if let Kind::Extended(bytes) = wanted.kind {
            if self.setup.as_ref().is_some_and(|setup| setup.standard_jobs) {
                let code =
                    mining::ERROR_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS;
                return Err(code);
            }
            if bytes > MAX_MINER_EXTRANONCE_BYTES {
                return Err(mining::ERROR_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE);
            }
        }
        if !wanted.nominal.is_finite() || wanted.nominal < 0.0 {
            return Err(mining::ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_NOMINAL_HASHRATE);
        }
        within(self.settings.limits, wanted.max_target)
            .ok_or(mining::ERROR_CODE_OPEN_MINING_CHANNEL_MAX_TARGET_OUT_OF_RANGE)
    }

    /// The group of channels with this payout and extranonce size: what they can be sent together.
    fn group(&mut self, payout: &PayoutOutput, extranonce_bytes: usize) -> u32 {
        let same =
            |(_, paid, bytes): &&(u32, PayoutOutput, usize)| paid == payout && *bytes == extranonce_bytes;
        if let Some((id, ..)) = self.groups.iter().find(same) {
            return *id;
        }
        let id = self.fresh_id();
        self.groups.push((id, payout.clone(), extranonce_bytes));
        id
    }

    /// The miner tells that its hash rate changed, or what targets it can take.
    fn update(&mut self, message: &UpdateChannel<'_>, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let channel_id = message.channel_id;
        let error = |code: &'static str| {
            Ok::<_, Broken>(UpdateChannelError {
                channel_id,
                error_code: code.try_into().map_err(|_| Broken("an error code was too long"))?,
            })
        };
        let nominal = message.nominal_hash_rate;
        let limits = within(self.settings.limits, number(&message.maximum_target));
        let refusal = if self.position(channel_id).is_none() {
            Some(mining::ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID)
        } else if !nominal.is_finite() || nominal < 0.0 {
            Some(mining::ERROR_CODE_UPDATE_CHANNEL_INVALID_NOMINAL_HASHRATE)
        } else if limits.is_none() {
            Some(mining::ERROR_CODE_UPDATE_CHANNEL_MAX_TARGET_OUT_OF_RANGE)
        } else {
            None
        };
        if let Some(code) = refusal {
            return Ok(self.writer(out).channel(mining::MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, error(code)?)?);
        }
        let (Some(position), Some(limits)) = (self.position(channel_id), limits) else { return Ok(()) };
        let Some(channel) = self.channels.get_mut(position) else { return Ok(()) };
        channel.limits = limits;
        // Measured shares know better than a repeated claim; a changed claim is news.
        if nominal > 0.0 && changed(channel.nominal, nominal) {
            channel.nominal = nominal;
            channel.vardiff = Vardiff::new(Difficulty::for_hashrate(f64::from(nominal)), limits, now.ms);
        } else {
            channel.vardiff.set_min(limits.min);
        }
        let Some(job) = self.current.clone() else { return Ok(()) };
        self.retarget(position, &job, now, out)
    }

    /// Closes a channel, or all channels of a group.
    fn close(&mut self, id: u32, out: &mut Outbox) {
        let user_agent = self.user_agent();
        self.channels.retain(|channel| {
            let stays = channel.id != id && channel.group != id;
            if !stays && channel.known {
                out.news.push(seen(channel, &user_agent, WorkerChange::Left));
            }
            stays
        });
    }

    fn submit(&mut self, submitted: Submitted<'_>, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let Submitted { channel_id, sequence_number: sequence, .. } = submitted;
        let Some(position) = self.position(channel_id) else {
            return self.reject(channel_id, sequence, None, RejectReason::Unauthorized, out);
        };
        self.make_known(position, out);
        let Some(channel) = self.channels.get_mut(position) else { return Ok(()) };
        match channel.judge(submitted, now) {
            Ok((share, difficulty)) => {
                let waiting = Waiting { channel: channel_id, sequence, work: share.work, hash: share.hash };
                let changed = channel.vardiff.on_share(difficulty, now.ms).is_some();
                self.waiting.push_back(waiting);
                out.shares.push(share);
                match self.current.clone() {
                    Some(job) if changed => self.retarget(position, &job, now, out),
                    _ => Ok(()),
                }
            }
            Err(reason) => {
                let identity = Arc::clone(&channel.identity);
                self.reject(channel_id, sequence, Some(identity), reason, out)
            }
        }
    }

    fn reject(
        &mut self,
        channel_id: u32,
        sequence: u32,
        identity: Option<Arc<Identity>>,
        reason: RejectReason,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        out.news.push(News::Rejected(RejectedShare { identity, reason }));
        Ok(self.writer(out).share_error(channel_id, sequence, reason)?)
    }

    /// Tells a channel its difficulty, and sends it a job for which it holds.
    fn retarget(&mut self, position: usize, job: &Arc<Job>, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let Some(channel) = self.channels.get_mut(position) else { return Ok(()) };
        if !channel.settle_difficulty(job) {
            return Ok(());
        }
        let (id, told) = (channel.id, channel.told);
        if channel.known {
            let change = WorkerChange::Retargeted;
            let user_agent = self.setup.as_ref().map(|setup| Arc::clone(&setup.user_agent));
            out.news.push(seen(channel, &user_agent.unwrap_or_default(), change));
        }
        self.writer(out).target(id, told)?;
        self.send_job(position..position + 1, job, false, now, out)
    }

    /// Sends a job to channels: new ones and those of a new block get it with its previous block's hash.
    /// Those that can be are told together, as their group.
    fn send_job(
        &mut self,
        range: std::ops::Range<usize>,
        job: &Arc<Job>,
        with_prev_hash: bool,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let standard_jobs = self.setup.as_ref().is_some_and(|setup| setup.standard_jobs);
        let time = self.job_time(job, now);
        let activation = if with_prev_hash { Activation::WithPrevHash } else { Activation::Now(time) };
        // A new group's first member comes with the job's id; the others were told with it.
        let mut told: Vec<(u32, u32)> = Vec::new();
        let together = range.len() > 1 && !standard_jobs;
        for position in range {
            let Some(channel) = self.channels.get_mut(position) else { break };
            let (id, group) = (channel.id, channel.group);
            if channel.settle_difficulty(job) {
                let told = channel.told;
                Writer { link: &mut self.link, bytes: &mut out.bytes }.target(id, told)?;
            }
            if with_prev_hash {
                channel.sent.retire_all(now.ms);
            }
            let coinbase = channel.coinbase(job)?;
            if let Some((_, job_id)) = told.iter().find(|(told, _)| together && *told == group) {
                channel.note_job(*job_id, job, &coinbase);
                continue;
            }
            let job_id = self.next_id;
            self.next_id = self.next_id.wrapping_add(1).max(1);
            channel.note_job(job_id, job, &coinbase);
            let mut writer = Writer { link: &mut self.link, bytes: &mut out.bytes };
            let target = if together { group } else { id };
            match channel.sent.newest().and_then(|sent| Some((sent, sent.root?))) {
                Some((sent, root)) if !together => {
                    use bitcoin::hashes::Hash;
                    writer.standard_job(id, sent, root.as_byte_array(), activation)?;
                }
                _ => writer.extended_job(target, job_id, job, &coinbase, activation)?,
            }
            if with_prev_hash {
                writer.prev_hash(target, job_id, job, time)?;
            }
            told.push((group, job_id));
        }
        self.notified_ms = now.ms;
        Ok(())
    }

    /// The header time that a job begins with: never one that an earlier job began with, since a miner
    /// begins its other counters anew.
    fn job_time(&mut self, job: &Job, now: Now) -> u32 {
        let time = now.unix.max(job.template.time).max(self.notified_time.saturating_add(1));
        self.notified_time = time;
        time
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

    fn position(&self, id: u32) -> Option<usize> {
        self.channels.binary_search_by_key(&id, |channel| channel.id).ok()
    }

    fn user_agent(&self) -> Arc<str> {
        self.setup.as_ref().map(|setup| Arc::clone(&setup.user_agent)).unwrap_or_default()
    }

    const fn fresh_id(&mut self) -> u32 {
        let id = self.next_id;
        self.next_id += 1;
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
        Ok(())
    }

    fn try_on_job(&mut self, job: &Arc<Job>, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let earlier = self.current.replace(Arc::clone(job));
        let new_block = earlier.is_none_or(|earlier| earlier.template.prev_hash != job.template.prev_hash);
        if self.channels.is_empty() {
            Ok(())
        } else {
            self.send_job(0..self.channels.len(), job, new_block, now, out)
        }
    }

    fn try_on_tick(&mut self, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let Some(job) = self.current.clone() else { return Ok(()) };
        for position in 0..self.channels.len() {
            let Some(channel) = self.channels.get_mut(position) else { break };
            if now.ms.saturating_sub(channel.opened_ms) >= PROBE_MS && channel.sent.newest().is_some() {
                self.make_known(position, out);
            }
            let Some(channel) = self.channels.get_mut(position) else { break };
            if channel.vardiff.on_tick(now.ms).is_some() {
                self.retarget(position, &job, now, out)?;
            }
        }
        if !self.channels.is_empty() && now.ms.saturating_sub(self.notified_ms) >= NOTIFY_EVERY_MS {
            self.send_job(0..self.channels.len(), &job, false, now, out)?;
        }
        Ok(())
    }

    /// One SubmitShares.Success a channel for all that was kept of it.
    fn try_on_kept(&mut self, count: usize, kept: bool, out: &mut Outbox) -> Result<(), Stop> {
        let shares: Vec<Waiting> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        if !kept {
            for Waiting { channel, sequence, hash, .. } in shares {
                let mut identity = None;
                if let Some(channel) = self.position(channel).and_then(|at| self.channels.get_mut(at)) {
                    channel.sent.forget_share(hash);
                    identity = Some(Arc::clone(&channel.identity));
                }
                self.reject(channel, sequence, identity, RejectReason::NotKept, out)?;
            }
            return Ok(());
        }
        let mut acknowledged: Vec<(SubmitSharesSuccess, Work)> = Vec::new();
        for Waiting { channel, sequence, work, .. } in shares {
            let found = acknowledged.iter_mut().rev().find(|(success, _)| success.channel_id == channel);
            let (success, sum) = match found {
                Some(found) => found,
                None => acknowledged.push_mut((
                    SubmitSharesSuccess {
                        channel_id: channel,
                        last_sequence_number: 0,
                        new_submits_accepted_count: 0,
                        new_shares_sum: 0,
                    },
                    Work::ZERO,
                )),
            };
            success.last_sequence_number = sequence;
            success.new_submits_accepted_count += 1;
            *sum = [*sum, work].into_iter().sum();
        }
        for (mut success, sum) in acknowledged {
            success.new_shares_sum = sum.ehash() / Difficulty::ONE.work().ehash();
            self.writer(out).shares_success(success)?;
        }
        Ok(())
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
        Self::conclude(self.try_on_kept(count, kept, out), out);
    }

    fn on_close(&mut self, out: &mut Outbox) {
        let user_agent = self.user_agent();
        let known = self.channels.iter().filter(|channel| channel.known);
        out.news.extend(known.map(|channel| seen(channel, &user_agent, WorkerChange::Left)));
    }

    /// Has a channel.
    fn ready(&self) -> bool {
        !self.channels.is_empty()
    }
}

/// What OpenStandardMiningChannel and OpenExtendedMiningChannel ask for.
struct Wanted<'a> {
    request_id: u32,
    kind: Kind,
    user: &'a str,
    nominal: f32,
    max_target: Target,
}

fn read<'a, M: stratum_core::binary_sv2::Decodable<'a>>(payload: &'a mut [u8]) -> Result<M, Broken> {
    from_bytes(payload).map_err(|_| UNREADABLE)
}

fn number(target: &U256<'_>) -> Target {
    Target::from_le_bytes(*target.as_array())
}

/// Whether a hash rate is another: by half or more.
fn changed(before: f32, after: f32) -> bool {
    after > before * 1.5 || after < before / 1.5
}

fn seen(channel: &Channel, user_agent: &Arc<str>, change: WorkerChange) -> News {
    News::Worker(WorkerSeen {
        identity: Arc::clone(&channel.identity),
        protocol: Protocol::Sv2,
        user_agent: Arc::clone(user_agent),
        difficulty: channel.told,
        measured: channel.vardiff.measured(),
        change,
    })
}

#[cfg(test)]
#[path = "session_tests.rs"]
mod tests;
