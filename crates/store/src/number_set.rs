//! A set of small dense numbers: which webhooks exist, at one bit each.

/// See the module.
#[derive(Default)]
pub(crate) struct NumberSet {
    words: Vec<u64>,
}

impl NumberSet {
    fn place(no: u32) -> (usize, u64) {
        (no as usize / 64, 1 << (no % 64))
    }

    pub(crate) fn contains(&self, no: u32) -> bool {
        let (word, bit) = Self::place(no);
        self.words.get(word).is_some_and(|bits| bits & bit != 0)
    }

    pub(crate) fn insert(&mut self, no: u32) {
        let (word, bit) = Self::place(no);
        if self.words.len() <= word {
            self.words.resize(word + 1, 0);
        }
        if let Some(bits) = self.words.get_mut(word) {
            *bits |= bit;
        }
    }

    pub(crate) fn remove(&mut self, no: u32) {
        let (word, bit) = Self::place(no);
        if let Some(bits) = self.words.get_mut(word) {
            *bits &= !bit;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holds_what_was_put_in() {
        let mut set = NumberSet::default();
        for no in [0, 63, 64, 1000] {
            assert!(!set.contains(no));
            set.insert(no);
            assert!(set.contains(no));
        }
        set.remove(64);
        assert!(!set.contains(64) && set.contains(63) && !set.contains(1_000_000));
    }
}
