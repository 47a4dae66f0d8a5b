//! One connection to the template provider: TCP, Noise, SetupConnection, then messages both ways.

use std::io::{self, ErrorKind};
use std::pin::pin;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use async_channel::{Receiver, Sender};
use stratum_core::binary_sv2::{self, to_bytes};
use stratum_core::common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol, SetupConnectionOwned,
};
use stratum_core::noise_sv2::{self, INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE, Initiator, NoiseEngine};
use stratum_core::parsers_sv2::{
    CommonMessages, IsSv2Message, TemplateDistribution, TemplateDistributionOwned as Message,
};
use stratum_core::template_distribution_sv2::CoinbaseOutputConstraintsOwned;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::time::timeout;

use super::TdpConfig;
use super::frame::{Frame, FrameError, Reader, Writer};
use crate::feed::Feed;
use crate::outage::Outage;
use crate::session::{End, Line, Manner, meanwhile, serve};
use crate::tcp::{self, Endpoint};

/// How long a connection may take to come about.
const CONNECT: Duration = Duration::from_secs(5);
/// How long handshake and SetupConnection may take.
const HANDSHAKE: Duration = Duration::from_secs(10);
/// How long the provider may take to read a message of ours.
const WRITE: Duration = Duration::from_secs(10);
/// How long what is still to be sent may take when we leave.
const FAREWELL: Duration = Duration::from_secs(1);

/// Messages of ours under way.
const OUTGOING: usize = 64;
/// Messages of the provider under way. Each may hold a block; they are read at once.
const INCOMING: usize = 8;

/// The version of Stratum that is spoken.
const VERSION: u16 = 2;

/// A connection that is set up.
struct Connection {
    reader: Reader<OwnedReadHalf>,
    writer: Writer<OwnedWriteHalf>,
}

/// Serves the provider's templates to `feed` until one of them ends it.
pub async fn run(config: &TdpConfig, endpoint: &Endpoint, feed: &mut Feed) -> End {
    let mut connection = match meanwhile(feed, connect(config, endpoint)).await {
        None => return End::Stopped,
        Some(Err(outage)) => return End::Failed(outage),
        Some(Ok(connection)) => connection,
    };
    // Nothing comes before the provider knows how much room the payouts need.
    let constraints = Message::CoinbaseOutputConstraints(CoinbaseOutputConstraintsOwned {
        coinbase_output_max_additional_size: config.payouts_size,
        coinbase_output_max_additional_sigops: config.payouts_sigops,
    });
    match meanwhile(feed, connection.writer.send_message(constraints)).await {
        None => return End::Stopped,
        Some(Err(outage)) => return End::Failed(outage),
        Some(Ok(())) => {}
    }

    let (to_us, incoming) = async_channel::bounded(INCOMING);
    let (outgoing, from_us) = async_channel::bounded(OUTGOING);
    let line = Line { incoming, outgoing };
    let manner =
        Manner { sequence: None, quiet: Outage::ProviderDownloading, closed: Outage::ProviderClosed };
    let mut pumping = pin!(pump(connection, to_us, from_us));
    tokio::select! {
        outage = &mut pumping => End::Failed(outage),
        end = serve(line, &manner, feed) => {
            let _ = timeout(FAREWELL, pumping).await;
            end
        }
    }
}

/// Carries messages until the connection ends or, all of ours sent, the session.
async fn pump(connection: Connection, to_us: Sender<Message>, from_us: Receiver<Message>) -> Outage {
    let Connection { mut reader, mut writer } = connection;
    let reading = async {
        loop {
            match reader.next().await.map_err(outage).and_then(parse) {
                Err(outage) => return outage,
                Ok(None) => {}
                // A session that is over reads no more; what it has to say is still written.
                Ok(Some(message)) => {
                    if to_us.send(message).await.is_err() {
                        std::future::pending::<()>().await;
                    }
                }
            }
        }
    };
    let writing = async {
        while let Ok(message) = from_us.recv().await {
            if let Err(outage) = writer.send_message(message).await {
                return outage;
            }
        }
        Outage::ProviderClosed
    };
    tokio::select! {
        outage = reading => outage,
        outage = writing => outage,
    }
}

impl Writer<OwnedWriteHalf> {
    async fn send_message(&mut self, message: Message) -> Result<(), Outage> {
        let kind = message.message_type();
        let payload = to_bytes(message).map_err(|error| Outage::Garbled(format!("{error:?}")))?;
        match timeout(WRITE, self.send(kind, &payload)).await {
            Ok(sent) => sent.map_err(outage),
            Err(_) => Err(Outage::ProviderClosed),
        }
    }
}

/// The message of a frame; none when it is of no interest here.
fn parse(mut frame: Frame) -> Result<Option<Message>, Outage> {
    use stratum_core::template_distribution_sv2::{
        MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS, MESSAGE_TYPE_SUBMIT_SOLUTION,
    };
    let Frame { kind, payload } = &mut frame;
    if !(MESSAGE_TYPE_COINBASE_OUTPUT_CONSTRAINTS..=MESSAGE_TYPE_SUBMIT_SOLUTION).contains(kind) {
        tracing::debug!(kind, "a message that is not known here");
        return Ok(None);
    }
    TemplateDistribution::try_from((*kind, payload.as_mut_slice()))
        .map(|message| Some(message.into_owned()))
        .map_err(|error| Outage::Garbled(error.to_string()))
}

fn outage(error: FrameError) -> Outage {
    match error {
        FrameError::Io(_) => Outage::ProviderClosed,
        FrameError::Sealed | FrameError::TooLong { .. } => Outage::Garbled(error.to_string()),
    }
}

async fn connect(config: &TdpConfig, endpoint: &Endpoint) -> Result<Connection, Outage> {
    let address = || config.address.clone();
    let unreachable = |error: io::Error| match error.kind() {
        ErrorKind::ConnectionRefused => Outage::ProviderRefused(address()),
        _ => Outage::ProviderUnreachable { address: address(), reason: error.to_string() },
    };
    let connecting = TcpStream::connect((endpoint.host.as_str(), endpoint.port));
    let stream = match timeout(CONNECT, connecting).await {
        Ok(connected) => connected.map_err(unreachable)?,
        Err(_) => {
            return Err(Outage::ProviderUnreachable { address: address(), reason: "no answer".into() });
        }
    };
    tcp::prepare(&stream).map_err(unreachable)?;
    match timeout(HANDSHAKE, set_up(stream, config, endpoint)).await {
        Ok(connected) => connected,
        Err(_) => Err(Outage::ProviderSilent(address())),
    }
}

async fn set_up(stream: TcpStream, config: &TdpConfig, endpoint: &Endpoint) -> Result<Connection, Outage> {
    let (mut from, mut to) = stream.into_split();
    let (cipher, decipher) = shake_hands(&mut from, &mut to, config).await?.into_split();
    let (mut reader, mut writer) = (Reader { stream: from, cipher: decipher }, Writer { stream: to, cipher });
    let stranger = |reason: String| Outage::NotAProvider { address: config.address.clone(), reason };

    let setup = to_bytes(introduction(endpoint).map_err(&stranger)?)
        .map_err(|error| stranger(format!("{error:?}")))?;
    writer.send(MESSAGE_TYPE_SETUP_CONNECTION, &setup).await.map_err(|error| stranger(error.to_string()))?;
    let Frame { kind, mut payload } = reader.next().await.map_err(|error| stranger(error.to_string()))?;
    if !matches!(kind, MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS | MESSAGE_TYPE_SETUP_CONNECTION_ERROR) {
        return Err(stranger(format!("it answers SetupConnection with type 0x{kind:02x}")));
    }
    match CommonMessages::try_from((kind, payload.as_mut_slice())) {
        Ok(CommonMessages::SetupConnectionSuccess(success)) if success.used_version == VERSION => {
            Ok(Connection { reader, writer })
        }
        Ok(CommonMessages::SetupConnectionSuccess(success)) => {
            Err(stranger(format!("it speaks version {}", success.used_version)))
        }
        Ok(CommonMessages::SetupConnectionError(refusal)) => Err(Outage::Declined {
            address: config.address.clone(),
            code: refusal.error_code.as_utf8_or_hex(),
        }),
        Ok(_) => Err(stranger("it does not answer SetupConnection".into())),
        Err(error) => Err(stranger(error.to_string())),
    }
}

/// Noise NX: our ephemeral key, then theirs, their static key and a certificate for it.
async fn shake_hands(
    from: &mut OwnedReadHalf,
    to: &mut OwnedWriteHalf,
    config: &TdpConfig,
) -> Result<NoiseEngine, Outage> {
    let stranger = |reason: String| Outage::NotAProvider { address: config.address.clone(), reason };
    let over = |error: io::Error| stranger(format!("it ends the connection in the handshake: {error}"));
    let mut initiator = match config.authority_key {
        Some(key) => Initiator::from_raw_k(key.to_bytes()),
        None => Initiator::without_pk(),
    }
    .map_err(|error| stranger(format!("{error:?}")))?;
    let hello = initiator.step_0().map_err(|error| stranger(error.to_string()))?;
    to.write_all(&hello).await.map_err(over)?;
    let mut answer = [0; INITIATOR_EXPECTED_HANDSHAKE_MESSAGE_SIZE];
    from.read_exact(&mut answer).await.map_err(over)?;
    initiator.step_2(answer).map_err(|error| match error {
        noise_sv2::Error::InvalidCertificate(certificate) => {
            misfit(config, certificate.valid_from, certificate.not_valid_after)
        }
        _ => stranger("its answer to the handshake cannot be decrypted".into()),
    })
}

/// Why a certificate is refused: its time, or else its signature.
fn misfit(config: &TdpConfig, from: u32, to: u32) -> Outage {
    let address = config.address.clone();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs());
    if (u64::from(from)..=u64::from(to)).contains(&now) {
        let expected = config.authority_key.map(|key| key.to_string()).unwrap_or_default();
        Outage::WrongKey { address, expected }
    } else {
        Outage::Expired { address, from, to }
    }
}

fn introduction(endpoint: &Endpoint) -> Result<SetupConnectionOwned, String> {
    let text = |text: &str| binary_sv2::Str0255Owned::try_from(text).map_err(|error| format!("{error:?}"));
    Ok(SetupConnectionOwned {
        protocol: Protocol::TemplateDistributionProtocol,
        min_version: VERSION,
        max_version: VERSION,
        flags: 0,
        endpoint_host: text(&endpoint.host)?,
        endpoint_port: endpoint.port,
        vendor: text("Poolbox")?,
        hardware_version: text("")?,
        firmware: text(env!("CARGO_PKG_VERSION"))?,
        device_id: text("")?,
    })
}
