use std::num::NonZeroUsize;
use std::sync::Arc;

use super::super::{ContextCache, Retention};

#[test]
fn an_entry_is_kept_until_it_is_invalidated() {
    let cache = ContextCache::new(Retention::LegalMaximum);
    for key in 0..100_u32 {
        cache.begin_fetch().insert(key, Arc::new(key * 2));
    }
    assert_eq!(cache.invalidate(|key| key % 10 == 3), 10);
    assert_eq!(cache.lookup(13), None);
    assert_eq!(cache.lookup(14).as_deref(), Some(&28));
    cache.clear();
    assert_eq!(cache.entries(), 0);
}

#[test]
fn a_fetch_that_an_invalidation_overtook_leaves_nothing() {
    let cache = ContextCache::new(Retention::LegalMaximum);
    let fetch = cache.begin_fetch();
    cache.invalidate(|key| key == 1);
    fetch.insert(1, Arc::new("old"));
    assert_eq!(cache.lookup(1), None);
    cache.begin_fetch().insert(1, Arc::new("new"));
    assert_eq!(cache.lookup(1).as_deref(), Some(&"new"));
}

#[test]
fn a_small_cache_evicts_and_a_cache_that_is_off_has_nothing() {
    let cache = ContextCache::new(Retention::Small(NonZeroUsize::new(3).unwrap()));
    for key in 0..100 {
        cache.begin_fetch().insert(key, Arc::new(()));
        cache.begin_fetch().insert(key, Arc::new(()));
        assert!(cache.lookup(key).is_some());
        assert_eq!(cache.entries(), 3.min(key + 1));
    }
    let off = ContextCache::new(Retention::Off);
    off.begin_fetch().insert(1, Arc::new(()));
    assert_eq!(off.lookup(1), None);
}
