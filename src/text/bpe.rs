//! Byte-pair merging: joins the pair of neighbours with the lowest rank, the leftmost of equals, until none is left.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use super::hash::Seed;

/// What a pair of neighbours becomes. `rank` is the merge's place in the file; low ranks go first.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Merge {
    pub rank: u32,
    pub id: u32,
}

impl Merge {
    /// A pair that doesn't merge.
    const NONE: Merge = Merge { rank: u32::MAX, id: u32::MAX };
}

/// (left, right) → [`Merge`]: open addressing with linear probing, filled to at most 5/8.
pub(super) struct MergeTable {
    seed: Seed,
    /// Length is a power of two. An empty slot has the rank of [`Merge::NONE`].
    slots: Vec<Slot>,
    len: usize,
}

#[derive(Clone, Copy)]
struct Slot {
    left: u32,
    right: u32,
    merge: Merge,
}

impl MergeTable {
    /// An empty table with room for `n` merges.
    pub(super) fn with_capacity(n: usize) -> MergeTable {
        let slots = (n.saturating_mul(8) / 5 + 2).next_power_of_two();
        MergeTable { seed: Seed::random(), slots: vec![Slot { left: 0, right: 0, merge: Merge::NONE }; slots], len: 0 }
    }

    /// Adds a merge unless the pair has one. Ranks below `u32::MAX` only, and at most the capacity's number of merges.
    pub(super) fn insert(&mut self, left: u32, right: u32, merge: Merge) {
        debug_assert!(self.len < self.slots.len() - 1 && merge.rank != u32::MAX);
        let i = self.slot(left, right);
        if self.slots[i].merge == Merge::NONE {
            self.slots[i] = Slot { left, right, merge };
            self.len += 1;
        }
    }

    /// The pair's merge, or [`Merge::NONE`].
    #[inline]
    fn get(&self, left: u32, right: u32) -> Merge {
        self.slots[self.slot(left, right)].merge
    }

    /// Where the pair is, or the empty slot where it would be. There is always one: the table is never full.
    #[inline]
    fn slot(&self, left: u32, right: u32) -> usize {
        let mask = self.slots.len() - 1;
        let mut i = self.seed.of_u64(u64::from(left) << 32 | u64::from(right)) as usize & mask;
        loop {
            let s = &self.slots[i];
            if (s.left == left && s.right == right) || s.merge == Merge::NONE {
                return i;
            }
            i = (i + 1) & mask;
        }
    }

    /// Merges `ids` in place, and shortens it.
    pub(super) fn merge(&self, ids: &mut Vec<u32>, scratch: &mut Scratch) {
        match ids.len() {
            0 | 1 => {}
            2..=SHORT => self.merge_short(ids, &mut scratch.pairs),
            _ => self.merge_long(ids, &mut scratch.nodes),
        }
    }

    /// Scans for the lowest rank at each step: quadratic, and the quickest for words of usual length.
    fn merge_short(&self, ids: &mut Vec<u32>, pairs: &mut Vec<Merge>) {
        pairs.clear();
        pairs.extend(ids.windows(2).map(|w| self.get(w[0], w[1])));
        while let Some((i, best)) = pairs.iter().enumerate().min_by_key(|(_, m)| m.rank) {
            if best.rank == u32::MAX {
                break;
            }
            ids[i] = best.id;
            ids.remove(i + 1);
            pairs.remove(i);
            if i > 0 {
                pairs[i - 1] = self.get(ids[i - 1], ids[i]);
            }
            if i < pairs.len() {
                pairs[i] = self.get(ids[i], ids[i + 1]);
            }
        }
    }

    /// A heap of candidates over a doubly linked list: `n log n`, so that a megabyte without a space is no trouble.
    fn merge_long(&self, ids: &mut Vec<u32>, nodes: &mut Vec<Node>) {
        let n = ids.len();
        nodes.clear();
        nodes.extend((0..n).map(|i| Node {
            id: ids[i],
            prev: i.wrapping_sub(1),
            next: i + 1,
            merge: ids.get(i + 1).map_or(Merge::NONE, |&right| self.get(ids[i], right)),
        }));
        let candidates = nodes.iter().enumerate().filter(|(_, n)| n.merge != Merge::NONE);
        let mut heap: BinaryHeap<_> = candidates.map(|(i, n)| Reverse((n.merge.rank, i))).collect();
        while let Some(Reverse((rank, i))) = heap.pop() {
            // Entries aren't removed when their pair changes: those that no longer tell the truth are passed over.
            if nodes[i].merge.rank != rank {
                continue;
            }
            let (gone, id) = (nodes[i].next, nodes[i].merge.id);
            let next = nodes[gone].next;
            nodes[gone].merge = Merge::NONE;
            (nodes[i].id, nodes[i].next) = (id, next);
            if next < n {
                nodes[next].prev = i;
            }
            let prev = nodes[i].prev;
            let before = (prev < n).then_some((prev, i));
            let after = if next < n { Some((i, next)) } else { None };
            nodes[i].merge = Merge::NONE;
            for (left, right) in before.into_iter().chain(after) {
                let merge = self.get(nodes[left].id, nodes[right].id);
                nodes[left].merge = merge;
                if merge != Merge::NONE {
                    heap.push(Reverse((merge.rank, left)));
                }
            }
        }
        ids.clear();
        let mut i = 0;
        while i < n {
            ids.push(nodes[i].id);
            i = nodes[i].next;
        }
    }
}

/// Words of up to this many bytes are merged by scanning.
const SHORT: usize = 40;

/// Buffers that a text's words share.
#[derive(Default)]
pub(super) struct Scratch {
    pairs: Vec<Merge>,
    nodes: Vec<Node>,
}

struct Node {
    id: u32,
    /// Index of the neighbour to the left; out of range at the start.
    prev: usize,
    /// Index of the neighbour to the right; the number of nodes at the end.
    next: usize,
    /// With the neighbour to the right.
    merge: Merge,
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// The definition, word for word.
    fn naive(merges: &[(u32, u32, Merge)], ids: &mut Vec<u32>) {
        let find = |l, r| merges.iter().find(|m| (m.0, m.1) == (l, r)).map(|m| m.2);
        loop {
            let best = (1..ids.len()).filter_map(|i| find(ids[i - 1], ids[i]).map(|m| (m.rank, i, m.id))).min();
            let Some((_, i, id)) = best else { return };
            ids[i - 1] = id;
            ids.remove(i);
        }
    }

    proptest! {
        #[test]
        fn both_ways_match_naive(
            pairs in prop::collection::vec((0u32..8, 0u32..8, 0u32..8), 0..30),
            ids in prop::collection::vec(0u32..4, 0..120),
        ) {
            let merges: Vec<_> = pairs.iter().enumerate()
                .map(|(rank, &(l, r, id))| (l, r, Merge { rank: rank as u32, id })).collect();
            let mut table = MergeTable::with_capacity(merges.len());
            for &(l, r, m) in &merges {
                table.insert(l, r, m);
            }
            let (mut want, mut short, mut long) = (ids.clone(), ids.clone(), ids);
            naive(&merges, &mut want);
            table.merge_short(&mut short, &mut Vec::new());
            table.merge_long(&mut long, &mut Vec::new());
            prop_assert_eq!(&short, &want);
            prop_assert_eq!(&long, &want);
        }
    }

    #[test]
    fn the_first_of_two_merges_for_a_pair_holds() {
        let mut table = MergeTable::with_capacity(2);
        table.insert(1, 2, Merge { rank: 0, id: 3 });
        table.insert(1, 2, Merge { rank: 1, id: 4 });
        assert_eq!(table.get(1, 2), Merge { rank: 0, id: 3 });
        assert_eq!(table.get(2, 1), Merge::NONE);
    }
}
