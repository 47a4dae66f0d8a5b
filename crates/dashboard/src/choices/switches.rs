//! What is chosen in one word, each in a file of its own, whatever the network: how much of the chain the node keeps,
//! and whether the box updates itself.

use poolbox_accounting::Network;

use super::choice::{Choice, Field, Mistake};
use crate::feed::Snapshot;
use crate::words;

/// File with a [`NodeSize`].
pub const NODE_SIZE: &str = "node-size";
/// File that says `off`.
pub const UPDATES: &str = "updates";
/// Says that the box does not update itself.
const OFF: &str = "off";

/// How many blocks the node keeps on mainnet. The system knows these words as well.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum NodeSize {
    /// All where there is room for them, else the newest.
    #[default]
    ByDisk,
    /// The newest 10 GB.
    Small,
    /// The newest 50 GB.
    Medium,
    /// All of them.
    All,
}

/// What the words say.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Switches {
    /// What the node keeps.
    pub node: NodeSize,
    /// Whether the box updates itself, where it may.
    pub updates: bool,
}

impl NodeSize {
    /// All of them, as they are offered.
    pub const ALL: [Self; 4] = [Self::ByDisk, Self::Small, Self::Medium, Self::All];

    /// As it is written in files and forms.
    pub const fn name(self) -> &'static str {
        match self {
            Self::ByDisk => "by-disk",
            Self::Small => "small",
            Self::Medium => "medium",
            Self::All => "all",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|size| size.name() == name)
    }

    /// For people.
    pub const fn title(self) -> &'static str {
        match self {
            Self::ByDisk => "As the disk allows",
            Self::Small => "The newest 10 GB",
            Self::Medium => "The newest 50 GB",
            Self::All => "All blocks",
        }
    }

    /// What it means.
    pub const fn note(self) -> &'static str {
        match self {
            Self::ByDisk => {
                "All blocks from 1.5 TB on, 50 GB of them from 120 GB on, else 10 GB. The usual choice."
            }
            Self::Small => "For a small disk, or one with other things on it.",
            Self::Medium => "Takes some 70 GB of disk. The box mines as well with it as with all.",
            Self::All => {
                "Takes more than 800 GB of disk, and more every year. For your own wallets and explorers."
            }
        }
    }

    /// The smallest disk for it, in GB.
    const fn disk_gb(self) -> u64 {
        match self {
            Self::ByDisk | Self::Small => 0,
            Self::Medium => 100,
            Self::All => 1_000,
        }
    }
}

impl Default for Switches {
    /// As on a box where nothing was chosen.
    fn default() -> Self {
        Self { node: NodeSize::default(), updates: true }
    }
}

impl Switches {
    /// As the files have them; a word that is none counts for nothing, as the system takes it.
    pub fn read(node_size: Option<&str>, updates: Option<&str>) -> Self {
        let node = node_size.and_then(|text| NodeSize::named(text.trim())).unwrap_or_default();
        Self { node, updates: updates.map(str::trim) != Some(OFF) }
    }

    /// What a file should hold; none: it should not be there.
    pub fn word(self, file: &str) -> Option<&'static str> {
        match file {
            NODE_SIZE => (self.node != NodeSize::ByDisk).then_some(self.node.name()),
            UPDATES => (!self.updates).then_some(OFF),
            _ => None,
        }
    }
}

/// Whether the node and its disk allow what is chosen.
///
/// # Errors
/// [`Mistake`], naming the field.
pub fn fits(from: &Choice, to: &Choice, now: &Snapshot) -> Result<(), Mistake> {
    let size = to.switches.node;
    let moved = from.network != to.network;
    if (size == from.switches.node && !moved) || to.network != Network::Mainnet {
        return Ok(());
    }
    let wrong = |sentence: String| Err(Mistake::in_field(Field::Node, sentence));
    if let Some(disk) = now.disk
        && disk.total_bytes / 1_000_000_000 < size.disk_gb()
    {
        let (has, needs) = (words::bytes(disk.total_bytes), size.disk_gb());
        return wrong(format!("this disk has {has}, and it takes {needs}\u{a0}GB; choose less."));
    }
    match &now.node {
        // Of a network that the node is not on, it says nothing; the system asks no node for blocks it removed.
        _ if size != NodeSize::All || moved => Ok(()),
        Some(node) if !node.pruned => Ok(()),
        Some(_) => wrong(
            "this node has removed older blocks and would have to read the whole chain anew, which only a box \
             that is set up anew does; choose less."
                .to_owned(),
        ),
        None => wrong(
            "the node does not say yet whether it still has all blocks; try again when it answers.".to_owned(),
        ),
    }
}

/// What a change means for the house.
pub fn notes(from: &Choice, to: &Choice) -> Vec<String> {
    let mut notes = Vec::new();
    if from.switches.node != to.switches.node {
        notes.push(match to.switches.node {
            NodeSize::All => "The node removes no block any more.".to_owned(),
            NodeSize::ByDisk | NodeSize::Small | NodeSize::Medium => {
                "Blocks beyond that are removed for good: to have them again, the node would have to read the whole \
                 chain anew. Undoing this keeps the node from removing more."
                    .to_owned()
            }
        });
        if to.network != Network::Mainnet {
            notes.push("It counts on mainnet alone; chains of other networks are kept whole.".to_owned());
        }
    }
    match (from.switches.updates, to.switches.updates) {
        (true, false) => notes.push(
            "The box stays on its version, with what is found wrong in it, until updates are on again or a newer \
             version is flashed."
                .to_owned(),
        ),
        (false, true) => notes.push(
            "A newer version is fetched within a day and started at four in the night (UTC), which interrupts \
             mining for a minute."
                .to_owned(),
        ),
        _ => {}
    }
    notes
}

#[cfg(test)]
mod tests {
    use poolbox_api::pool::Mode;

    use super::*;
    use crate::disk::Disk;
    use crate::fixture::snapshot;
    use crate::node::NodeState;

    fn choice(node: NodeSize) -> Choice {
        Choice {
            network: Network::Mainnet,
            mode: Mode::Solo,
            upstream: None,
            mint: None,
            switches: Switches { node, updates: true },
        }
    }

    fn on_disk(gb: u64, pruned: Option<bool>) -> Snapshot {
        let mut now = snapshot(0);
        now.disk = Some(Disk { free_bytes: 0, total_bytes: gb * 1_000_000_000 });
        now.node = pruned.map(|pruned| NodeState {
            version: "Satoshi:31.0.0".to_owned(),
            height: 900_000,
            headers: 900_000,
            progress: 1.0,
            syncing: false,
            pruned,
            disk_bytes: 1 << 33,
            peers: 9,
            tip_time: 0,
            started_at: None,
        });
        now
    }

    #[test]
    fn a_word_is_read_as_it_is_written_and_nonsense_is_the_usual() {
        for node in NodeSize::ALL {
            for updates in [true, false] {
                let switches = Switches { node, updates };
                let line = |file| switches.word(file).map(|word| format!("{word}\n"));
                assert_eq!(Switches::read(line(NODE_SIZE).as_deref(), line(UPDATES).as_deref()), switches);
            }
        }
        assert_eq!(Switches::read(Some("; reboot"), Some("0")), Switches::default());
    }

    #[test]
    fn the_node_keeps_no_more_than_its_disk_holds_and_no_block_comes_back() {
        let fits = |to, now| fits(&choice(NodeSize::ByDisk), &choice(to), &now);
        assert!(fits(NodeSize::Small, on_disk(32, None)).is_ok());
        for (to, gb, pruned, told) in [
            (NodeSize::Medium, 64, Some(true), "it takes 100\u{a0}GB"),
            (NodeSize::All, 500, Some(false), "it takes 1000\u{a0}GB"),
            (NodeSize::All, 2_000, Some(true), "read the whole chain anew"),
            (NodeSize::All, 2_000, None, "does not say yet"),
        ] {
            let mistake = fits(to, on_disk(gb, pruned)).unwrap_err();
            assert!(
                mistake.field == Some(Field::Node) && mistake.sentence.contains(told),
                "{}",
                mistake.sentence
            );
        }
        assert!(fits(NodeSize::All, on_disk(2_000, Some(false))).is_ok());
        // What was chosen on a network where it does not count is looked at on the way to the one where it does.
        let elsewhere = Choice { network: Network::Devnet, ..choice(NodeSize::All) };
        let back = |gb| super::fits(&elsewhere, &choice(NodeSize::All), &on_disk(gb, Some(true)));
        assert!(back(500).unwrap_err().sentence.contains("it takes 1000") && back(2_000).is_ok());
        // What is chosen already is no change, whatever the disk.
        assert!(super::fits(&choice(NodeSize::All), &choice(NodeSize::All), &on_disk(1, Some(true))).is_ok());
    }
}
