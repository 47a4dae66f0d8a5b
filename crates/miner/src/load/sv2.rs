//! Stratum V2 under load: shares and their answers take a short way, all else the miner's session.

use anyhow::Context;

use crate::inbox::Inbox;
use crate::load::mine::Share;
use crate::load::options::LoadOptions;
use crate::load::talker::{self, Heard};
use crate::protocol::Action;
use crate::sv2::{
    ANSWER, AuthorityKey, ChannelKind, Handshake, Header, Link, Miner, SUBMIT_SHARES_ERROR,
    SUBMIT_SHARES_SUCCESS, Session, Submission, Sv2Error, submission_header, write_submission,
};
use crate::wire::unix_seconds;

/// One connection's protocol.
pub struct Talker {
    authority: Option<AuthorityKey>,
    miner: Miner,
    stage: Stage,
    /// A share's bytes, kept for their room.
    payload: Vec<u8>,
}

enum Stage {
    New,
    Greeted(Box<Handshake>),
    Open(Box<Open>),
}

struct Open {
    link: Link,
    session: Session,
    /// Channel and job of the shares.
    place: Option<(u32, u32)>,
}

impl Talker {
    /// Connection `number`'s.
    pub fn new(options: &LoadOptions, authority: Option<AuthorityKey>, number: usize) -> Self {
        let miner = Miner {
            user: options.user_of(number),
            user_agent: concat!("poolbox-miner/", env!("CARGO_PKG_VERSION")).into(),
            // Asks for the easiest target that the pool gives.
            hashrate: 0.0,
            channel: options.channel,
            host: options.url.host.clone(),
            port: options.url.port,
        };
        Self { authority, miner, stage: Stage::New, payload: Vec::new() }
    }

    /// Finishes the handshake if the pool's answer has come, and opens the session.
    fn finish_handshake(&mut self, inbox: &mut Inbox, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let Some(answer) = inbox.take(ANSWER) else { return Ok(()) };
        let answer: &[u8; ANSWER] = (&*answer).try_into()?;
        let Stage::Greeted(handshake) = std::mem::replace(&mut self.stage, Stage::New) else {
            return Ok(());
        };
        let ciphers = handshake.finish(answer, unix_seconds()).map_err(Sv2Error::of_handshake)?;
        let mut link = Link::new(ciphers);
        let (session, greeting) = Session::open(self.miner.clone())?;
        link.seal(greeting.header(), &greeting.payload, out)?;
        self.stage = Stage::Open(Box::new(Open { link, session, place: None }));
        Ok(())
    }
}

impl talker::Talker for Talker {
    fn greet(&mut self, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let (handshake, hello) = Handshake::start(self.authority)?;
        out.extend_from_slice(&hello);
        self.stage = Stage::Greeted(Box::new(handshake));
        Ok(())
    }

    fn receive(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> anyhow::Result<()> {
        if !matches!(self.stage, Stage::Open(_)) {
            self.finish_handshake(inbox, out)?;
        }
        match &mut self.stage {
            Stage::Open(open) => open.receive(inbox, out, hear),
            _ => Ok(()),
        }
    }

    fn submit(&mut self, share: Share<'_>, number: u32, out: &mut Vec<u8>) -> anyhow::Result<()> {
        let Stage::Open(open) = &mut self.stage else { return Ok(()) };
        let (channel, job) = open.place.context("a share before its job")?;
        let extranonce = (self.miner.channel == ChannelKind::Extended).then_some(share.extranonce2);
        let Share { time, version, nonce, .. } = share;
        let submission = Submission { channel, sequence: number, job, nonce, time, version, extranonce };
        self.payload.clear();
        write_submission(&submission, &mut self.payload);
        open.link.seal(submission_header(extranonce.map(<[u8]>::len)), &self.payload, out)?;
        Ok(())
    }
}

impl Open {
    fn receive(
        &mut self,
        inbox: &mut Inbox,
        out: &mut Vec<u8>,
        hear: &mut impl FnMut(Heard<'_>),
    ) -> anyhow::Result<()> {
        while let Some((header, payload)) = self.link.next(inbox)? {
            match answer(header, payload) {
                Some(heard) => hear(heard),
                None => {
                    for action in self.session.receive(header, payload)? {
                        match action {
                            Action::Send(frame) => self.link.seal(frame.header(), &frame.payload, out)?,
                            Action::Hash(job) => {
                                self.place = self.session.place();
                                hear(Heard::Job(job));
                            }
                            Action::Reconnect => anyhow::bail!("the pool asked to connect again"),
                            _ => {}
                        }
                    }
                }
            }
        }
        Ok(())
    }
}

/// The pool's answer to shares, where the message is one.
fn answer(header: Header, payload: &[u8]) -> Option<Heard<'_>> {
    // Channel, number of a share, then how many, or the length of the reason and the reason.
    let number = |at: usize| payload.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes));
    match header.kind {
        SUBMIT_SHARES_SUCCESS if header.is_core() => Some(Heard::AcceptedThrough(number(4)?, number(8)?)),
        SUBMIT_SHARES_ERROR if header.is_core() => {
            let reason = payload.get(9..).and_then(|reason| std::str::from_utf8(reason).ok());
            Some(Heard::Rejected(number(4)?, reason.unwrap_or("unreadable")))
        }
        _ => None,
    }
}
