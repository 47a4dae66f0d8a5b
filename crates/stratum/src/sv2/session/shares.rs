//! Shares: from the message that brings one to its answer (specification, sections 5.3.11 to 5.3.14).

use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::{Difficulty, Identity, Work};
use stratum_core::mining_sv2 as mining;
use stratum_core::mining_sv2::{SetCustomMiningJob, SetCustomMiningJobError, SubmitSharesSuccess};

use super::{Session, Stop};
use crate::session::{Now, Outbox};
use crate::share::RejectReason;
use crate::sink::{News, RejectedShare};
use crate::sv2::channel::Submitted;
use crate::sv2::message::error_code;

/// A share that is on its way to the disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    channel: u32,
    sequence: u32,
    work: Work,
    hash: BlockHash,
}

impl Session {
    /// SubmitSharesStandard or SubmitSharesExtended.
    pub(super) fn submit(
        &mut self,
        submitted: Submitted<'_>,
        now: Now,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let Submitted { channel_id, sequence_number: sequence, .. } = submitted;
        let Some(position) = self.position(channel_id) else {
            return self.reject(channel_id, sequence, None, RejectReason::Unauthorized, out);
        };
        self.make_known(position, out);
        let Some(channel) = self.channels.get_mut(position) else { return Ok(()) };
        match channel.judge(submitted, now) {
            Ok((share, difficulty)) => {
                if channel.vardiff.on_share(difficulty, now.ms).is_some() {
                    self.unsettled.push(channel_id);
                }
                let waiting = Waiting { channel: channel_id, sequence, work: share.work, hash: share.hash };
                self.waiting.push_back(waiting);
                out.shares.push(share);
                Ok(())
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

    /// The next `count` shares were kept, or could not be. Channels that were closed meanwhile are not
    /// spoken to any more.
    pub(super) fn answer(&mut self, count: usize, kept: bool, out: &mut Outbox) -> Result<(), Stop> {
        let shares: Vec<Waiting> = self.waiting.drain(..count.min(self.waiting.len())).collect();
        if kept { self.acknowledge(&shares, out) } else { self.take_back(&shares, out) }
    }

    fn take_back(&mut self, shares: &[Waiting], out: &mut Outbox) -> Result<(), Stop> {
        for &Waiting { channel: id, sequence, hash, .. } in shares {
            if let Some(channel) = self.channel(id) {
                channel.sent.forget_share(hash);
                let identity = Arc::clone(&channel.identity);
                self.reject(id, sequence, Some(identity), RejectReason::NotKept, out)?;
            }
        }
        Ok(())
    }

    /// One SubmitShares.Success a channel.
    fn acknowledge(&mut self, shares: &[Waiting], out: &mut Outbox) -> Result<(), Stop> {
        let mut acknowledged: Vec<(SubmitSharesSuccess, Work)> = Vec::new();
        for &Waiting { channel, sequence, work, .. } in shares {
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
            if self.position(success.channel_id).is_some() {
                success.new_shares_sum = sum.ehash() / Difficulty::ONE.work().ehash();
                self.writer(out).shares_success(success)?;
            }
        }
        Ok(())
    }

    /// SetCustomMiningJob: this server takes no jobs of others.
    pub(super) fn decline_custom_job(
        &mut self,
        message: &SetCustomMiningJob<'_>,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let error = SetCustomMiningJobError {
            channel_id: message.channel_id,
            request_id: message.request_id,
            error_code: error_code(mining::ERROR_CODE_SET_CUSTOM_MINING_JOB_JD_NOT_SUPPORTED)?,
        };
        Ok(self.writer(out).channel(mining::MESSAGE_TYPE_SET_CUSTOM_MINING_JOB_ERROR, error)?)
    }
}
