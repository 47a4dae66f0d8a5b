//! Shares: from the line that brings one to the verdict.

use std::sync::Arc;

use bitcoin::BlockHash;
use poolbox_accounting::{Difficulty, Identity};

use super::Session;
use crate::extranonce::MAX_MINER_BYTES;
use crate::session::{Now, Outbox};
use crate::share::{RejectReason, Submission};
use crate::sink::{AcceptedShare, News, RejectedShare};
use crate::sv1::message::{self, ErrorCode, Lines, Request, hex_u32};

/// A share that is on its way to the disk.
#[derive(Debug)]
pub(super) struct Waiting {
    id: Box<str>,
    hash: BlockHash,
    identity: Arc<Identity>,
}

impl Session {
    /// `mining.submit`.
    pub(super) fn submit(&mut self, request: &Request<'_>, now: Now, out: &mut Outbox) {
        let id = request.id;
        if !self.subscribed {
            let sentence = "Send mining.subscribe before mining.submit";
            return out.bytes.line(&message::error(id, ErrorCode::NotSubscribed, sentence));
        }
        let worker = match request.text(0) {
            Some(user) => self.workers.get(user),
            None => request.string(0).and_then(|user| self.workers.get(&user)),
        };
        let Some(identity) = worker.cloned() else {
            return refuse(id, None, RejectReason::Unauthorized, out);
        };
        self.make_known(out);
        match self.judge(request, &identity, now) {
            Ok((share, difficulty)) => {
                self.waiting.push_back(Waiting { id: id.into(), hash: share.hash, identity });
                out.shares.push(share);
                self.vardiff.on_share(difficulty, now.ms);
            }
            Err(reason) => refuse(id, Some(identity), reason, out),
        }
    }

    /// The share of a submit and the difficulty of its job.
    fn judge(
        &mut self,
        request: &Request<'_>,
        identity: &Arc<Identity>,
        now: Now,
    ) -> Result<(AcceptedShare, Difficulty), RejectReason> {
        let Fields { job, extranonce2, time, nonce, version_bits } =
            Fields::read(request).ok_or(RejectReason::Malformed)?;
        let mut miner = [0; MAX_MINER_BYTES];
        let miner = miner.get_mut(..self.extranonce.layout().miner_bytes()).unwrap_or_default();
        hex::decode_to_slice(extranonce2, miner).map_err(|_| RejectReason::BadExtranonce)?;
        let extranonce = (self.extranonce.server(), &*miner);
        let job = hex_u32(job).ok_or(RejectReason::UnknownJob)?;
        let (sent, late) = self.sent.find(job, now.ms)?;
        let (template, mask) = (&sent.job.template, self.version_mask & sent.job.version_mask);
        let version = match version_bits {
            Some(bits) if bits & !mask != 0 => return Err(RejectReason::BadVersion),
            Some(bits) => (template.version & !mask) | bits,
            None => template.version,
        };
        let root = template.merkle_root(sent.coinbase.txid(extranonce.0, extranonce.1));
        let difficulty = sent.difficulty;
        let solved = Submission { time, nonce, version }.judge(
            &sent.job,
            root,
            difficulty.target(),
            mask,
            now.unix,
        )?;
        let share = AcceptedShare::new(identity, sent, &solved, late, extranonce);
        let prev_hash = template.prev_hash;
        if !self.sent.note_share(prev_hash, &solved) {
            return Err(RejectReason::Duplicate);
        }
        Ok((share, difficulty))
    }

    /// The next `count` shares were kept, or could not be.
    pub(super) fn answer(&mut self, count: usize, kept: bool, out: &mut Outbox) {
        for Waiting { id, hash, identity } in self.waiting.drain(..count.min(self.waiting.len())) {
            if kept {
                message::accepted(&id, &mut out.bytes);
            } else {
                self.sent.forget_share(hash);
                refuse(&id, Some(identity), RejectReason::NotKept, out);
            }
        }
    }
}

/// user, job id, extranonce2, ntime, nonce and, from miners that roll it, version bits.
struct Fields<'a> {
    job: &'a str,
    extranonce2: &'a str,
    time: u32,
    nonce: u32,
    version_bits: Option<u32>,
}

impl<'a> Fields<'a> {
    fn read(request: &Request<'a>) -> Option<Self> {
        let version_bits = match request.params.get(5) {
            None => None,
            Some(written) if written.get() == "null" => None,
            Some(_) => Some(hex_u32(request.text(5)?)?),
        };
        Some(Self {
            job: request.text(1)?,
            extranonce2: request.text(2)?,
            time: hex_u32(request.text(3)?)?,
            nonce: hex_u32(request.text(4)?)?,
            version_bits,
        })
    }
}

fn refuse(id: &str, identity: Option<Arc<Identity>>, reason: RejectReason, out: &mut Outbox) {
    out.bytes.line(&message::error(id, reason.into(), &reason.to_string()));
    out.news.push(News::Rejected(RejectedShare { identity, reason }));
}
