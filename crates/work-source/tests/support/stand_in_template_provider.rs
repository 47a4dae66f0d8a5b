//! A stand-in for a template provider: a real node on one side, Stratum V2 over Noise and TCP on the
//! other. Built on `bitcoin_core_sv2` and `codec_sv2`, so that none of the code under test checks
//! itself. One session with the node for each client.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use bitcoin::secp256k1::{Keypair, Secp256k1};
use bitcoin_core_sv2::runtime_api::BitcoinCoreVersion;
use bitcoin_core_sv2::runtime_api::template_distribution_protocol as node;
use poolbox_testnode::TestNode;
use poolbox_work_source::tdp::AuthorityKey;
use stratum_core::binary_sv2::Serialize;
use stratum_core::codec_sv2::{
    Decrypted, Handshake, MessageFrame, NoiseDecoder, NoiseEncoder, TransportDecryptState,
    TransportEncryptState,
};
use stratum_core::common_messages_sv2::{
    MESSAGE_TYPE_SETUP_CONNECTION, MESSAGE_TYPE_SETUP_CONNECTION_ERROR,
    MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, Protocol, SetupConnectionErrorOwned, SetupConnectionSuccess,
};
use stratum_core::noise_sv2::{ELLSWIFT_ENCODING_SIZE, Responder};
use stratum_core::parsers_sv2::{
    CommonMessages, IsSv2Message, TemplateDistribution, TemplateDistributionOwned as Message,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::LocalSet;
use tokio_util::sync::CancellationToken;

/// How the stand-in differs from an honest, quick provider.
#[derive(Clone, Copy, Debug, Default)]
pub struct Habits {
    /// Refuses requests for transactions.
    pub withholds_transactions: bool,
    /// Refuses the protocol.
    pub declines: bool,
    /// Validity of its certificate lies in the past.
    pub expired: bool,
}

/// A running stand-in; ended on drop.
pub struct StandIn {
    secret: [u8; 32],
    habits: Habits,
    socket: PathBuf,
    address: SocketAddr,
    heard: Arc<Mutex<Vec<String>>>,
    running: Option<(CancellationToken, std::thread::JoinHandle<()>)>,
}

impl StandIn {
    /// A stand-in in front of `node`, with a key of its own, on a free port.
    pub fn start(node: &TestNode) -> Self {
        Self::with_habits(node, Habits::default())
    }

    /// One that misbehaves.
    pub fn with_habits(node: &TestNode, habits: Habits) -> Self {
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let (socket, heard) = (node.socket(), Arc::default());
        let mut stand_in = Self { secret: [7; 32], habits, socket, address, heard, running: None };
        stand_in.resume();
        stand_in
    }

    /// Its address, the same after a restart.
    pub fn address(&self) -> String {
        self.address.to_string()
    }

    /// The key that its certificate is signed with, as a provider prints it.
    pub fn authority_key(&self) -> AuthorityKey {
        let x = self.keypair().x_only_public_key().0.serialize();
        bitcoin::base58::encode_check(&[[1, 0].as_slice(), &x].concat()).parse().unwrap()
    }

    /// Names of the messages that clients sent after the handshake, in order.
    pub fn heard(&self) -> Vec<String> {
        self.heard.lock().unwrap().clone()
    }

    /// Ends it, connections and all. Its sessions leave the node in order.
    pub fn stop(&mut self) {
        if let Some((stop, thread)) = self.running.take() {
            stop.cancel();
            thread.join().unwrap();
        }
    }

    /// Starts it again after [`stop`](Self::stop).
    pub fn resume(&mut self) {
        let listener = std::net::TcpListener::bind(self.address).unwrap();
        listener.set_nonblocking(true).unwrap();
        self.address = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let host = Host {
            keypair: self.keypair(),
            habits: self.habits,
            socket: self.socket.clone(),
            heard: Arc::clone(&self.heard),
            stop: stop.clone(),
        };
        let thread = std::thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
            LocalSet::new().block_on(&runtime, host.listen(listener));
        });
        self.running = Some((stop, thread));
    }

    fn keypair(&self) -> Keypair {
        Keypair::from_seckey_slice(&Secp256k1::new(), &self.secret).unwrap()
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.stop();
    }
}

#[derive(Clone)]
struct Host {
    keypair: Keypair,
    habits: Habits,
    socket: PathBuf,
    heard: Arc<Mutex<Vec<String>>>,
    stop: CancellationToken,
}

impl Host {
    async fn listen(self, listener: std::net::TcpListener) {
        let listener = TcpListener::from_std(listener).unwrap();
        let mut clients = tokio::task::JoinSet::new();
        loop {
            tokio::select! {
                () = self.stop.cancelled() => break,
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    clients.spawn_local(self.clone().client(stream));
                }
            }
        }
        while clients.join_next().await.is_some() {}
    }

    /// Ends when the client leaves or breaks a rule.
    async fn client(self, stream: TcpStream) {
        stream.set_nodelay(true).unwrap();
        let (mut from, mut to) = stream.into_split();
        let mut hello = [0; ELLSWIFT_ENCODING_SIZE];
        if from.read_exact(&mut hello).await.is_err() {
            return;
        }
        let validity = if self.habits.expired { 0 } else { 3_600 };
        let public = self.keypair.x_only_public_key().0.serialize();
        let secret = self.keypair.secret_bytes();
        let responder =
            Responder::from_authority_kp(&public, &secret, Duration::from_secs(validity)).unwrap();
        let handshake = Handshake::responder(responder);
        let (answer, transport) = if self.habits.expired {
            let long_ago = 1_500_000_000;
            handshake.step_1_with_now_rng(hello, long_ago, &mut rand::thread_rng()).unwrap()
        } else {
            handshake.step_1(hello).unwrap()
        };
        to.write_all(answer.payload()).await.unwrap();
        let (encrypt, decrypt) = transport.split();
        let mut hearer = Hearer { stream: from, decoder: NoiseDecoder::new(), state: Some(decrypt) };
        let mut speaker = Speaker { stream: to, encoder: NoiseEncoder::new(), state: encrypt };
        if self.introduce(&mut hearer, &mut speaker).await.is_none() {
            return;
        }
        self.distribute(hearer, speaker).await;
    }

    async fn introduce(&self, hearer: &mut Hearer, speaker: &mut Speaker) -> Option<()> {
        let (kind, mut payload) = hearer.next().await?;
        assert_eq!(kind, MESSAGE_TYPE_SETUP_CONNECTION);
        let Ok(CommonMessages::SetupConnection(setup)) =
            CommonMessages::try_from((kind, payload.as_mut_slice()))
        else {
            panic!("SetupConnection cannot be read")
        };
        assert_eq!(setup.protocol, Protocol::TemplateDistributionProtocol);
        assert_eq!((setup.min_version, setup.max_version, setup.flags), (2, 2, 0));
        assert!(!setup.vendor.as_bytes().is_empty(), "the specification asks for a vendor");
        if self.habits.declines {
            let code = "unsupported-protocol".to_string().try_into().unwrap();
            let refusal = SetupConnectionErrorOwned { flags: 0, error_code: code };
            speaker.say(MESSAGE_TYPE_SETUP_CONNECTION_ERROR, refusal).await;
            return None;
        }
        let success = SetupConnectionSuccess { used_version: 2, flags: 0 };
        speaker.say(MESSAGE_TYPE_SETUP_CONNECTION_SUCCESS, success).await
    }

    async fn distribute(&self, mut hearer: Hearer, mut speaker: Speaker) {
        let (to_node, from_client) = async_channel::unbounded();
        let (to_client, from_node) = async_channel::unbounded();
        let over = self.stop.child_token();
        let connecting = node::new(
            BitcoinCoreVersion::V31X,
            &self.socket,
            1,
            1,
            from_client,
            to_client.clone(),
            over.clone(),
        );
        let Ok(mut session) = connecting.await else { return };
        tokio::select! {
            () = self.hear(&mut hearer, &to_node, &to_client) => {}
            () = speak(&mut speaker, &from_node) => {}
            () = session.run() => return,
        }
        over.cancel();
        session.run().await;
    }

    async fn hear(&self, hearer: &mut Hearer, to_node: &Sender<Message>, to_client: &Sender<Message>) {
        while let Some((kind, mut payload)) = hearer.next().await {
            let message =
                TemplateDistribution::try_from((kind, payload.as_mut_slice())).unwrap().into_owned();
            let (name, to_node) = match message {
                Message::CoinbaseOutputConstraints(mut constraints) => {
                    // What a coinbase needs besides the client's outputs is the provider's to know.
                    constraints.coinbase_output_max_additional_size += 300;
                    (
                        "CoinbaseOutputConstraints",
                        to_node.send(Message::CoinbaseOutputConstraints(constraints)),
                    )
                }
                Message::RequestTransactionData(request) if self.habits.withholds_transactions => {
                    let error = stratum_core::template_distribution_sv2::RequestTransactionDataErrorOwned {
                        template_id: request.template_id,
                        error_code: "stale-template-id".to_string().try_into().unwrap(),
                    };
                    ("RequestTransactionData", to_client.send(Message::RequestTransactionDataError(error)))
                }
                request @ Message::RequestTransactionData(_) => {
                    ("RequestTransactionData", to_node.send(request))
                }
                solution @ Message::SubmitSolution(_) => ("SubmitSolution", to_node.send(solution)),
                other => panic!("a client sends no {other}"),
            };
            self.heard.lock().unwrap().push(name.to_owned());
            to_node.await.unwrap();
        }
    }
}

async fn speak(speaker: &mut Speaker, from_node: &Receiver<Message>) {
    while let Ok(mut message) = from_node.recv().await {
        if let Message::NewTemplate(template) = &mut message {
            // Else the library fetches the block of a solution while it submits it, and the node dies.
            template.coinbase_tx_input_sequence = 0xffff_fffd;
        }
        if speaker.say(message.message_type(), message).await.is_none() {
            return;
        }
    }
}

struct Hearer {
    stream: OwnedReadHalf,
    decoder: NoiseDecoder,
    state: Option<TransportDecryptState>,
}

impl Hearer {
    /// Type and payload of the next message; none when the client is gone. Not cancel safe.
    async fn next(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            match self.decoder.next_transport_frame(self.state.take()?).ok()? {
                Decrypted::Frame(mut frame, state) => {
                    self.state = Some(state);
                    return Some((frame.header().msg_type(), frame.payload().to_vec()));
                }
                Decrypted::Incomplete(_, state) => {
                    self.state = Some(state);
                    self.stream.read_exact(self.decoder.writable()).await.ok()?;
                }
            }
        }
    }
}

struct Speaker {
    stream: OwnedWriteHalf,
    encoder: NoiseEncoder,
    state: TransportEncryptState,
}

impl Speaker {
    async fn say<M>(&mut self, kind: u8, message: M) -> Option<()>
    where
        M: Serialize + stratum_core::binary_sv2::GetSize,
    {
        let frame = MessageFrame::from_message(message, kind, 0, false).unwrap();
        let bytes = self.encoder.encode_transport(frame, &mut self.state).unwrap();
        self.stream.write_all(bytes.as_ref()).await.ok()
    }
}
