//! A Stratum V2 client as a test needs it: the reference implementation's initiator and messages.

use std::net::SocketAddr;

use stratum_core::binary_sv2::{self, Encodable, GetSize};
use stratum_core::common_messages_sv2::{MESSAGE_TYPE_SETUP_CONNECTION, Protocol, SetupConnection};
use stratum_core::mining_sv2::{MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, OpenStandardMiningChannelOwned};
use stratum_core::noise_sv2::{Initiator, NoiseEngine};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::fixture::SOON;

/// A miner whose connection is set up.
pub struct MinerV2 {
    pub stream: TcpStream,
    engine: NoiseEngine,
}

impl MinerV2 {
    pub async fn connect(address: SocketAddr) -> Self {
        let mut stream = TcpStream::connect(address).await.unwrap();
        let mut initiator = Initiator::without_pk().unwrap();
        stream.write_all(&initiator.step_0().unwrap()).await.unwrap();
        let mut answer = [0; 234];
        stream.read_exact(&mut answer).await.unwrap();
        let engine = initiator.step_2(answer).unwrap();
        let mut miner = Self { stream, engine };
        let setup = SetupConnection {
            protocol: Protocol::MiningProtocol,
            min_version: 2,
            max_version: 2,
            flags: 0,
            endpoint_host: "box".try_into().unwrap(),
            endpoint_port: 34254,
            vendor: "test".try_into().unwrap(),
            hardware_version: "".try_into().unwrap(),
            firmware: "".try_into().unwrap(),
            device_id: "".try_into().unwrap(),
        };
        let setup = miner.seal(MESSAGE_TYPE_SETUP_CONNECTION, setup);
        miner.stream.write_all(&setup).await.unwrap();
        assert_eq!(miner.hear().await.unwrap(), 1, "SetupConnection.Success");
        miner
    }

    pub fn seal<M: Encodable + GetSize>(&mut self, message_type: u8, message: M) -> Vec<u8> {
        self.seal_bytes(message_type, binary_sv2::to_bytes(message).unwrap())
    }

    pub fn seal_bytes(&mut self, message_type: u8, mut payload: Vec<u8>) -> Vec<u8> {
        let mut sealed = vec![0, 0, message_type];
        sealed.extend_from_slice(&(payload.len() as u32).to_le_bytes()[..3]);
        self.engine.encrypt(&mut sealed).unwrap();
        self.engine.encrypt(&mut payload).unwrap();
        sealed.extend(payload);
        sealed
    }

    pub fn open_channel(&mut self) -> Vec<u8> {
        let open = OpenStandardMiningChannelOwned {
            request_id: 5,
            user_identity: "garage.farm".try_into().unwrap(),
            nominal_hash_rate: 0.0,
            max_target: [0xff; 32].into(),
        };
        self.seal(MESSAGE_TYPE_OPEN_STANDARD_MINING_CHANNEL, open)
    }

    /// The type of the next message, if the connection still holds.
    pub async fn hear(&mut self) -> Option<u8> {
        let mut header = vec![0; 22];
        timeout(SOON, self.stream.read_exact(&mut header)).await.expect("silence").ok()?;
        self.engine.decrypt(&mut header).unwrap();
        let length = u32::from_le_bytes([header[3], header[4], header[5], 0]) as usize;
        let mut payload = vec![0; length + 16];
        self.stream.read_exact(&mut payload).await.ok()?;
        self.engine.decrypt(&mut payload).unwrap();
        Some(header[2])
    }
}
