//! Why a source gives no templates.

use std::path::PathBuf;

/// Why there is no template right now, and what to do about it.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Outage {
    /// The first connection is being made.
    #[error("connecting")]
    Starting,
    /// No file at the path.
    #[error("there is no socket {}: start bitcoin-node, with ipcbind=unix in its configuration", .0.display())]
    NoSocket(PathBuf),
    /// A socket file that nobody listens at.
    #[error("nobody listens at {}: the bitcoin-node that made this socket has ended; start it again", .0.display())]
    NobodyListens(PathBuf),
    /// The node ended, or ended the connection.
    #[error("the node closed the connection; mining goes on as soon as it is back")]
    Closed,
    /// A file that is no socket.
    #[error(
        "{} is not a socket: the path must name node.sock in the node's directory of this network", .0.display()
    )]
    NotASocket(PathBuf),
    /// The file permissions forbid it.
    #[error("no permission to connect to {}: run as the user that bitcoin-node runs as", .0.display())]
    Denied(PathBuf),
    /// Any other failure to connect.
    #[error("cannot connect to {}: {reason}", path.display())]
    Unreachable {
        /// The socket.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The peer does not speak the protocol.
    #[error(
        "what listens at {} does not answer as a Bitcoin Core 31 with mining IPC; \
         the path must name the node.sock of one ({reason})", path.display()
    )]
    NotANode {
        /// The socket.
        path: PathBuf,
        /// What went wrong, for a developer.
        reason: String,
    },
    /// Connected, but no answer yet.
    #[error(
        "{} accepts connections but does not answer: the node is loading its chain, or it is no node", .0.display()
    )]
    Silent(PathBuf),
    /// Connected, but no template yet.
    #[error("the node gives no template yet: it is in initial block download; mining starts when it is done")]
    Downloading,
    /// Blocks could not be submitted, so none are looked for.
    #[error(
        "cannot create the directory {}, without which found blocks would be dropped: {reason}; \
         make it writable for this user", path.display()
    )]
    NoSolutionsDirectory {
        /// The directory.
        path: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// A template that cannot be mined on.
    #[error("an unusable template was sent: {0}")]
    Malformed(String),
    /// No process at the address of the template provider.
    #[error(
        "nobody listens at {0}: start the template provider (sv2-tp, or bitcoind -sv2), or correct its address"
    )]
    ProviderRefused(String),
    /// The network gives no way to the address.
    #[error("cannot reach the template provider at {address}: {reason}")]
    ProviderUnreachable {
        /// The address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// Connected, but the handshake is not answered.
    #[error("{0} accepts connections but does not answer: it is no template provider, or it hangs")]
    ProviderSilent(String),
    /// The template provider ended, or ended the connection.
    #[error("the template provider closed the connection; mining goes on as soon as it is back")]
    ProviderClosed,
    /// The peer does not speak the protocol.
    #[error("what listens at {address} is no Sv2 template provider, whose usual port is 8442 ({reason})")]
    NotAProvider {
        /// The address.
        address: String,
        /// What went wrong, for a developer.
        reason: String,
    },
    /// The peer's certificate is signed by another key.
    #[error(
        "the template provider at {address} has not the authority key {expected}: compare it with the line \
         \"Template Provider authority key\" in the provider's log; if that differs correct the setting, \
         else somebody else answers at this address"
    )]
    WrongKey {
        /// The address.
        address: String,
        /// The key of the settings, as base58check.
        expected: String,
    },
    /// The peer's certificate is of another time.
    #[error(
        "the certificate of the template provider at {address} is valid from {from} to {to} (Unix seconds) \
         and not now: set the clocks of both machines, then restart the template provider"
    )]
    Expired {
        /// The address.
        address: String,
        /// First valid second.
        from: u32,
        /// Last valid second.
        to: u32,
    },
    /// The peer wants no connection of this kind.
    #[error("the template provider at {address} declines the connection ({code}); is it of another version?")]
    Declined {
        /// The address.
        address: String,
        /// Its error code.
        code: String,
    },
    /// Connected, but no template yet.
    #[error(
        "the template provider gives no template yet: its node is in initial block download; \
         mining starts when that is done"
    )]
    ProviderDownloading,
    /// Bytes that are no message of the protocol.
    #[error("the template provider sent what is no Sv2 message: {0}")]
    Garbled(String),
    /// No process at the address of the upstream pool.
    #[error("nobody listens at {0}: the upstream pool is down, or upstream.url is wrong")]
    UpstreamRefused(String),
    /// The network gives no way to the address.
    #[error("cannot reach the upstream pool at {address}: {reason}; look at the network and at upstream.url")]
    UpstreamUnreachable {
        /// The address.
        address: String,
        /// What the system said.
        reason: String,
    },
    /// It does not prove who it is.
    #[error(
        "the upstream pool at {address} speaks no TLS, or shows a certificate that is not trusted ({reason}): \
         compare upstream.url with what the pool says, and name its certificate in upstream.ca_file if it \
         made it itself"
    )]
    UpstreamUntrusted {
        /// The address.
        address: String,
        /// What is wrong with it.
        reason: String,
    },
    /// Connected, but what must be answered is not.
    #[error(
        "{0} accepts connections but does not answer as a Stratum V1 pool; is upstream.url its Stratum V1 port?"
    )]
    UpstreamSilent(String),
    /// Connected and authorised, but no job yet.
    #[error("the upstream pool gives no job yet")]
    UpstreamWaiting,
    /// Nothing was heard of it for long.
    #[error("the upstream pool has said nothing for {0} s; connecting anew")]
    UpstreamQuiet(u64),
    /// It does not want this user.
    #[error(
        "the upstream pool does not take the user {user} ({reason}): correct upstream.user; most pools want \
         a bitcoin address, or the name of an account that was made there"
    )]
    UpstreamUnauthorised {
        /// The user of the settings.
        user: String,
        /// What it said.
        reason: String,
    },
    /// It ended, or ended the connection.
    #[error("the upstream pool closed the connection; mining goes on as soon as it is back")]
    UpstreamClosed,
    /// It sent what cannot be used.
    #[error("the upstream pool sent what cannot be used: {0}")]
    UpstreamGarbled(String),
    /// There is no room for the miners' parts of the extranonce.
    #[error(
        "the upstream pool leaves {bytes} bytes for extranonces and at least {least} are needed to tell \
         miners apart; use another port of it, or another pool"
    )]
    UpstreamRoom {
        /// What it leaves.
        bytes: usize,
        /// What is needed.
        least: usize,
    },
}

impl Outage {
    /// Whether `self` tells an operator nothing that `earlier` did not: the same, or one more sign of
    /// a node or template provider that is not running.
    pub(crate) fn is_no_news_after(&self, earlier: &Self) -> bool {
        self == earlier || (self.peer_is_away() && earlier.peer_is_away())
    }

    fn peer_is_away(&self) -> bool {
        matches!(
            self,
            Self::NoSocket(_)
                | Self::NobodyListens(_)
                | Self::Closed
                | Self::ProviderRefused(_)
                | Self::ProviderClosed
                | Self::UpstreamRefused(_)
                | Self::UpstreamClosed
        )
    }
}
