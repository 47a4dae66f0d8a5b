//! How long the node needs until it has the whole chain, from how far it came lately. Says nothing while that
//! cannot be known. Pure: times are given.

use std::collections::VecDeque;

use crate::node::NodeState;

/// The node is looked at so often.
const EVERY_S: u64 = 30;
/// Looks that are remembered: half an hour.
const REMEMBERED: usize = 60;
/// After less than this nobody can tell.
const LEAST_S: u64 = 300;
/// Two looks further apart than this do not belong together: somebody slept, or set the clock.
const MAX_GAP_S: u64 = 300;
/// Further away than this it is a guess.
const MAX_LEFT_S: f64 = 60.0 * 86_400.0;

/// What was seen of a node that catches up.
#[derive(Debug, Default)]
pub struct Catching {
    /// When, in Unix seconds, and how much of the chain was checked.
    looks: VecDeque<(u64, f64)>,
}

impl Catching {
    /// Looks at the node, and tells how many seconds are left at the pace of the last half hour.
    pub fn left(&mut self, at: u64, node: Option<&NodeState>) -> Option<u64> {
        let Some(node) = node.filter(|node| node.syncing) else {
            self.looks.clear();
            return None;
        };
        if let Some((last, progress)) = self.looks.back().copied() {
            let follows = at.checked_sub(last).is_some_and(|gap| gap <= MAX_GAP_S);
            if !follows || node.progress < progress {
                self.looks.clear();
            }
        }
        if self.looks.back().is_none_or(|(last, _)| at - last >= EVERY_S) {
            self.looks.push_back((at, node.progress));
        }
        if self.looks.len() > REMEMBERED {
            self.looks.pop_front();
        }
        let (first, began) = *self.looks.front()?;
        let took = at - first;
        let came = node.progress - began;
        if took < LEAST_S || came <= 0.0 {
            return None;
        }
        let left = (1.0 - node.progress) / came * took as f64;
        (left <= MAX_LEFT_S).then_some(left as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn node(progress: f64) -> NodeState {
        NodeState {
            version: String::new(),
            height: 1,
            headers: 2,
            progress,
            syncing: true,
            pruned: false,
            disk_bytes: 0,
            peers: 8,
            tip_time: 0,
            started_at: None,
        }
    }

    #[test]
    fn the_time_left_follows_the_pace_and_is_not_told_before_it_is_known() {
        let mut catching = Catching::default();
        // A tenth of the chain an hour: one part in 36,000 a second.
        let mut told = Vec::new();
        for second in (0..=600).step_by(10) {
            let progress = 0.5 + second as f64 / 36_000.0;
            told.push(catching.left(1000 + second, Some(&node(progress))));
        }
        assert!(told[..30].iter().all(Option::is_none), "not in the first five minutes");
        let left = told.last().unwrap().unwrap();
        let expected = (0.5 - 600.0 / 36_000.0) * 36_000.0;
        assert!((left as f64 - expected).abs() < 60.0, "{left} and not {expected}");
    }

    #[test]
    fn nothing_is_told_of_a_node_that_stands_still_slept_or_is_done() {
        let mut catching = Catching::default();
        for second in 0..60 {
            assert_eq!(catching.left(second * 30, Some(&node(0.5))), None, "no step forward");
        }
        let mut pace = Catching::default();
        for minute in 0..=10 {
            pace.left(minute * 60, Some(&node(0.1 + minute as f64 / 1000.0)));
        }
        assert!(pace.left(660, Some(&node(0.12))).is_some());
        assert_eq!(pace.left(660 + 7200, Some(&node(0.5))), None, "two hours that nobody watched");
        assert_eq!(pace.left(100, Some(&node(0.51))), None, "a clock that was set back");
        let done = NodeState { syncing: false, ..node(1.0) };
        assert_eq!(pace.left(8000, Some(&done)), None);
    }
}
