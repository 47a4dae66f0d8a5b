//! The mint as its users meet it: the real `poolbox-mint` with a real node, a real journal and real
//! wallets. One program, so that its libraries are linked once.

mod cashu_ts;
mod claiming;
mod melting;
mod pools;
mod redeeming;
mod rig;
mod surviving;
