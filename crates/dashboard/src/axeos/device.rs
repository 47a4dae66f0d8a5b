//! What a miner says of itself, in the words of old and new firmware.

use serde_json::{Map, Value};

/// What is read of a text; firmware is not trusted to be brief.
const MAX_TEXT: usize = 120;

/// A miner.
#[derive(Clone, Debug, PartialEq)]
pub struct Device {
    /// Its name in the network.
    pub host_name: String,
    /// As `BM1370 on board 601`.
    pub model: String,
    /// Of the firmware.
    pub version: String,
    /// Hashes a second, as it measures itself.
    pub hashrate: u64,
    /// Degrees Celsius of the chip, if it says so.
    pub celsius: Option<i64>,
    /// Where it mines.
    pub pools: Pools,
}

/// A pool as it is set.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pool {
    /// Host name or address, without a scheme.
    pub host: String,
    /// Port.
    pub port: u16,
    /// User name.
    pub user: String,
}

/// Where a miner mines.
#[derive(Clone, Debug, PartialEq)]
pub enum Pools {
    /// Firmware since July 2026: eight numbered slots, as they were given, and which two are in use.
    Slots {
        /// By number.
        slots: Vec<Slot>,
        /// The one it mines for.
        primary: u64,
        /// The one it goes to when that fails.
        secondary: Option<u64>,
    },
    /// Older firmware: one pool and its fallback.
    Flat {
        /// The one it mines for.
        primary: Pool,
        /// The one it goes to when that fails.
        fallback: Pool,
    },
}

/// A numbered slot.
#[derive(Clone, Debug, PartialEq)]
pub struct Slot {
    /// Its number.
    pub id: u64,
    /// What is in it.
    pub pool: Pool,
    /// As the firmware wrote it, to be written back.
    pub raw: Map<String, Value>,
}

impl Device {
    /// Reads what `GET /api/system/info` said; none when it is no such miner.
    pub fn read(info: &Value) -> Option<Self> {
        let version = text(info, "version");
        let model = text(info, "ASICModel");
        if version.is_empty() && model.is_empty() {
            return None;
        }
        let board = text(info, "boardVersion");
        // Firmware counts in gigahashes.
        let gigahashes = info.get("hashRate").and_then(Value::as_f64).unwrap_or_default().clamp(0.0, 1e9);
        Some(Self {
            host_name: text(info, "hostname"),
            model: if board.is_empty() { model } else { format!("{model} on board {board}") },
            version,
            hashrate: (gigahashes * 1e9) as u64,
            celsius: info.get("temp").and_then(Value::as_f64).map(|degrees| degrees as i64),
            pools: Pools::read(info)?,
        })
    }

    /// The pool it mines for.
    pub fn primary(&self) -> Option<&Pool> {
        self.pools.primary()
    }

    /// The pool it goes to when that fails.
    pub fn fallback(&self) -> Option<&Pool> {
        self.pools.fallback()
    }

    /// For people.
    pub fn name(&self) -> &str {
        if self.host_name.is_empty() { &self.model } else { &self.host_name }
    }
}

impl Pools {
    fn read(info: &Value) -> Option<Self> {
        if let Some(list) = info.get("pools").and_then(Value::as_array) {
            let slots = list.iter().filter_map(|slot| {
                let raw = slot.as_object()?.clone();
                let pool =
                    Pool { host: text(slot, "url"), port: port(slot, "port"), user: text(slot, "user") };
                Some(Slot { id: slot.get("id")?.as_u64()?, pool, raw })
            });
            return Some(Self::Slots {
                slots: slots.collect(),
                primary: info.get("primaryPoolIndex").and_then(Value::as_u64).unwrap_or_default(),
                secondary: info.get("secondaryPoolIndex").and_then(Value::as_u64),
            });
        }
        info.get("stratumURL")?;
        let flat = |prefix: &str| Pool {
            host: text(info, &format!("{prefix}URL")),
            port: port(info, &format!("{prefix}Port")),
            user: text(info, &format!("{prefix}User")),
        };
        Some(Self::Flat { primary: flat("stratum"), fallback: flat("fallbackStratum") })
    }

    /// The pool in use.
    pub fn primary(&self) -> Option<&Pool> {
        match self {
            Self::Slots { primary, .. } => self.slot(*primary).map(|slot| &slot.pool),
            Self::Flat { primary, .. } => Some(primary),
        }
        .filter(|pool| !pool.host.is_empty())
    }

    /// The pool for when that fails.
    pub fn fallback(&self) -> Option<&Pool> {
        match self {
            Self::Slots { secondary, .. } => self.slot((*secondary)?).map(|slot| &slot.pool),
            Self::Flat { fallback, .. } => Some(fallback),
        }
        .filter(|pool| !pool.host.is_empty())
    }

    /// The slot of that number.
    pub fn slot(&self, id: u64) -> Option<&Slot> {
        match self {
            Self::Slots { slots, .. } => slots.iter().find(|slot| slot.id == id),
            Self::Flat { .. } => None,
        }
    }
}

impl Pool {
    /// For people.
    pub fn spoken(&self) -> String {
        if self.host.is_empty() {
            "none".to_owned()
        } else {
            format!("{}:{} as {}", self.host, self.port, self.user)
        }
    }
}

fn text(from: &Value, key: &str) -> String {
    match from.get(key) {
        Some(Value::String(text)) => text.chars().take(MAX_TEXT).collect(),
        Some(Value::Number(number)) => number.to_string(),
        _ => String::new(),
    }
}

fn port(from: &Value, key: &str) -> u16 {
    from.get(key).and_then(Value::as_u64).and_then(|port| port.try_into().ok()).unwrap_or_default()
}
