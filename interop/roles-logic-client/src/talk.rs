//! One connection from its start to its end: set up, open a channel, search, submit, wait for answers.

use std::sync::Arc;
use std::time::Instant;

use anyhow::{Context, Result, bail};
use common_messages_sv2::{Protocol, SetupConnection};
use mining_sv2::{OpenExtendedMiningChannel, OpenStandardMiningChannel};
use parsers_sv2::{AnyMessage, CommonMessages, Mining, message_type_to_name};
use roles_logic_sv2::handlers::common::ParseCommonMessagesFromUpstream;
use roles_logic_sv2::handlers::mining::ParseMiningMessagesFromUpstream;
use roles_logic_sv2::utils::Mutex;

use crate::Wish;
use crate::channel::Search;
use crate::miner::{Kind, Miner, Tally};
use crate::wire::{Raw, Wire};

/// Message types below this one are common to all protocols.
const FIRST_MINING_MESSAGE: u8 = 0x10;
/// The request id of the only channel that is opened.
const REQUEST: u32 = 1;
/// Rolling bytes that an extended channel asks for.
const MIN_EXTRANONCE_SIZE: u16 = 2;

/// Mines on one channel and tells what happened.
pub fn mine(wish: &Wish, kind: Kind, deadline: Instant) -> Tally {
    let miner = Arc::new(Mutex::new(Miner::new(kind, wish.user.clone(), wish.hash_rate)));
    let ended = Wire::connect(&wish.address, wish.authority)
        .and_then(|wire| Talk { wire, miner: Arc::clone(&miner), deadline }.run(wish, kind));
    let mut tally = miner.super_safe_lock(Miner::finish);
    if let Err(error) = ended {
        tally.errors.push(format!("{}: {error:#}", kind.name()));
    }
    tally
}

struct Talk {
    wire: Wire,
    miner: Arc<Mutex<Miner>>,
    deadline: Instant,
}

impl Talk {
    fn run(mut self, wish: &Wish, kind: Kind) -> Result<()> {
        self.wire.send(AnyMessage::Common(CommonMessages::SetupConnection(setup(wish, kind)?)))?;
        self.wait(|miner| miner.set_up).context("no connection was set up")?;
        self.wire.send(AnyMessage::Mining(open(wish, kind)?))?;
        self.wait(|miner| miner.channel.is_some()).context("no channel was opened")?;
        self.wait(|miner| miner.channel.as_ref().is_some_and(|channel| channel.has_work()))
            .context("no job came")?;
        let mut search = Search::default();
        let mut submitted = 0;
        for round in 0..wish.rounds {
            if round > 0 {
                let seen = self.miner.super_safe_lock(|miner| miner.blocks);
                self.wait(|miner| miner.blocks > seen).context("no new block came")?;
            }
            for _ in 0..wish.shares {
                submitted += 1;
                let share = self.find(&mut search, submitted)?;
                self.wire.send(AnyMessage::Mining(share))?;
            }
            self.wait(|miner| miner.tally.accepted + miner.tally.rejected >= submitted)
                .context("not every share was answered")?;
        }
        Ok(())
    }

    /// Searches until a share is found, with every job that comes meanwhile.
    fn find(&mut self, search: &mut Search, sequence_number: u32) -> Result<Mining<'static>> {
        while Instant::now() < self.deadline {
            while let Some(message) = self.wire.receive_now()? {
                self.take(message)?;
            }
            let found = self.miner.super_safe_lock(|miner| match &mut miner.channel {
                Some(channel) => channel.search(search, sequence_number),
                None => Ok(None),
            })?;
            if let Some(share) = found {
                return Ok(share);
            }
        }
        bail!("no share was found in time")
    }

    /// Takes messages until something is so.
    fn wait(&mut self, is_so: impl Fn(&Miner) -> bool) -> Result<()> {
        while !self.miner.super_safe_lock(|miner| is_so(miner)) {
            let message = self.wire.receive(self.deadline)?;
            self.take(message)?;
        }
        Ok(())
    }

    fn take(&mut self, (kind, mut payload): Raw) -> Result<()> {
        let miner = Arc::clone(&self.miner);
        let taken = if kind < FIRST_MINING_MESSAGE {
            Miner::handle_message_common(miner, kind, &mut payload).map(drop)
        } else {
            Miner::handle_message_mining(miner, kind, &mut payload).map(drop)
        };
        // The old stack answers nothing by itself here; what it does not understand ends the talk.
        taken.map_err(|error| anyhow::anyhow!("{}: {error:?}", message_type_to_name(kind)))?;
        if self.miner.super_safe_lock(|miner| miner.refused) {
            bail!("the pool refused");
        }
        Ok(())
    }
}

fn setup(wish: &Wish, kind: Kind) -> Result<SetupConnection<'static>> {
    let (host, port) = wish.address.rsplit_once(':').context("the address has no port")?;
    let text = |text: &str| {
        text.to_owned().into_bytes().try_into().map_err(|error| anyhow::anyhow!("{text}: {error:?}"))
    };
    let mut setup = SetupConnection {
        protocol: Protocol::MiningProtocol,
        min_version: 2,
        max_version: 2,
        flags: 0,
        endpoint_host: text(host)?,
        endpoint_port: port.parse().context("the port is no number")?,
        vendor: text("roles-logic-client")?,
        hardware_version: text("roles_logic_sv2 5.0.0")?,
        firmware: text("")?,
        device_id: text("")?,
    };
    if kind == Kind::Standard {
        setup.set_requires_standard_job();
    }
    Ok(setup)
}

fn open(wish: &Wish, kind: Kind) -> Result<Mining<'static>> {
    let user_identity = wish.user.clone().into_bytes().try_into();
    let user_identity = user_identity.map_err(|error| anyhow::anyhow!("--user: {error:?}"))?;
    let (nominal_hash_rate, max_target) = (wish.hash_rate, [0xff; 32].into());
    Ok(match kind {
        Kind::Standard | Kind::Grouped => Mining::OpenStandardMiningChannel(OpenStandardMiningChannel {
            request_id: REQUEST.into(),
            user_identity,
            nominal_hash_rate,
            max_target,
        }),
        Kind::Extended => Mining::OpenExtendedMiningChannel(OpenExtendedMiningChannel {
            request_id: REQUEST,
            user_identity,
            nominal_hash_rate,
            max_target,
            min_extranonce_size: MIN_EXTRANONCE_SIZE,
        }),
    })
}
