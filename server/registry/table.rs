//! Rows of one kind while a batch is worked through: what was loaded, what changed, and how to take it back.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::RangeBounds;

/// What is known of one key.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Slot<V> {
    /// The database has no such row.
    Absent,
    /// As the database has it.
    Loaded(V),
    /// New or changed: to be written.
    Changed(V),
    /// To be removed from the database.
    Removed(V),
    /// New, to be written in the place of another row (the second one), which is to be removed.
    Replaced(V, V),
}

impl<V> Slot<V> {
    fn value(&self) -> Option<&V> {
        match self {
            Self::Loaded(value) | Self::Changed(value) | Self::Replaced(value, _) => Some(value),
            Self::Absent | Self::Removed(_) => None,
        }
    }
}

/// How far back [`Table::change`] looks for what it noted already.
const NOTED: usize = 4;

impl<V: Clone> Slot<V> {
    /// The same place with this value in it. A row that is to be removed still is.
    fn with(&self, value: V) -> Self {
        match self {
            Self::Removed(old) | Self::Replaced(_, old) => Self::Replaced(value, old.clone()),
            Self::Absent | Self::Loaded(_) | Self::Changed(_) => Self::Changed(value),
        }
    }

    /// What is left of a row that was to take the place of another one.
    fn without(&self) -> Option<Self> {
        match self {
            Self::Replaced(_, old) => Some(Self::Removed(old.clone())),
            Self::Absent | Self::Loaded(_) | Self::Changed(_) | Self::Removed(_) => None,
        }
    }
}

/// Rows of one kind, by key. A key that was never loaded is unknown, which is not the same as absent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Table<K, V> {
    rows: BTreeMap<K, Slot<V>>,
    /// What stood where the command at hand changed something, oldest first.
    before: Vec<(K, Option<Slot<V>>)>,
}

impl<K, V> Default for Table<K, V> {
    fn default() -> Self {
        Self { rows: BTreeMap::new(), before: Vec::new() }
    }
}

impl<K: Ord + Clone, V: Clone> Table<K, V> {
    /// Whether it is known what the database has under this key.
    pub fn knows(&self, key: &K) -> bool {
        self.rows.contains_key(key)
    }

    /// Takes a row over from the database. What is known already stays: the batch may have changed it.
    pub fn load(&mut self, key: K, value: Option<V>) {
        self.rows.entry(key).or_insert_with(|| value.map_or(Slot::Absent, Slot::Loaded));
    }

    /// The row, or `None` if there is none or nothing is known of it.
    pub fn get(&self, key: &K) -> Option<&V> {
        self.rows.get(key)?.value()
    }

    /// The row, to be changed; it is written at the end of the batch.
    pub fn change(&mut self, key: &K) -> Option<&mut V> {
        let slot = self.rows.get_mut(key)?;
        let value = slot.value()?;
        // What stood there before the command is noted once: a rule often changes the same row several times in a row.
        if !self.before.iter().rev().take(NOTED).any(|(noted, _)| noted == key) {
            let value = value.clone();
            let after = slot.with(value);
            let before = std::mem::replace(slot, after);
            self.before.push((key.clone(), Some(before)));
        }
        match slot {
            Slot::Changed(value) | Slot::Replaced(value, _) => Some(value),
            _ => None,
        }
    }

    /// Puts a new row in, or another one in its place.
    pub fn put(&mut self, key: K, value: V) {
        let after = self.rows.get(&key).unwrap_or(&Slot::Absent).with(value);
        let before = self.rows.insert(key.clone(), after);
        self.before.push((key, before));
    }

    /// Takes a row out of the database.
    pub fn remove(&mut self, key: &K) {
        let Some(slot) = self.rows.get_mut(key) else { return };
        let Some(value) = slot.value().cloned() else { return };
        // What was to take the place of another row was never written.
        let after = slot.without().unwrap_or(Slot::Removed(value));
        let before = std::mem::replace(slot, after);
        self.before.push((key.clone(), Some(before)));
    }

    /// Moves a row to another key; the database knows it by its id.
    pub fn rekey(&mut self, from: &K, to: K, change: impl FnOnce(&mut V)) {
        let Some(mut value) = self.get(from).cloned() else { return };
        let after = self.rows.get(from).and_then(Slot::without).unwrap_or(Slot::Absent);
        let before = self.rows.insert(from.clone(), after);
        self.before.push((from.clone(), before));
        change(&mut value);
        self.put(to, value);
    }

    /// The rows whose keys lie in a range, in their order.
    pub fn range<R: RangeBounds<K>>(&self, range: R) -> impl Iterator<Item = (&K, &V)> {
        self.rows.range(range).filter_map(|(key, slot)| slot.value().map(|value| (key, value)))
    }

    /// All rows, in the order of their keys.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &V)> {
        self.range(..)
    }

    /// The rows to be written.
    pub fn changed(&self) -> impl Iterator<Item = &V> {
        self.rows.values().filter_map(|slot| match slot {
            Slot::Changed(value) | Slot::Replaced(value, _) => Some(value),
            Slot::Absent | Slot::Loaded(_) | Slot::Removed(_) => None,
        })
    }

    /// The rows to be taken out of the database.
    pub fn removed(&self) -> impl Iterator<Item = &V> {
        self.rows.values().filter_map(|slot| match slot {
            Slot::Removed(value) | Slot::Replaced(_, value) => Some(value),
            Slot::Absent | Slot::Loaded(_) | Slot::Changed(_) => None,
        })
    }

    /// What the command at hand found where it changed something: the rows that its plan depends on. What a row became in between is not what
    /// was found.
    pub(super) fn found(&self) -> impl Iterator<Item = (&K, Option<&V>)> {
        let mut seen = BTreeSet::new();
        let first = self.before.iter().filter(move |(key, _)| seen.insert(key));
        first.map(|(key, slot)| (key, slot.as_ref().and_then(Slot::value)))
    }

    /// Keeps what the command at hand did.
    pub(super) fn keep(&mut self) {
        self.before.clear();
    }

    /// Takes back what the command at hand did.
    pub(super) fn take_back(&mut self) {
        while let Some((key, before)) = self.before.pop() {
            match before {
                Some(slot) => self.rows.insert(key, slot),
                None => self.rows.remove(&key),
            };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Copy, Debug)]
    enum Step {
        Change(u8),
        Put(u8),
        Remove(u8),
        Rekey(u8, u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        let key = || 0_u8..4;
        prop_oneof![
            key().prop_map(Step::Change),
            key().prop_map(Step::Put),
            key().prop_map(Step::Remove),
            (key(), key()).prop_map(|(from, to)| Step::Rekey(from, to)),
        ]
    }

    fn apply(table: &mut Table<u8, u32>, steps: &[Step]) {
        for (number, step) in steps.iter().enumerate() {
            let fresh = u32::try_from(number).unwrap() + 100;
            match step {
                Step::Change(key) => {
                    if let Some(value) = table.change(key) {
                        *value = fresh;
                    }
                }
                Step::Put(key) => table.put(*key, fresh),
                Step::Remove(key) => table.remove(key),
                Step::Rekey(from, to) => table.rekey(from, *to, |value| *value += 1),
            }
        }
    }

    proptest! {
        #[test]
        fn what_is_taken_back_leaves_no_trace(kept in prop::collection::vec(step(), 0..6), undone in prop::collection::vec(step(), 0..6)) {
            let mut table = Table::default();
            table.load(0, Some(1));
            table.load(1, None);
            apply(&mut table, &kept);
            table.keep();
            let before = table.clone();
            apply(&mut table, &undone);
            table.take_back();
            prop_assert_eq!(table, before);
        }
    }

    #[test]
    fn a_row_in_the_place_of_a_removed_one_leaves_the_removal() {
        let mut table = Table::default();
        table.load(1, Some("old"));
        table.remove(&1);
        table.put(1, "new");
        *table.change(&1).unwrap() = "newer";
        assert_eq!((table.get(&1), table.changed().count()), (Some(&"newer"), 1));
        assert_eq!(table.removed().collect::<Vec<_>>(), [&"old"]);
        table.remove(&1);
        assert_eq!((table.get(&1), table.changed().count()), (None, 0));
        assert_eq!(table.removed().collect::<Vec<_>>(), [&"old"]);
    }

    #[test]
    fn a_row_of_the_database_never_covers_what_the_batch_changed() {
        let mut table = Table::default();
        table.put(1, "new");
        table.load(1, Some("old"));
        assert_eq!(table.get(&1), Some(&"new"));
        assert!(!table.knows(&2));
    }
}
