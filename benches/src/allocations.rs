//! Allocations of one thread, counted by the allocator of the bench.
//!
//! A bench that wants them makes [`CountingAllocator`] its `#[global_allocator]`. It hands everything to the system's; the
//! product has another (mimalloc), so that times of what allocates much are a little longer here.

#![expect(unsafe_code, reason = "an allocator is unsafe to write; this one only counts")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static COUNT: Cell<u64> = const { Cell::new(0) };
    static BYTES: Cell<u64> = const { Cell::new(0) };
}

/// The system's allocator, counting what this thread asks of it.
#[derive(Clone, Copy, Debug)]
pub struct CountingAllocator;

fn note(bytes: usize) {
    COUNT.set(COUNT.get() + 1);
    BYTES.set(BYTES.get() + bytes as u64);
}

// SAFETY: every call is handed on as it came. The counters are plain cells without a destructor, made at compile time:
// to touch them neither allocates nor panics.
unsafe impl GlobalAlloc for CountingAllocator {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: the caller keeps the promises of `GlobalAlloc::alloc`, which are those of `System`.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, at: *mut u8, layout: Layout) {
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.dealloc(at, layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        note(layout.size());
        // SAFETY: as above.
        unsafe { System.alloc_zeroed(layout) }
    }

    unsafe fn realloc(&self, at: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        note(size);
        // SAFETY: as above; `at` came from `System`.
        unsafe { System.realloc(at, layout, size) }
    }
}

/// What one piece of work asked of the allocator, on average.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Allocations {
    /// Blocks asked for; one made larger counts again.
    pub count: f64,
    /// Their bytes.
    pub bytes: f64,
}

impl Allocations {
    /// Of one of the `count` pieces that `work` does, all on this thread. Buffers that are made once count too: warm up
    /// before.
    pub fn of(count: u64, work: impl FnOnce()) -> Self {
        let before = (COUNT.get(), BYTES.get());
        work();
        let each = |of: u64| of as f64 / count as f64;
        Allocations { count: each(COUNT.get() - before.0), bytes: each(BYTES.get() - before.1) }
    }

    /// The same of one piece done again and again, after a warm-up.
    pub fn of_each<T>(mut work: impl FnMut() -> T) -> Self {
        const TIMES: u64 = 100;
        let mut repeat = || (0..TIMES).for_each(|_| drop(std::hint::black_box(work())));
        repeat();
        Self::of(TIMES, repeat)
    }

    /// One line of the table that a bench prints before it measures time.
    pub fn print(self, what: &str) {
        println!("{what:<48} {:>8.2} allocations {:>10.0} bytes", self.count, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[global_allocator]
    static ALLOCATOR: CountingAllocator = CountingAllocator;

    #[test]
    fn what_this_thread_asks_for_is_counted_and_what_others_do_is_not() {
        let of = Allocations::of_each(|| vec![7_u8; 100]);
        assert_eq!(of, Allocations { count: 1.0, bytes: 100.0 });
        let of = Allocations::of(1, || {
            let mut grown = vec![1_u8; 10];
            grown.reserve_exact(90);
        });
        assert_eq!(of, Allocations { count: 2.0, bytes: 110.0 });
        let before = BYTES.get();
        std::thread::scope(|scope| {
            scope.spawn(|| vec![7_u8; 1 << 20]);
        });
        assert!(BYTES.get() - before < 1 << 20);
    }
}
