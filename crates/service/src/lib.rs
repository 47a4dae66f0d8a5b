//! What every Poolbox process shares, so that there is one way to do each: settings, log, data
//! directory, sockets, TLS, shutdown and exit status. Nothing here knows about shares or money.

mod data_dir;
mod exit;
mod files;
pub mod log;
mod node;
mod port;
mod settings;
mod shutdown;
mod socket;
mod tls;

pub use data_dir::claim_data_dir;
pub use exit::{Misconfigured, exit};
pub use files::{replace_secret, write_secret, write_whole};
pub use node::{Credentials, NodeLogin, NodeSettings};
pub use port::free_port;
pub use settings::load_settings;
pub use shutdown::on_signal;
pub use socket::{Answer, Input, LocalApi, bind_tcp};
pub use tls::{OwnCertificate, Tls, TlsSocket, fingerprint};
