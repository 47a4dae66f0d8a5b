//! What a miner's name for itself tells about its speed.

use poolbox_accounting::Difficulty;

/// Machines of a similar speed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Class {
    /// For logs.
    pub name: &'static str,
    /// Where they start: about 15 shares a minute at their usual speed.
    pub start: Difficulty,
    /// The lowest that silence leads them to: a machine that is slow to begin does not flood.
    pub floor: Difficulty,
    /// Any of these within the user agent, whatever the letter case.
    agents: &'static [&'static str],
}

/// The first match counts. Sources: the firmwares themselves; an ESP32 that poses as another is
/// one of these too.
const CLASSES: [Class; 6] = [
    // 50 to 400 kH/s.
    class("microcontroller", -12, -12, MICROCONTROLLERS),
    // 1 to 100 MH/s.
    class("cpu", -8, -12, &["cpuminer", "minerd", "poolbox-miner"]),
    // 0.4 to 2 TH/s. NerdAxe is the same board.
    class("bitaxe", 9, 3, &["bitaxe", "nerdaxe", "luckyminer"]),
    // 2 to 10 TH/s.
    class("several chips", 11, 4, &["nerdqaxe", "nerdoctaxe", "nerdhaxe", "nerdeko", "avalon nano", "nano3"]),
    // 10 to 100 TH/s.
    class("heater", 14, 7, &["avalon", "bmminer"]),
    // 50 to 500 TH/s, with the makers' firmware or another.
    class("industrial", 16, 9, INDUSTRIAL),
];

const MICROCONTROLLERS: &[&str] = &[
    "nerdminer",
    "nerd miner",
    "nmminer",
    "esp32",
    "esp8266",
    "han_solo",
    "leafminer",
    "sparkminer",
    "bitsyminer",
    "jingleminer",
    "forgeminer",
];

const INDUSTRIAL: &[&str] =
    &["antminer", "whatsminer", "btminer", "bosminer", "braiins", "luxminer", "xminer", "vnish", "powerplay"];

impl Class {
    /// The class of a user agent (Sv1 `mining.subscribe`; Sv2 vendor and hardware version). None for
    /// those that tell nothing, such as `cgminer`, which runs on anything.
    pub fn of(user_agent: &str) -> Option<&'static Self> {
        let agent = user_agent.to_ascii_lowercase();
        CLASSES.iter().find(|class| class.agents.iter().any(|name| agent.contains(name)))
    }
}

const fn class(name: &'static str, start: i8, floor: i8, agents: &'static [&'static str]) -> Class {
    Class { name, start: two_to(start), floor: two_to(floor), agents }
}

/// 2^`log2`; difficulty 1 outside the range, where the test would find it.
const fn two_to(log2: i8) -> Difficulty {
    match Difficulty::from_log2(log2) {
        Ok(difficulty) => difficulty,
        Err(_) => Difficulty::ONE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(user_agent: &str) -> Option<&'static str> {
        Class::of(user_agent).map(|class| class.name)
    }

    #[test]
    fn miners_are_known_by_what_they_call_themselves() {
        assert_eq!(name("NerdMinerV2/V1.8.3"), Some("microcontroller"));
        assert_eq!(name("HAN_SOLOminer/1"), Some("microcontroller"));
        assert_eq!(name("cpuminer/2.5.1"), Some("cpu"));
        assert_eq!(name("poolbox-miner/0.1.0"), Some("cpu"));
        assert_eq!(name("bitaxe/BM1370/v2.9.0"), Some("bitaxe"));
        assert_eq!(name("NerdQAxe++/BM1370/v1.0.30"), Some("several chips"));
        assert_eq!(name("Avalon Nano 3S"), Some("several chips"));
        assert_eq!(name("bmminer/2.0.0/Antminer S9"), Some("heater"));
        assert_eq!(name("Antminer S21/Thu"), Some("industrial"));
        for unknown in ["cgminer/4.13.1", "translator", "", "ü"] {
            assert_eq!(name(unknown), None, "{unknown}");
        }
    }

    #[test]
    fn no_class_starts_below_its_floor_and_only_tiny_ones_go_below_one() {
        for class in CLASSES {
            assert!(class.floor <= class.start, "{}", class.name);
            let tiny = ["microcontroller", "cpu"].contains(&class.name);
            assert_eq!(class.floor < Difficulty::ONE, tiny, "{}", class.name);
            assert_ne!(class.start, Difficulty::ONE, "{}", class.name);
        }
    }
}
