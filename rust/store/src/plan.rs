//! Which messages make room for others: a decision on numbers alone.

use std::cmp::Reverse;

use crate::batch::QueueId;
use crate::quota::OverflowPolicy;

/// A file that holds messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Holding {
    /// Bytes that come back when nothing in it is wanted.
    pub bytes: u64,
    /// Something in it is leased, so that it stays whatever else is dropped.
    pub pinned: bool,
    /// What of it is wanted and not leased, by queue.
    pub parts: Vec<Part>,
}

/// What a file holds of one queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Part {
    pub queue: QueueId,
    /// 0 is the most important.
    pub priority: u32,
}

/// The files to be emptied so that `to_free` bytes come back, by their place in `holdings` (which has the oldest first), in
/// the order of dropping.
///
/// A file gives its space back as a whole, so its messages are dropped together: a message is never dropped where that frees
/// nothing. Under [`OverflowPolicy::DropLowestPriority`] a file is as important as the most important message in it.
pub(crate) fn victims(policy: OverflowPolicy, to_free: u64, holdings: &[Holding]) -> Vec<usize> {
    let mut order: Vec<_> = holdings
        .iter()
        .enumerate()
        .filter(|(_, holding)| !holding.pinned && !holding.parts.is_empty())
        .map(|(place, holding)| (rank(policy, holding), place, holding.bytes))
        .collect();
    order.sort_unstable();
    let mut freed = 0;
    let enough = order.into_iter().take_while(|(.., bytes)| {
        let wanted = freed < to_free;
        freed += bytes;
        wanted
    });
    enough.map(|(_, place, _)| place).collect()
}

/// What goes first has the least rank.
fn rank(policy: OverflowPolicy, holding: &Holding) -> Option<Reverse<u32>> {
    match policy {
        OverflowPolicy::RejectNew | OverflowPolicy::DropOldest => None,
        OverflowPolicy::DropLowestPriority => {
            holding.parts.iter().map(|part| part.priority).min().map(Reverse)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn holding(bytes: u64, priorities: &[u32]) -> Holding {
        let parts =
            priorities.iter().map(|priority| Part { queue: QueueId(priority + 1), priority: *priority });
        Holding { bytes, pinned: false, parts: parts.collect() }
    }

    #[test]
    fn the_oldest_files_go_until_enough_is_free() {
        let holdings = [holding(10, &[5, 0]), holding(10, &[9]), holding(10, &[0])];
        let plan = |to_free| victims(OverflowPolicy::DropOldest, to_free, &holdings);
        assert_eq!(plan(1), [0]);
        assert_eq!(plan(10), [0]);
        assert_eq!(plan(11), [0, 1]);
        assert_eq!(plan(1000), [0, 1, 2]);
    }

    #[test]
    fn the_least_important_files_go_first_and_among_them_the_oldest() {
        let holdings = [
            holding(10, &[0]),
            holding(10, &[9, 0]),
            holding(10, &[9]),
            holding(10, &[9]),
            holding(10, &[9, 5]),
        ];
        let plan = |to_free| victims(OverflowPolicy::DropLowestPriority, to_free, &holdings);
        assert_eq!(plan(20), [2, 3]);
        assert_eq!(plan(30), [2, 3, 4], "as important as the five");
        assert_eq!(plan(50), [2, 3, 4, 0, 1]);
    }

    #[test]
    fn what_would_free_nothing_is_left_alone() {
        let leased = Holding { pinned: true, ..holding(10, &[9]) };
        let holdings = [leased, holding(10, &[]), holding(10, &[0])];
        for policy in [OverflowPolicy::DropOldest, OverflowPolicy::DropLowestPriority] {
            assert_eq!(victims(policy, 100, &holdings), [2]);
        }
    }

    #[test]
    fn nothing_to_free_takes_nobody() {
        assert!(victims(OverflowPolicy::DropOldest, 0, &[holding(10, &[0])]).is_empty());
    }

    proptest! {
        #[test]
        fn a_plan_frees_enough_and_no_victim_is_one_too_many(
            files in prop::collection::vec((1u64..100, any::<bool>(), prop::collection::vec(0u32..4, 0..4)), 0..12),
            to_free in 0u64..600,
            oldest in any::<bool>(),
        ) {
            let policy = if oldest { OverflowPolicy::DropOldest } else { OverflowPolicy::DropLowestPriority };
            let holdings: Vec<Holding> = files
                .iter()
                .map(|(bytes, pinned, priorities)| Holding { pinned: *pinned, ..holding(*bytes, priorities) })
                .collect();
            let plan = victims(policy, to_free, &holdings);
            let freed: u64 = plan.iter().map(|at| holdings[*at].bytes).sum();
            let free_able = |h: &&Holding| !h.pinned && !h.parts.is_empty();
            let all: u64 = holdings.iter().filter(free_able).map(|h| h.bytes).sum();
            prop_assert!(freed >= to_free.min(all));
            if let Some(last) = plan.last() {
                prop_assert!(freed - holdings[*last].bytes < to_free);
            }
            let key = |at: &usize| (rank(policy, &holdings[*at]), *at);
            prop_assert!(plan.is_sorted_by_key(key));
            let worst = plan.iter().map(key).max();
            let kept = (0..holdings.len()).filter(|at| free_able(&&holdings[*at]) && !plan.contains(at));
            prop_assert!(kept.map(|at| key(&at)).all(|kept| plan.is_empty() || Some(kept) >= worst));
        }
    }
}
