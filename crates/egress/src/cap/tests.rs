//! The cap alone, with tasks that stand for connections.

use super::*;
use std::time::Duration;

const HANG_GUARD: Duration = Duration::from_secs(60);

/// A connection without a socket: a task that holds the permit until it is aborted.
struct Held {
    member: Member,
    task: AbortHandle,
}

async fn open(cap: &Arc<Cap>) -> Held {
    let permit = tokio::time::timeout(HANG_GUARD, cap.permit()).await.expect("hung").unwrap();
    let task = tokio::spawn(async move {
        let _permit = permit;
        std::future::pending::<()>().await;
    });
    Held { member: cap.join(task.abort_handle(), None), task: task.abort_handle() }
}

impl Held {
    /// One request, at this time.
    fn used_at(self, now_s: u64) -> Self {
        assert!(self.member.begin() && self.member.rest(now_s));
        self
    }
}

async fn must_wait(waiting: &mut (impl Future<Output = Held> + Unpin)) {
    assert!(tokio::time::timeout(Duration::from_secs(1), waiting).await.is_err(), "it must wait");
}

#[tokio::test(start_paused = true)]
async fn the_longest_idle_is_closed_first_whatever_the_order_of_opening() {
    let cap = Cap::new(3);
    let a = open(&cap).await.used_at(20);
    let b = open(&cap).await.used_at(10);
    let c = open(&cap).await.used_at(30);
    let d = open(&cap).await;
    assert_eq!([&a, &b, &c].map(|held| held.member.is_closing()), [false, true, false]);
    assert!(!b.member.begin(), "no request may begin on it");
    // Used since: it is no longer the longest idle.
    let a = a.used_at(40);
    let e = open(&cap).await;
    assert_eq!([&a, &c].map(|held| held.member.is_closing()), [false, true]);
    assert_eq!((cap.open(), cap.closed()), (3, 2));
    assert!(!d.member.is_closing() && !e.member.is_closing());
}

#[tokio::test(start_paused = true)]
async fn neither_busy_nor_unused_ones_are_closed() {
    let cap = Cap::new(2);
    let busy = open(&cap).await.used_at(1);
    assert!(busy.member.begin());
    let unused = open(&cap).await;
    let mut third = Box::pin(open(&cap));
    must_wait(&mut third).await;
    assert!(!busy.member.is_closing() && !unused.member.is_closing());
    // The first that comes to rest is closed on the spot.
    assert!(!busy.member.rest(2));
    let third = third.await;
    assert!(busy.member.is_closing() && busy.task.is_finished());
    // One wish, one connection.
    assert!(unused.member.begin() && unused.member.rest(3));
    assert!(!third.member.is_closing());
}

#[tokio::test(start_paused = true)]
async fn a_wish_ends_with_who_made_it() {
    let cap = Cap::new(1);
    let busy = open(&cap).await;
    for _ in 0..3 {
        let mut waiting = Box::pin(open(&cap));
        must_wait(&mut waiting).await;
    }
    assert!(busy.member.begin() && busy.member.rest(1), "nobody waits any more");
    // Given back in the common way, with a wish open.
    assert!(busy.member.begin());
    let mut waiting = Box::pin(open(&cap));
    must_wait(&mut waiting).await;
    busy.task.abort();
    let next = waiting.await;
    assert!(next.member.begin() && next.member.rest(2));
}

#[tokio::test(start_paused = true)]
async fn one_that_ended_by_itself_is_passed_over() {
    let cap = Cap::new(2);
    let ended = open(&cap).await.used_at(1);
    let idle = open(&cap).await.used_at(2);
    ended.task.abort();
    while !ended.task.is_finished() {
        tokio::task::yield_now().await;
    }
    // Its permit is back, and taken by this one.
    let third = open(&cap).await.used_at(3);
    let fourth = open(&cap).await;
    assert!(idle.member.is_closing() && !third.member.is_closing() && !fourth.member.is_closing());
    assert_eq!(cap.closed(), 1);
}

#[tokio::test(start_paused = true)]
async fn many_are_closed_in_the_order_of_their_idleness() {
    let cap = Cap::new(200);
    let mut held = Vec::new();
    for n in 0..200_u64 {
        // 0, 77, 154, 31, …: every number once, in no order.
        held.push((n * 77 % 200, open(&cap).await.used_at(n * 77 % 200)));
    }
    held.sort_by_key(|(since, _)| *since);
    for count in 1..=200 {
        let new = open(&cap).await;
        let closed = held.iter().filter(|(_, held)| held.member.is_closing()).count();
        assert_eq!(closed, count);
        assert!(held[count - 1].1.member.is_closing(), "{count}");
        // It stays in use, and out of the way.
        std::mem::forget(new.member);
    }
}

#[tokio::test]
async fn places_are_used_again() {
    let cap = Cap::new(4);
    for _ in 0..10 {
        let held = [open(&cap).await, open(&cap).await, open(&cap).await];
        held.iter().for_each(|held| held.task.abort());
    }
    assert!(cap.lock().entries.len() <= 4);
    assert!(cap.lock().entries.iter().all(Option::is_none));
}

// Owners and new connections on different threads: no request begins on a closed one, and nobody waits for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn threads_agree_on_who_is_closed() {
    let cap = Cap::new(3);
    let tasks: Vec<_> = (0..8_u64)
        .map(|seed| {
            let cap = Arc::clone(&cap);
            tokio::spawn(async move {
                let mut held: Option<Held> = None;
                for round in 0..500 {
                    let usable = held.take().filter(|held| held.member.begin());
                    let usable = match usable {
                        Some(usable) => usable,
                        None => open(&cap).await,
                    };
                    assert!(!usable.task.is_finished(), "a connection in use was closed");
                    tokio::task::yield_now().await;
                    assert!(!usable.task.is_finished(), "a connection in use was closed");
                    if usable.member.rest(seed + round) {
                        held = Some(usable);
                    }
                }
                // Kept until all are through: those that still wait have it closed.
                held
            })
        })
        .collect();
    let mut kept = Vec::new();
    for task in tasks {
        kept.extend(tokio::time::timeout(HANG_GUARD, task).await.expect("hung").unwrap());
    }
    assert!(cap.closed() > 0);
    let registry = cap.lock();
    assert_eq!((registry.waiting, registry.closing, cap.wish_count.load(Ordering::SeqCst)), (0, 0, 0));
}

/// What was closed for a later one goes to the one that waits longest; the later one then waits as that one had.
#[tokio::test(start_paused = true)]
async fn a_permit_meant_for_another_leaves_nobody_behind() {
    let cap = Cap::new(2);
    let (a, b) = (open(&cap).await, open(&cap).await);
    let mut first = Box::pin(open(&cap));
    must_wait(&mut first).await;
    // Comes to rest and has not yet looked whether someone waits, when the second finds it.
    a.member.entry.state.store(7, Ordering::SeqCst);
    let mut second = Box::pin(open(&cap));
    must_wait(&mut second).await;
    let first = first.await;
    assert!(a.member.is_closing() && !b.member.is_closing());
    must_wait(&mut second).await;
    assert!(first.member.begin() && !first.member.rest(8), "closed for the second");
    let second = second.await;
    assert!(b.member.begin() && b.member.rest(9), "nobody waits any more");
    assert_eq!(cap.closed(), 2);
    drop(second);
}
