//! Which miners there are: those that announce themselves (mDNS), and, on request, whoever answers in the
//! box's own network.

use std::collections::BTreeSet;
use std::net::Ipv4Addr;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use mdns_sd::{ServiceDaemon, ServiceEvent};

use super::client::{Address, AxeOs};
use super::device::Device;

/// The name under which AxeOS announces itself.
const SERVICE: &str = "_axeos._sub._http._tcp.local.";
/// How long announcements are waited for.
const LISTEN: Duration = Duration::from_secs(3);
/// A device in the same network answers within this, or is none.
const PROBE: Duration = Duration::from_millis(1500);
/// Addresses that are asked at the same time.
const AT_ONCE: usize = 32;

/// Miners that announce themselves.
///
/// # Errors
/// When the network cannot be listened to.
pub async fn announced(axeos: &AxeOs) -> anyhow::Result<Vec<(Address, Device)>> {
    let daemon = ServiceDaemon::new()?;
    let events = daemon.browse(SERVICE)?;
    let mut found = BTreeSet::new();
    let listening = async {
        while let Ok(event) = events.recv_async().await {
            if let ServiceEvent::ServiceResolved(service) = event {
                found.extend(service.get_addresses_v4().into_iter().map(|ip| (ip, service.get_port())));
            }
        }
    };
    // The end of the time is the end of the search.
    let _ = tokio::time::timeout(LISTEN, listening).await;
    // It ends with the process at the latest.
    let _ = daemon.shutdown();
    let private = found.into_iter().filter(|(ip, port)| ip.is_private() && *port != 0);
    Ok(ask(axeos, private.map(|(ip, port)| Address { ip, port }).collect()).await)
}

/// Whoever answers among the 254 neighbours of `of`.
pub async fn probed(axeos: &AxeOs, of: Ipv4Addr) -> Vec<(Address, Device)> {
    let [a, b, c, own] = of.octets();
    let neighbours = (1..=254).filter(|last| *last != own).map(|last| Ipv4Addr::new(a, b, c, last));
    let private = neighbours.filter(Ipv4Addr::is_private);
    ask(axeos, private.map(|ip| Address { ip, port: 80 }).collect()).await
}

async fn ask(axeos: &AxeOs, addresses: Vec<Address>) -> Vec<(Address, Device)> {
    let asked = stream::iter(addresses).map(|address| async move {
        let device = axeos.read_within(address, PROBE).await.ok()?;
        Some((address, device))
    });
    let mut found: Vec<_> =
        asked.buffer_unordered(AT_ONCE).filter_map(|found| async { found }).collect().await;
    found.sort_by_key(|(address, _)| (address.ip, address.port));
    found
}
