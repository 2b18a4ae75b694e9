//! Encoded media, so that a second question about the same picture needn't encode it again.

use std::sync::Arc;

use super::medium::MediaKey;

/// Least-recently-used cache of vision embeddings, bounded in bytes.
#[derive(Debug)]
pub(super) struct MediaCache {
    /// Most recently used last.
    entries: Vec<(MediaKey, Arc<Vec<f32>>)>,
    budget_bytes: usize,
}

impl MediaCache {
    pub fn new(budget_bytes: usize) -> MediaCache {
        MediaCache { entries: Vec::new(), budget_bytes }
    }

    /// The embeddings `[tokens, H]` of a medium, if they are held.
    pub fn get(&mut self, key: &MediaKey) -> Option<Arc<Vec<f32>>> {
        let at = self.entries.iter().position(|(k, _)| k == key)?;
        let entry = self.entries.remove(at);
        let data = entry.1.clone();
        self.entries.push(entry);
        Some(data)
    }

    /// Holds embeddings, and drops the least recently used ones beyond the budget.
    pub fn insert(&mut self, key: MediaKey, data: Arc<Vec<f32>>) {
        self.entries.retain(|(k, _)| *k != key);
        self.entries.push((key, data));
        let size = |e: &(MediaKey, Arc<Vec<f32>>)| e.1.len() * size_of::<f32>();
        let mut total: usize = self.entries.iter().map(size).sum();
        while total > self.budget_bytes && !self.entries.is_empty() {
            total -= size(&self.entries.remove(0));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_least_recently_used_goes_first() {
        let key = |n: u8| MediaKey { sha256: [n; 32], settings: String::new() };
        let data = || Arc::new(vec![0.0f32; 10]);
        let mut cache = MediaCache::new(80);
        cache.insert(key(1), data());
        cache.insert(key(2), data());
        assert!(cache.get(&key(1)).is_some());
        cache.insert(key(3), data());
        assert!(cache.get(&key(2)).is_none());
        assert!(cache.get(&key(1)).is_some() && cache.get(&key(3)).is_some());
        cache.insert(key(4), Arc::new(vec![0.0; 100]));
        assert!(cache.get(&key(4)).is_none(), "larger than the budget");
    }
}
