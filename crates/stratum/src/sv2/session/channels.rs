//! Opening, updating and closing channels (specification, sections 5.3.2 to 5.3.9).

use std::sync::Arc;

use bitcoin::Target;
use poolbox_accounting::{Difficulty, Identity};
use stratum_core::binary_sv2::U256;
use stratum_core::mining_sv2 as mining;
use stratum_core::mining_sv2::{
    CloseChannel, OpenExtendedMiningChannel, OpenExtendedMiningChannelSuccess, OpenStandardMiningChannel,
    OpenStandardMiningChannelSuccess, UpdateChannel, UpdateChannelError,
};

use super::{Session, Stop, seen};
use crate::coinbase::MAX_MINER_EXTRANONCE_BYTES;
use crate::extranonce::Layout;
use crate::payout::PayoutOutput;
use crate::session::{Now, Outbox};
use crate::sink::WorkerChange;
use crate::sv2::channel::{Channel, Kind, Terms, within};
use crate::sv2::message::{error_code, target};
use crate::sv2::noise::Broken;
use crate::vardiff::{Introduction, Start, Vardiff, VardiffLimits};

/// Channels on one connection.
pub(super) const MAX_CHANNELS: usize = 1024;
/// Where there are only 2^16 extranonces for all.
pub(super) const MAX_NARROW_CHANNELS: usize = 128;

/// Channels that can be sent the same job: they pay the same, and their extranonces have the same size.
#[derive(Debug)]
pub(super) struct Group {
    id: u32,
    payout: PayoutOutput,
    extranonce_bytes: usize,
}

/// What OpenStandardMiningChannel and OpenExtendedMiningChannel ask for.
struct Wanted<'a> {
    request_id: u32,
    kind: Kind,
    user: &'a [u8],
    nominal: f32,
    max_target: Target,
}

impl Session {
    /// OpenStandardMiningChannel.
    pub(super) fn open_standard(
        &mut self,
        message: &OpenStandardMiningChannel<'_>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let wanted = Wanted {
            request_id: message.request_id,
            kind: Kind::Standard,
            user: message.user_identity.as_bytes(),
            nominal: message.nominal_hash_rate,
            max_target: number(&message.max_target),
        };
        self.open(&wanted, now, out)
    }

    /// OpenExtendedMiningChannel.
    pub(super) fn open_extended(
        &mut self,
        message: &OpenExtendedMiningChannel<'_>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let wanted = Wanted {
            request_id: message.request_id,
            kind: Kind::Extended(message.min_extranonce_size.into()),
            user: message.user_identity.as_bytes(),
            nominal: message.nominal_hash_rate,
            max_target: number(&message.max_target),
        };
        self.open(&wanted, now, out)
    }

    fn open(&mut self, wanted: &Wanted<'_>, now: Now, out: &mut Outbox) -> Result<(), Stop> {
        let mut channel = match self.prepare(wanted, now) {
            Ok(channel) => channel,
            Err(code) => return Ok(self.writer(out).open_error(wanted.request_id, code)?),
        };
        if let Some(job) = &self.current {
            channel.settle_difficulty(Difficulty::not_above(job.hardest));
        }
        self.welcome(wanted.request_id, &channel, out)?;
        self.channels.push(channel);
        self.send_first_job(self.channels.len() - 1, now, out)
    }

    /// The channel that is wanted; otherwise the code of why it cannot be.
    fn prepare(&mut self, wanted: &Wanted<'_>, now: Now) -> Result<Channel, &'static str> {
        let (identity, payout) = self.identify(wanted.user)?;
        let limits = self.limits(wanted)?;
        let user_agent = self.user_agent();
        let about = Introduction {
            user_agent: &user_agent,
            remembered: self.settings.memory.difficulty(&identity, &user_agent),
            wish: None,
            hashrate: Some(f64::from(wanted.nominal)),
        };
        let start = Start::choose(&about, self.settings.network, self.settings.start);
        let extranonce = self
            .extranonces
            .next()
            .ok_or(mining::ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED)?;
        if extranonce.layout() == Layout::NARROW && self.channels.len() >= MAX_NARROW_CHANNELS {
            return Err(mining::ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED);
        }
        let kind = sized(wanted.kind, extranonce.layout())
            .ok_or(mining::ERROR_CODE_OPEN_MINING_CHANNEL_MIN_EXTRANONCE_SIZE_TOO_LARGE)?;
        let group = self.group(&payout, kind.extranonce_bytes(extranonce.layout()));
        let terms = Terms {
            kind,
            identity,
            payout,
            extranonce,
            vardiff: Vardiff::begin(start, limits, now.ms),
            limits,
            nominal: wanted.nominal,
        };
        Ok(Channel::open(self.fresh_id(), group, terms, now))
    }

    /// Who a user name is and whom their blocks pay.
    fn identify(&mut self, user: &[u8]) -> Result<(Arc<Identity>, PayoutOutput), &'static str> {
        let user = String::from_utf8_lossy(user);
        let identity = Identity::parse(&user, self.settings.network).map_err(|error| error.to_string());
        let identified = identity.and_then(|identity| {
            let payout = self.settings.payout.output_for(&identity).map_err(|error| error.to_string())?;
            Ok((Arc::new(identity), payout))
        });
        identified.map_err(|reason| {
            // The protocol has no room for the sentence: it is for whoever looks after the box.
            if !std::mem::replace(&mut self.refused, true) {
                tracing::info!(user = &*user, reason, "Sv2 channel refused");
            }
            mining::ERROR_CODE_OPEN_MINING_CHANNEL_UNKNOWN_USER
        })
    }

    /// The limits of the channel that is wanted.
    fn limits(&self, wanted: &Wanted<'_>) -> Result<VardiffLimits, &'static str> {
        if self.channels.len() >= MAX_CHANNELS {
            return Err(mining::ERROR_CODE_OPEN_MINING_CHANNEL_CHANNEL_CAPACITY_EXHAUSTED);
        }
        if wanted.kind != Kind::Standard && self.setup.as_ref().is_some_and(|setup| setup.standard_jobs) {
            let code =
                mining::ERROR_CODE_OPEN_MINING_CHANNEL_EXTENDED_CHANNELS_NOT_SUPPORTED_FOR_STANDARD_JOBS;
            return Err(code);
        }
        if !is_hash_rate(wanted.nominal) {
            return Err(mining::ERROR_CODE_OPEN_MINING_CHANNEL_INVALID_NOMINAL_HASHRATE);
        }
        within(self.settings.limits, wanted.max_target)
            .ok_or(mining::ERROR_CODE_OPEN_MINING_CHANNEL_MAX_TARGET_OUT_OF_RANGE)
    }

    fn group(&mut self, payout: &PayoutOutput, extranonce_bytes: usize) -> u32 {
        let same = |group: &&Group| group.payout == *payout && group.extranonce_bytes == extranonce_bytes;
        if let Some(group) = self.groups.iter().find(same) {
            return group.id;
        }
        let id = self.fresh_id();
        self.groups.push(Group { id, payout: payout.clone(), extranonce_bytes });
        id
    }

    /// OpenStandardMiningChannel.Success or OpenExtendedMiningChannel.Success.
    fn welcome(&mut self, request_id: u32, channel: &Channel, out: &mut Outbox) -> Result<(), Broken> {
        let (channel_id, group_channel_id) = (channel.id, channel.group);
        let (prefix, target) = (channel.extranonce_prefix(), target(channel.told));
        let extranonce_prefix =
            prefix.as_slice().try_into().map_err(|_| Broken("an extranonce was too long"))?;
        let target = U256::from(&target);
        let mut writer = self.writer(out);
        match channel.kind {
            Kind::Standard => writer.common(
                mining::MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL_SUCCESS,
                OpenStandardMiningChannelSuccess {
                    request_id,
                    channel_id,
                    target,
                    extranonce_prefix,
                    group_channel_id,
                },
            ),
            Kind::Extended(bytes) => writer.common(
                mining::MESSAGE_TYPE_OPEN_EXTENDED_MINING_CHANNEL_SUCCESS,
                OpenExtendedMiningChannelSuccess {
                    request_id,
                    channel_id,
                    target,
                    // At most MAX_MINER_EXTRANONCE_BYTES.
                    extranonce_size: bytes as u16,
                    extranonce_prefix,
                    group_channel_id,
                },
            ),
        }
    }

    /// UpdateChannel: the hash rate changed, or what targets the miner can take.
    pub(super) fn update(
        &mut self,
        message: &UpdateChannel<'_>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let channel_id = message.channel_id;
        let nominal = message.nominal_hash_rate;
        let limits = within(self.settings.limits, number(&message.maximum_target));
        let updated = match (self.channel(channel_id), limits) {
            (None, _) => Err(mining::ERROR_CODE_UPDATE_CHANNEL_INVALID_CHANNEL_ID),
            _ if !is_hash_rate(nominal) => Err(mining::ERROR_CODE_UPDATE_CHANNEL_INVALID_NOMINAL_HASHRATE),
            (_, None) => Err(mining::ERROR_CODE_UPDATE_CHANNEL_MAX_TARGET_OUT_OF_RANGE),
            (Some(channel), Some(limits)) => {
                channel.update(nominal, limits, now);
                Ok(())
            }
        };
        match updated {
            Ok(()) => {
                self.unsettled.push(channel_id);
                Ok(())
            }
            Err(code) => {
                let message = UpdateChannelError { channel_id, error_code: error_code(code)? };
                Ok(self.writer(out).channel(mining::MESSAGE_TYPE_UPDATE_CHANNEL_ERROR, message)?)
            }
        }
    }

    /// CloseChannel, of a channel or of all channels of a group.
    pub(super) fn close(&mut self, message: &CloseChannel<'_>, out: &mut Outbox) {
        let id = message.channel_id;
        let user_agent = self.user_agent();
        let group = self.channel(id).map_or(id, |channel| channel.group);
        self.channels.retain_mut(|channel| {
            let stays = channel.id != id && channel.group != id;
            if !stays && channel.known {
                out.news.push(seen(channel, &user_agent, WorkerChange::Left));
            }
            stays
        });
        if !self.channels.iter().any(|channel| channel.group == group) {
            self.groups.retain(|empty| empty.id != group);
        }
    }
}

/// The kind with as many bytes for the miner as it gets: of an upstream's coinbase, what the layout has; of our
/// own, also more. None when it wants more than that.
fn sized(wanted: Kind, layout: Layout) -> Option<Kind> {
    let most = if layout == Layout::OWN { MAX_MINER_EXTRANONCE_BYTES } else { layout.miner_bytes() };
    match wanted {
        Kind::Standard => Some(Kind::Standard),
        Kind::Extended(least) => (least <= most).then_some(Kind::Extended(least.max(layout.miner_bytes()))),
    }
}

fn number(target: &U256<'_>) -> Target {
    Target::from_le_bytes(*target.as_array())
}

fn is_hash_rate(nominal: f32) -> bool {
    nominal.is_finite() && nominal >= 0.0
}
