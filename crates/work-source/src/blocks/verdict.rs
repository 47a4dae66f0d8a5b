//! What a node's answers mean for a found block. Pure.

use bitcoin::BlockHash;

/// Confirmations after which another block at the same height is taken to stay.
pub const SETTLED: u32 = 6;

/// What is known about a block.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Confirmations: none when the node does not know the block, negative off the active chain.
    pub confirmations: Option<i64>,
    /// The node's word on its submission, when there was one and it was not silent success.
    pub refusal: Option<String>,
    /// Another block at its height on the active chain, and its confirmations.
    pub rival: Option<(BlockHash, u32)>,
}

/// What to do about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is in the active chain.
    OnChain,
    /// It will never be.
    Lost(String),
    /// Time will tell; why.
    Open(String),
}

impl Report {
    /// Judges the block.
    pub fn judge(&self) -> Verdict {
        if self.confirmations.is_some_and(|confirmations| confirmations >= 1) {
            return Verdict::OnChain;
        }
        match (&self.refusal, &self.rival) {
            (Some(word), _) if !concerns_the_tip(word) => {
                Verdict::Lost(format!("the node refused it as {word}"))
            }
            (_, Some((rival, confirmations))) if *confirmations >= SETTLED => Verdict::Lost(format!(
                "another block at its height, {rival}, has {confirmations} confirmations"
            )),
            (_, Some((rival, confirmations))) => Verdict::Open(format!(
                "another block at its height, {rival}, has {confirmations} of {SETTLED} confirmations"
            )),
            (Some(word), None) => Verdict::Open(format!("the node answers {word}")),
            (None, None) if self.confirmations.is_some() => {
                Verdict::Open("the node has it, but not in its active chain".into())
            }
            (None, None) => Verdict::Open("the node does not know it".into()),
        }
    }
}

/// Whether the answer to `submitblock` speaks of the place where the block would go, or of the clock,
/// and not of the block itself.
fn concerns_the_tip(word: &str) -> bool {
    const PASSING: [&str; 6] = [
        "duplicate",
        "duplicate-inconclusive",
        "inconclusive",
        "prev-blk-not-found",
        "bad-prevblk",
        "time-too-new",
    ];
    PASSING.contains(&word)
}

#[cfg(test)]
mod tests {
    use bitcoin::hashes::Hash;

    use super::*;

    fn rival(confirmations: u32) -> Option<(BlockHash, u32)> {
        Some((BlockHash::all_zeros(), confirmations))
    }

    fn refused(word: &str) -> Report {
        Report { refusal: Some(word.into()), ..Report::default() }
    }

    #[test]
    fn a_confirmed_block_is_on_chain_whatever_else_was_said() {
        let report = Report { confirmations: Some(1), refusal: Some("high-hash".into()), rival: rival(9) };
        assert_eq!(report.judge(), Verdict::OnChain);
    }

    #[test]
    fn a_block_that_the_node_finds_invalid_is_lost() {
        for word in ["bad-cb-amount", "high-hash", "duplicate-invalid", "bad-txnmrklroot", "rejected"] {
            assert_eq!(refused(word).judge(), Verdict::Lost(format!("the node refused it as {word}")));
        }
    }

    #[test]
    fn answers_about_the_tip_leave_it_open() {
        for word in ["duplicate", "inconclusive", "prev-blk-not-found", "time-too-new"] {
            assert!(matches!(refused(word).judge(), Verdict::Open(_)), "{word}");
        }
    }

    #[test]
    fn a_rival_decides_at_six_confirmations() {
        for confirmations in [Some(-1), None] {
            let report = |other| Report { confirmations, rival: rival(other), refusal: None };
            assert!(matches!(report(5).judge(), Verdict::Open(_)));
            assert!(matches!(report(6).judge(), Verdict::Lost(_)));
        }
    }

    #[test]
    fn a_block_that_is_nowhere_is_tried_again() {
        assert_eq!(Report::default().judge(), Verdict::Open("the node does not know it".into()));
        let aside = Report { confirmations: Some(-1), ..Report::default() };
        assert!(matches!(aside.judge(), Verdict::Open(reason) if reason.contains("not in its active chain")));
    }
}
