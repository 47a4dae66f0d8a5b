//! What is written to a miner so that it mines for the box and keeps its old pool as the fallback, and what
//! undoes that. Pure: made of what the miner said, sent by others.

use serde_json::{Map, Value, json};

use super::device::{Device, Pool, Pools};

/// Slots of the newer firmware.
const SLOTS: u64 = 8;
/// Stands for the password that is there already.
const UNCHANGED: &str = "*****";

/// Where a miner is to mine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Goal {
    /// Host name or address of the box.
    pub host: String,
    /// Port of its Stratum V1.
    pub port: u16,
    /// User name, as `owner.worker`.
    pub user: String,
}

/// A change and its undoing, as bodies of `PATCH /api/system`.
#[derive(Clone, Debug, PartialEq)]
pub struct Change {
    /// To be written.
    pub body: Value,
    /// To be written to go back.
    pub undo: Value,
    /// What will be different, for people: setting, before, after.
    pub preview: Vec<(&'static str, String, String)>,
    /// What the fallback will be.
    fallback: Pool,
}

impl Change {
    /// What takes `device` to `goal`.
    pub fn new(device: &Device, goal: &Goal) -> Self {
        let pool = goal.pool();
        let is_there = device.primary().is_some_and(|primary| goal.is(primary));
        // Pointed here before: its fallback stays what it is.
        let old = if is_there { device.fallback() } else { device.primary() };
        let fallback = old.or(device.fallback()).cloned().unwrap_or_default();
        let (body, undo) = match &device.pools {
            Pools::Slots { primary, secondary, .. } => {
                slots(&device.pools, goal, *primary, *secondary, is_there)
            }
            Pools::Flat { primary, fallback: second } => flat(&pool, primary, second, &fallback),
        };
        let spoken = |pool: Option<&Pool>| pool.map_or_else(|| "none".to_owned(), Pool::spoken);
        let preview = vec![
            ("Mines for", spoken(device.primary()), pool.spoken()),
            ("Falls back to", spoken(device.fallback()), fallback.spoken()),
        ];
        Self { body, undo, preview, fallback }
    }

    /// Whether a miner that was read back is as it was to be.
    pub fn is_done(&self, device: &Device, goal: &Goal) -> bool {
        let kept = self.fallback.host.is_empty() || device.fallback() == Some(&self.fallback);
        kept && device.primary().is_some_and(|primary| goal.is(primary))
    }
}

impl Goal {
    fn pool(&self) -> Pool {
        Pool { host: self.host.clone(), port: self.port, user: self.user.clone() }
    }

    fn is(&self, pool: &Pool) -> bool {
        *pool == self.pool()
    }
}

/// A slot of our own, and the two in use; the slot of the old pool is not touched.
fn slots(pools: &Pools, goal: &Goal, primary: u64, secondary: Option<u64>, is_there: bool) -> (Value, Value) {
    let known = |id: u64| pools.slot(id).filter(|slot| !slot.pool.host.is_empty());
    let ours = (0..SLOTS).find(|id| known(*id).is_some_and(|slot| goal.is(&slot.pool)));
    let free = (0..SLOTS).find(|id| known(*id).is_none() && *id != primary);
    // With all eight in use, the fallback's: it is no longer needed as one.
    let slot = ours.or(free).or(secondary).unwrap_or((primary + 1) % SLOTS);
    let after = match (is_there, known(primary)) {
        (false, Some(_)) => Some(primary),
        _ => secondary.filter(|id| *id != slot && known(*id).is_some()),
    };
    let entry = json!({
        "id": slot, "url": goal.host, "port": goal.port, "user": goal.user, "password": "x", "protocol": "SV1",
    });
    let mut body = json!({ "pools": [entry], "primaryPoolIndex": slot });
    let mut undo = json!({ "primaryPoolIndex": primary });
    set(&mut body, "secondaryPoolIndex", after.map(Value::from));
    set(&mut undo, "secondaryPoolIndex", secondary.map(Value::from));
    // What was in the slot goes back into it, with the password that the miner never shows.
    let before = known(slot).map(|slot| {
        let mut raw = slot.raw.clone();
        raw.insert("password".to_owned(), UNCHANGED.into());
        Value::Array(vec![Value::Object(raw)])
    });
    set(&mut undo, "pools", before.filter(|_| ours.is_none()));
    (body, undo)
}

/// The old passwords are never shown by the miner: they are left alone, so that going back is exact.
fn flat(goal: &Pool, primary: &Pool, second: &Pool, fallback: &Pool) -> (Value, Value) {
    let written = |first: &Pool, second: &Pool| {
        let mut body = Map::new();
        for (prefix, pool) in [("stratum", first), ("fallbackStratum", second)] {
            if pool.host.is_empty() {
                continue;
            }
            body.insert(format!("{prefix}URL"), pool.host.clone().into());
            body.insert(format!("{prefix}Port"), pool.port.into());
            body.insert(format!("{prefix}User"), pool.user.clone().into());
        }
        Value::Object(body)
    };
    (written(goal, fallback), written(primary, second))
}

fn set(object: &mut Value, key: &str, value: Option<Value>) {
    if let (Some(map), Some(value)) = (object.as_object_mut(), value) {
        map.insert(key.to_owned(), value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn goal() -> Goal {
        Goal { host: "192.168.1.20".into(), port: 3333, user: "garage.bitaxe".into() }
    }

    fn read(info: &Value) -> Device {
        Device::read(info).unwrap()
    }

    fn flat_info() -> Value {
        json!({
            "version": "v2.9.0", "ASICModel": "BM1368", "hostname": "bitaxe", "hashRate": 612.5,
            "stratumURL": "old.example", "stratumPort": 3333, "stratumUser": "me.axe",
            "fallbackStratumURL": "second.example", "fallbackStratumPort": 3334, "fallbackStratumUser": "me.two",
        })
    }

    fn slots_info(slots: &Value, primary: u64, secondary: u64) -> Value {
        json!({
            "version": "v2.14.0", "ASICModel": "BM1370", "hostname": "bitaxe",
            "pools": slots, "primaryPoolIndex": primary, "secondaryPoolIndex": secondary,
        })
    }

    #[test]
    fn old_firmware_keeps_its_pool_as_fallback_and_its_passwords() {
        let device = read(&flat_info());
        assert_eq!(device.hashrate, 612_500_000_000);
        let change = Change::new(&device, &goal());
        assert_eq!(change.body["stratumURL"], "192.168.1.20");
        assert_eq!(change.body["fallbackStratumURL"], "old.example");
        assert_eq!(change.undo["stratumURL"], "old.example");
        assert_eq!(change.undo["fallbackStratumUser"], "me.two");
        assert!(!change.body.to_string().to_lowercase().contains("password"));
        assert_eq!(change.preview[0].1, "old.example:3333 as me.axe");
    }

    #[test]
    fn new_firmware_gets_a_slot_of_its_own_and_the_old_one_becomes_the_fallback() {
        let one = json!({ "id": 0, "url": "old.example", "port": 3333, "user": "me", "protocol": "SV1" });
        let two = json!({ "id": 1, "url": "second.example", "port": 3333, "user": "me" });
        let empty = json!({ "id": 2, "url": "", "port": 0, "user": "" });
        let device = read(&slots_info(&json!([one, two, empty]), 0, 1));
        let change = Change::new(&device, &goal());
        assert_eq!(change.body["pools"][0]["id"], 2);
        assert_eq!(
            (&change.body["primaryPoolIndex"], &change.body["secondaryPoolIndex"]),
            (&json!(2), &json!(0))
        );
        assert_eq!(change.undo, json!({ "primaryPoolIndex": 0, "secondaryPoolIndex": 1 }));
    }

    #[test]
    fn with_all_slots_in_use_the_fallbacks_is_taken_and_given_back() {
        let slots: Vec<_> = (0..8)
            .map(|id| json!({ "id": id, "url": format!("pool{id}.example"), "port": 3333, "user": "me", "tls": 1 }))
            .collect();
        let device = read(&slots_info(&json!(slots), 3, 5));
        let change = Change::new(&device, &goal());
        assert_eq!(change.body["pools"][0]["id"], 5);
        assert_eq!(change.undo["pools"][0]["url"], "pool5.example");
        assert_eq!(change.undo["pools"][0]["tls"], 1, "fields that we do not know are kept");
        assert_eq!(change.undo["pools"][0]["password"], UNCHANGED);
    }

    #[test]
    fn a_miner_that_is_here_already_keeps_its_fallback() {
        let ours = json!({ "id": 4, "url": "192.168.1.20", "port": 3333, "user": "garage.bitaxe" });
        let old = json!({ "id": 0, "url": "old.example", "port": 3333, "user": "me" });
        let device = read(&slots_info(&json!([old, ours]), 4, 0));
        let change = Change::new(&device, &goal());
        assert_eq!(change.body["pools"][0]["id"], 4);
        assert_eq!(change.body["secondaryPoolIndex"], 0);
        assert!(change.is_done(&device, &goal()));
    }

    #[test]
    fn firmware_that_took_nothing_over_is_noticed() {
        let device = read(&flat_info());
        assert!(!Change::new(&device, &goal()).is_done(&device, &goal()));
    }

    #[test]
    fn what_is_no_such_miner_is_none() {
        for info in [json!({}), json!([]), json!({ "version": "1" }), json!("AxeOS")] {
            assert_eq!(Device::read(&info), None, "{info}");
        }
    }
}
