//! The beginning of a connection: what both sides can do (specification, sections 3.6.1 and 5.3.1).

use std::sync::Arc;

use stratum_core::binary_sv2::Seq064K;
use stratum_core::common_messages_sv2::{
    ERROR_CODE_SETUP_CONNECTION_PROTOCOL_VERSION_MISMATCH,
    ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_FEATURE_FLAGS, ERROR_CODE_SETUP_CONNECTION_UNSUPPORTED_PROTOCOL,
    MESSAGE_TYPE_SETUP_CONNECTION_ERROR, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol as SubProtocol,
    SetupConnection, SetupConnectionError, SetupConnectionSuccess,
};
use stratum_core::extensions_sv2::{RequestExtensions, RequestExtensionsError};

use super::{Session, Stop};
use crate::session::Outbox;
use crate::sv2::message::error_code;
use crate::sv2::noise::Broken;

/// The one version of the protocol.
const VERSION: u16 = 2;
/// Flags of the mining protocol.
pub(super) const REQUIRES_STANDARD_JOBS: u32 = 1 << 0;
pub(super) const REQUIRES_WORK_SELECTION: u32 = 1 << 1;
const REQUIRES_VERSION_ROLLING: u32 = 1 << 2;
const SUPPORTED_FLAGS: u32 = REQUIRES_STANDARD_JOBS | REQUIRES_VERSION_ROLLING;
/// Longest user agent that is kept.
const MAX_AGENT_CHARS: usize = 64;

/// What the miner said of itself.
#[derive(Clone, Debug)]
pub(super) struct Setup {
    /// It understands no extended jobs, and so no groups.
    pub standard_jobs: bool,
    pub user_agent: Arc<str>,
}

impl Session {
    /// SetupConnection.
    pub(super) fn set_up(&mut self, message: SetupConnection<'_>, out: &mut Outbox) -> Result<(), Stop> {
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
            let message = SetupConnectionError { flags, error_code: error_code(code)? };
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

    /// RequestExtensions: this server has none. Who is told so need not wait for an answer.
    pub(super) fn decline_extensions(
        &mut self,
        message: RequestExtensions<'_>,
        out: &mut Outbox,
    ) -> Result<(), Stop> {
        let RequestExtensions { request_id, requested_extensions } = message;
        let none = Seq064K::new(Vec::new()).map_err(|_| Broken("a message could not be written"))?;
        let message = RequestExtensionsError {
            request_id,
            unsupported_extensions: requested_extensions,
            required_extensions: none,
        };
        Ok(self.writer(out).no_extensions(message)?)
    }
}
