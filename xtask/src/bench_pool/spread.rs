//! How new blocks spread over the connections: jobs matched with the blocks that caused them.

use crate::rig::NewBlock;

/// A template is handed out, and its job has arrived, within this time of a new tip; else it is no new
/// block's.
const OF_THE_SAME_BLOCK_US: u64 = 5_000_000;

/// How a new block spread, in microseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Spread {
    /// From the template to the first connection.
    pub first_us: u64,
    /// From the template to the last.
    pub last_us: u64,
    /// From the node's new tip to the last.
    pub from_tip_us: u64,
}

/// Matches jobs with the blocks that caused them. A job that did not reach everybody counts not at all.
pub fn spreads(blocks: &[NewBlock], jobs: &[(u64, u64, u64)], connections: u64) -> Vec<Spread> {
    let spread = |&(reached, first, last): &(u64, u64, u64)| {
        let block = blocks.iter().rev().find(|block| block.tip_us <= first)?;
        let whole = reached >= connections && last.saturating_sub(block.tip_us) < OF_THE_SAME_BLOCK_US;
        // A part of the template may be handed out after the first job went out: both count from there.
        whole.then(|| Spread {
            first_us: first.saturating_sub(block.template_us),
            last_us: last.saturating_sub(block.template_us),
            from_tip_us: last - block.tip_us,
        })
    };
    jobs.iter().filter_map(spread).collect()
}

/// The value in the middle.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_job_belongs_to_the_block_before_it() {
        let block = |tip_us, template_us| NewBlock { tip_us, template_us };
        let blocks = [block(1_000, 9_000), block(2_000_000, 2_008_000)];
        let jobs = [(3, 10_000, 12_000), (2, 2_009_000, 2_010_000), (3, 2_009_000, 2_011_000), (3, 500, 900)];
        assert_eq!(
            spreads(&blocks, &jobs, 3),
            [
                Spread { first_us: 1_000, last_us: 3_000, from_tip_us: 11_000 },
                Spread { first_us: 1_000, last_us: 3_000, from_tip_us: 11_000 },
            ]
        );
        // A refresh long after the block is none of it.
        assert_eq!(spreads(&blocks, &[(3, 9_000_000, 9_000_100)], 3), []);
    }

    #[test]
    fn the_median_is_the_one_in_the_middle() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
