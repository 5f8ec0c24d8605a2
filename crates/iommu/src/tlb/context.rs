//! A cache of the structures that lead to page tables.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use parking_lot::RwLock;

use super::Retention;

/// A cache of structures by what they are found with: context entries by source ID, PASID entries, STEs, CDs, DTEs. It is asked
/// when a translation was not found, so it has a lock.
///
/// An architecture that caches entries which are not valid has a value for them.
pub struct ContextCache<K, V> {
    retention: Retention,
    state: RwLock<State<K, V>>,
}

struct State<K, V> {
    /// How many there have been.
    invalidations: u64,
    entries: BTreeMap<K, Arc<V>>,
    /// The place of the next entry to be evicted.
    random: usize,
}

impl<K: Ord + Copy, V> ContextCache<K, V> {
    /// Without entries.
    pub fn new(retention: Retention) -> Self {
        Self {
            retention,
            state: RwLock::new(State {
                invalidations: 0,
                entries: BTreeMap::new(),
                random: 0,
            }),
        }
    }

    /// The cached value.
    pub fn lookup(&self, key: K) -> Option<Arc<V>> {
        self.state.read().entries.get(&key).cloned()
    }

    /// Begins to look for what the cache does not have: before the first read of what may be changed and then invalidated.
    pub fn begin_fetch(&self) -> Fetch<'_, K, V> {
        Fetch {
            cache: self,
            invalidations: self.state.read().invalidations,
        }
    }

    /// Forgets the values of the keys that are `covered`, and nothing else. Returns how many those were.
    ///
    /// When it returns, no such value is found any more, and no fetch that began before will put one in.
    pub fn invalidate(&self, covered: impl Fn(K) -> bool) -> usize {
        let mut state = self.state.write();
        state.invalidations += 1;
        let before = state.entries.len();
        state.entries.retain(|key, _| !covered(*key));
        before - state.entries.len()
    }

    /// Forgets everything.
    pub fn clear(&self) {
        self.invalidate(|_| true);
    }

    /// How many entries there are.
    pub fn entries(&self) -> usize {
        self.state.read().entries.len()
    }
}

impl<K, V> fmt::Debug for ContextCache<K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ContextCache")
            .field("retention", &self.retention)
            .field("entries", &self.state.read().entries.len())
            .finish_non_exhaustive()
    }
}

/// A fetch whose result may be cached.
#[must_use = "what is found is cached through it"]
pub struct Fetch<'a, K, V> {
    cache: &'a ContextCache<K, V>,
    /// How many there had been when it began.
    invalidations: u64,
}

impl<K: Ord + Copy, V> Fetch<'_, K, V> {
    /// Caches what was found, unless the cache is off, or an invalidation has come since the fetch began.
    pub fn insert(&self, key: K, value: Arc<V>) {
        let limit = self.cache.retention.limit();
        let mut state = self.cache.state.write();
        if state.invalidations != self.invalidations || limit == 0 {
            return;
        }
        if state.entries.len() >= limit && !state.entries.contains_key(&key) {
            state.evict();
        }
        state.entries.insert(key, value);
    }
}

impl<K: Ord + Copy, V> State<K, V> {
    fn evict(&mut self) {
        self.random = self.random.wrapping_mul(5).wrapping_add(1);
        let victim = self
            .entries
            .keys()
            .nth(self.random % self.entries.len())
            .copied();
        victim.and_then(|key| self.entries.remove(&key));
    }
}

impl<K, V> fmt::Debug for Fetch<'_, K, V> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Fetch")
            .field("invalidations", &self.invalidations)
            .finish_non_exhaustive()
    }
}
