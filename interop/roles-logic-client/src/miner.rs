//! What the pool says, through the handler traits of `roles_logic_sv2`. They decide which message may come
//! on a connection of which kind; what must not come is an error.

use std::mem::take;

use anyhow::Result;
use binary_sv2::U256;
use channels_sv2::client::extended::ExtendedChannel;
use channels_sv2::client::standard::StandardChannel;
use common_messages_sv2::{ChannelEndpointChanged, Reconnect, SetupConnectionError, SetupConnectionSuccess};
use mining_sv2::{
    CloseChannel, NewExtendedMiningJob, NewMiningJob, OpenExtendedMiningChannelSuccess,
    OpenMiningChannelError, OpenStandardMiningChannelSuccess, SetCustomMiningJobError,
    SetCustomMiningJobSuccess, SetExtranoncePrefix, SetGroupChannel, SetNewPrevHash, SetTarget,
    SubmitSharesError, SubmitSharesSuccess, UpdateChannelError,
};
use roles_logic_sv2::Error;
use roles_logic_sv2::handlers::SendTo_;
use roles_logic_sv2::handlers::common::{ParseCommonMessagesFromUpstream, SendTo as SendCommon};
use roles_logic_sv2::handlers::mining::{ParseMiningMessagesFromUpstream, SendTo, SupportedChannelTypes};

use crate::channel::Channel;

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A standard channel with jobs of its own, as a device without extranonce asks for.
    Standard,
    /// An extended channel.
    Extended,
    /// A standard channel that gets its jobs through its group.
    Grouped,
}

impl Kind {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Standard, Self::Extended, Self::Grouped];

    /// Its name in the summary.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Standard => "standard",
            Self::Extended => "extended",
            Self::Grouped => "grouped",
        }
    }

    /// Whether a pool of today can be expected to work with it. In a group the old stack takes extended jobs
    /// only, and today's pools may send a standard channel its first job directly.
    pub const fn must_work(self) -> bool {
        !matches!(self, Self::Grouped)
    }
}

/// What happened.
#[derive(Debug, Default)]
pub struct Tally {
    /// Channels that the pool opened.
    pub opened: u32,
    /// Jobs that came.
    pub jobs: u32,
    /// Shares that the pool took.
    pub accepted: u32,
    /// Shares that it refused.
    pub rejected: u32,
    /// Everything that should not have happened.
    pub errors: Vec<String>,
}

impl Tally {
    /// Adds another one's figures.
    pub fn add(&mut self, mut other: Self) {
        self.opened += other.opened;
        self.jobs += other.jobs;
        self.accepted += other.accepted;
        self.rejected += other.rejected;
        self.errors.append(&mut other.errors);
    }
}

/// The state of one connection.
#[derive(Debug)]
pub struct Miner {
    kind: Kind,
    user: String,
    hash_rate: f32,
    /// Whether the pool took the connection.
    pub set_up: bool,
    /// The channel, once it is open.
    pub channel: Option<Channel>,
    /// How many blocks the pool told of.
    pub blocks: u32,
    /// What happened so far.
    pub tally: Tally,
    /// The pool refused something that nothing works without.
    pub refused: bool,
}

impl Miner {
    /// Before anything was said.
    pub fn new(kind: Kind, user: String, hash_rate: f32) -> Self {
        Self {
            kind,
            user,
            hash_rate,
            set_up: false,
            channel: None,
            blocks: 0,
            tally: Tally::default(),
            refused: false,
        }
    }

    /// Takes the figures out.
    pub fn finish(&mut self) -> Tally {
        take(&mut self.tally)
    }

    fn note(&mut self, error: String) {
        self.tally.errors.push(format!("{}: {error}", self.kind.name()));
    }

    fn refuse<Message, Remote>(&mut self, what: &str, code: &str) -> Result<SendTo_<Message, Remote>, Error> {
        self.refused = true;
        self.note(format!("{what}: {code}"));
        Ok(SendTo_::None(None))
    }

    /// Does something to the channel; without one, the message came too early.
    fn with_channel(&mut self, what: &str, act: impl FnOnce(&mut Channel) -> Result<()>) -> Answer {
        let done = match &mut self.channel {
            Some(channel) => act(channel).map_err(|error| format!("{what}: {error:#}")),
            None => Err(format!("{what} before the channel was open")),
        };
        if let Err(error) = done {
            self.note(error);
        }
        Ok(SendTo_::None(None))
    }
}

type Answer = Result<SendTo<()>, Error>;

impl ParseCommonMessagesFromUpstream for Miner {
    fn handle_setup_connection_success(&mut self, _: SetupConnectionSuccess) -> Result<SendCommon, Error> {
        self.set_up = true;
        Ok(SendTo_::None(None))
    }

    fn handle_setup_connection_error(&mut self, m: SetupConnectionError) -> Result<SendCommon, Error> {
        self.refuse("SetupConnection.Error", &m.error_code.as_utf8_or_hex())
    }

    fn handle_channel_endpoint_changed(&mut self, _: ChannelEndpointChanged) -> Result<SendCommon, Error> {
        Ok(SendTo_::None(None))
    }

    fn handle_reconnect(&mut self, _: Reconnect) -> Result<SendCommon, Error> {
        self.refuse("Reconnect", "the pool sent us away")
    }
}

impl ParseMiningMessagesFromUpstream<()> for Miner {
    fn get_channel_type(&self) -> SupportedChannelTypes {
        match self.kind {
            Kind::Standard => SupportedChannelTypes::Standard,
            Kind::Extended => SupportedChannelTypes::Extended,
            Kind::Grouped => SupportedChannelTypes::Group,
        }
    }

    fn is_work_selection_enabled(&self) -> bool {
        false
    }

    fn handle_open_standard_mining_channel_success(&mut self, m: OpenStandardMiningChannelSuccess) -> Answer {
        let prefix = m.extranonce_prefix.to_vec();
        let target = m.target.into_static().into();
        let channel = StandardChannel::new(m.channel_id, self.user.clone(), prefix, target, self.hash_rate);
        self.channel = Some(Channel::Standard(channel));
        self.tally.opened += 1;
        Ok(SendTo_::None(None))
    }

    fn handle_open_extended_mining_channel_success(&mut self, m: OpenExtendedMiningChannelSuccess) -> Answer {
        let prefix = m.extranonce_prefix.to_vec();
        let target = m.target.into_static().into();
        let channel = ExtendedChannel::new(
            m.channel_id,
            self.user.clone(),
            prefix,
            target,
            self.hash_rate,
            true,
            m.extranonce_size,
        );
        self.channel = Some(Channel::Extended(channel));
        self.tally.opened += 1;
        Ok(SendTo_::None(None))
    }

    fn handle_open_mining_channel_error(&mut self, m: OpenMiningChannelError) -> Answer {
        self.refuse("OpenMiningChannel.Error", &m.error_code.as_utf8_or_hex())
    }

    fn handle_update_channel_error(&mut self, m: UpdateChannelError) -> Answer {
        self.refuse("UpdateChannel.Error", &m.error_code.as_utf8_or_hex())
    }

    fn handle_close_channel(&mut self, m: CloseChannel) -> Answer {
        self.refuse("CloseChannel", &m.reason_code.as_utf8_or_hex())
    }

    fn handle_set_extranonce_prefix(&mut self, _: SetExtranoncePrefix) -> Answer {
        self.note("SetExtranoncePrefix, which nobody asked for".into());
        Ok(SendTo_::None(None))
    }

    fn handle_submit_shares_success(&mut self, m: SubmitSharesSuccess) -> Answer {
        self.tally.accepted += m.new_submits_accepted_count;
        Ok(SendTo_::None(None))
    }

    fn handle_submit_shares_error(&mut self, m: SubmitSharesError) -> Answer {
        self.tally.rejected += 1;
        self.note(format!("share {} rejected: {}", m.sequence_number, m.error_code.as_utf8_or_hex()));
        Ok(SendTo_::None(None))
    }

    fn handle_new_mining_job(&mut self, m: NewMiningJob) -> Answer {
        self.tally.jobs += 1;
        let job = m.into_static();
        self.with_channel("NewMiningJob", |channel| channel.standard_job(job))
    }

    fn handle_new_extended_mining_job(&mut self, m: NewExtendedMiningJob) -> Answer {
        self.tally.jobs += 1;
        let job = m.into_static();
        self.with_channel("NewExtendedMiningJob", |channel| channel.extended_job(job))
    }

    fn handle_set_new_prev_hash(&mut self, m: SetNewPrevHash) -> Answer {
        let block = m.into_static();
        self.blocks += 1;
        self.with_channel("SetNewPrevHash", |channel| channel.new_block(block))
    }

    fn handle_set_target(&mut self, m: SetTarget) -> Answer {
        let target: U256<'static> = m.maximum_target.into_static();
        self.with_channel("SetTarget", |channel| {
            channel.set_target(target.into());
            Ok(())
        })
    }

    fn handle_set_custom_mining_job_success(&mut self, m: SetCustomMiningJobSuccess) -> Answer {
        self.refuse("SetCustomMiningJob.Success", &m.request_id.to_string())
    }

    fn handle_set_custom_mining_job_error(&mut self, m: SetCustomMiningJobError) -> Answer {
        self.refuse("SetCustomMiningJob.Error", &m.error_code.as_utf8_or_hex())
    }

    fn handle_set_group_channel(&mut self, _: SetGroupChannel) -> Answer {
        Ok(SendTo_::None(None))
    }
}
