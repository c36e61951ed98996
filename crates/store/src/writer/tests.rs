use super::*;
use crate::testing::{self, StillClock};
use bytes::Bytes;
use fanfare_core::delivery::{AttemptRecord, Ending, Origin, Progress, Settlement};
use fanfare_core::event::{Event, EventKind};
use fanfare_core::ports::{IngestEvent, IngestVerdict};
use fanfare_core::{ChannelId, ChannelNo, EventId, Seq};

fn event() -> PreparedEvent {
    PreparedEvent::new(IngestEvent {
        event: Event {
            seq: Seq(0),
            id: EventId::parse("E").unwrap(),
            kind: EventKind::Block,
            channel: ChannelId::parse("channel").unwrap(),
            channel_phone: None,
            key: None,
            occurred_at_ms: None,
            accepted_at_ms: 1,
            envelope: Bytes::from_static(b"{}"),
            payload: 0..2,
        },
        channel_no: ChannelNo(1),
        is_deduplicated: false,
        owed: vec![(WebhookNo(1), true)],
        new_phone: None,
    })
    .unwrap()
}

fn ingest() -> (Command, oneshot::Receiver<Result<IngestReceipt, StoreError>>) {
    let (reply, answer) = oneshot::channel();
    (Command::Ingest { events: vec![event()], bytes: 0, reply }, answer)
}

/// A failed attempt with a snippet of so many bytes.
fn failure(due_ms: u64, snippet_bytes: usize) -> Settlement {
    let origin = if due_ms == 1 { Origin::Direct } else { Origin::Retry { due_ms: due_ms - 1 } };
    Settlement {
        webhook: WebhookNo(1),
        seq: Seq(1),
        event_id: EventId::parse("E").unwrap(),
        kind: EventKind::Block,
        accepted_ms: 1,
        key: None,
        index: 0,
        part: 0,
        part_count: 1,
        origin,
        ending: Ending::Retry { due_ms, progress: Progress::first(1) },
        at_ms: 1,
        attempt: Some(AttemptRecord {
            attempt_number: 1,
            started_ms: 1,
            duration_ms: 1,
            status: None,
            failure: None,
            snippet: Bytes::from(vec![0; snippet_bytes]),
            detail: None,
        }),
    }
}

fn settle(settlements: Vec<Settlement>) -> VecDeque<Command> {
    VecDeque::from([Command::Settle(SettleBatch { settlements, dropped_chunks: Vec::new() })])
}

/// A writer without a thread, on a map of 1 MiB.
fn writer() -> (Writer, SyncSender<Command>, tempfile::TempDir) {
    let (mut opened, dir) = testing::opened(|options| options.map_bytes = 1 << 20);
    let mut txn = opened.env.write_txn().unwrap();
    opened.tables.routes.put(&mut txn, &crate::tables::no_key(1), b"row").unwrap();
    txn.commit().unwrap();
    opened.ledger.live.insert(1);
    let (queue, commands) = std::sync::mpsc::sync_channel(1);
    let (reads, _) = std::sync::mpsc::sync_channel(1);
    let (quick, _) = std::sync::mpsc::sync_channel(1);
    let writer = Writer {
        env: opened.env,
        ledger: opened.ledger,
        commands,
        reads,
        desks: crate::history::Desks { slow: quick.clone(), quick },
        shared: Arc::new(opened.shared),
        clock: Arc::new(StillClock),
        sync: Box::new(|txn: heed::RwTxn<'_>| txn.commit()),
        space: Space::new(dir.path(), opened.map_bytes as u64, None, 0),
        used_bytes: opened.used_bytes,
        held: Vec::new(),
        redrives: VecDeque::new(),
        sweeps: Sweeps::default(),
        has_no_room: false,
    };
    (writer, queue, dir)
}

/// A transaction that finds no room refuses the events and keeps the settlements, in order; nothing of it is
/// left in memory or on disk, and the store goes on.
#[test]
fn a_full_map_keeps_settlements_and_refuses_events() {
    let (mut writer, _queue, _dir) = writer();
    let (command, mut answer) = ingest();
    writer.commit(VecDeque::from([command]), false);
    assert_eq!(answer.try_recv().unwrap().unwrap().verdicts, [IngestVerdict::Accepted(Seq(1))]);

    let (command, mut refused) = ingest();
    let mut commands = VecDeque::from([command]);
    commands.extend(settle((1..40).map(|due_ms| failure(due_ms, 60_000)).collect()));
    writer.commit(commands, false);
    assert!(matches!(refused.try_recv().unwrap(), Err(StoreError::Full(_))));
    assert_eq!((writer.held.len(), writer.shared.poison()), (1, None));
    assert_eq!((writer.ledger.state.next_seq, writer.ledger.tail.len()), (2, 1));

    // What is held goes before what comes later; with smaller snippets both find room.
    for settlement in &mut writer.held[0].settlements {
        settlement.attempt = None;
    }
    writer.commit(settle(vec![failure(40, 0)]), false);
    assert!(writer.held.is_empty());
    let txn = writer.env.read_txn().unwrap();
    let key = crate::tables::timed_key(1, 40, 1, 0);
    assert_eq!(writer.ledger.tables.retries.len(&txn).unwrap(), 1);
    assert!(writer.ledger.tables.retries.get(&txn, &key).unwrap().is_some());
    assert_eq!((writer.ledger.state.backlog, writer.ledger.tail.len()), (1, 0));
}

/// Settlements held for want of room once grew by a whole queue each second.
#[test]
fn settlements_held_for_want_of_room_are_bounded() {
    let (mut writer, _queue, _dir) = writer();
    writer.commit(VecDeque::from([ingest().0]), false);
    let too_large = || (1..40).map(|due_ms| failure(due_ms, 60_000)).collect::<Vec<_>>();
    writer.commit(settle(too_large()), false);
    assert!(!writer.held.is_empty() && !writer.shared.holds_too_many());
    let mut more = vec![failure(1, 0); HELD_SETTLEMENTS_MAX];
    more.extend(too_large());
    writer.commit(settle(more), false);
    assert!(writer.shared.holds_too_many());
    writer.held.clear();
    writer.commit(settle(vec![failure(1, 0)]), false);
    assert!(!writer.shared.holds_too_many());
}

/// A short write is an i/o error too; only where the disk is nearly full it is taken for want of room.
#[test]
fn a_failed_commit_is_want_of_room_or_the_end() {
    for (errno, reserve_bytes, is_poisoned) in [
        (libc::EIO, 0, true),
        (libc::EIO, u64::MAX, false),
        (libc::ENOSPC, 0, false),
        (libc::EDQUOT, 0, false),
        (libc::EFBIG, 0, false),
        (libc::EBADF, u64::MAX, true),
    ] {
        let (mut writer, _queue, dir) = writer();
        writer.space = Space::new(dir.path(), 1 << 20, None, reserve_bytes);
        writer.commit(settle(vec![failure(1, 0)]), false);
        writer.sync = Box::new(move |_| Err(heed::Error::Io(std::io::Error::from_raw_os_error(errno))));
        writer.commit(settle(vec![failure(2, 0)]), false);
        assert_eq!(writer.shared.poison().is_some(), is_poisoned, "error {errno}, reserve {reserve_bytes}");
        assert_eq!(writer.held.is_empty(), is_poisoned);
    }
}
