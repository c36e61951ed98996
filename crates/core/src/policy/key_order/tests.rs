use super::*;
use crate::Seq;

fn id(seq: u64) -> DeliveryKey {
    DeliveryKey { seq: Seq(seq), part: 0 }
}

fn fresh(seq: u64) -> KeyPlace {
    KeyPlace { key: 1, id: id(seq), row_due_ms: None, at_ms: 40, read_no: 0 }
}

fn read(seq: u64, due_ms: u64) -> KeyPlace {
    KeyPlace { key: 1, id: id(seq), row_due_ms: Some(due_ms), at_ms: due_ms, read_no: due_ms }
}

fn begin_reads(order: &mut KeyOrder, read_no: u64) {
    while order.read_no() < read_no {
        order.begin_read();
    }
}

#[test]
fn the_next_begins_when_the_head_ends() {
    let mut order = KeyOrder::default();
    assert_eq!(order.admit(fresh(1), 10), Turn::Head);
    assert_eq!(order.admit(fresh(2), 20), Turn::Waits);
    assert_eq!(order.admit(KeyPlace { key: 2, ..fresh(3) }, 30), Turn::Head, "other keys flow");
    assert_eq!(order.end_head(1), Some(20));
    assert_eq!(order.end_head(1), None);
    assert_eq!(order.end_head(2), None);
    assert_eq!(order.len(), 0, "nothing waits, nothing is kept");
}

#[test]
fn behind_a_parked_head_all_go_to_disk_and_come_back_in_order() {
    let mut order = KeyOrder::default();
    order.admit(fresh(1), 10);
    order.admit(fresh(2), 20);
    assert_eq!(order.park_head(1, id(1), 5000), [20]);
    assert_eq!(order.admit(fresh(3), 30), Turn::Back { due_ms: 5000 });
    assert_eq!(order.admit(read(2, 100), 20), Turn::Back { due_ms: 5000 }, "read before its head");
    assert_eq!(order.admit(read(1, 5000), 10), Turn::Head);
    assert_eq!(order.admit(fresh(4), 40), Turn::Back { due_ms: 5000 }, "2 and 3 are still on disk");
    for (seq, slot) in [(2, 20), (3, 30), (4, 40)] {
        assert_eq!(order.admit(read(seq, 5000), slot), Turn::Waits);
    }
    assert_eq!(order.admit(fresh(5), 50), Turn::Waits);
    let next: Vec<_> = std::iter::from_fn(|| order.end_head(1)).collect();
    assert_eq!(next, [20, 30, 40, 50]);
    assert_eq!(order.len(), 0);
}

#[test]
fn with_the_rest_on_disk_the_first_read_is_the_head() {
    let mut order = KeyOrder::default();
    order.admit(fresh(1), 10);
    order.park_head(1, id(1), 100);
    order.admit(fresh(2), 20);
    assert_eq!(order.admit(read(1, 100), 10), Turn::Head);
    assert_eq!(order.end_head(1), None);
    assert_eq!(order.len(), 1, "2 is on disk");
    assert_eq!(order.admit(fresh(3), 30), Turn::Back { due_ms: 100 });
    assert_eq!(order.admit(read(2, 100), 20), Turn::Head);
    assert_eq!(order.admit(read(3, 100), 30), Turn::Waits);
}

#[test]
fn after_a_restart_the_oldest_row_is_the_head() {
    let mut order = KeyOrder::default();
    order.learn(1, id(5), 300);
    order.learn(1, id(4), 900);
    order.learn(1, id(6), 300);
    assert_eq!(order.admit(read(5, 300), 50), Turn::Back { due_ms: 900 });
    assert_eq!(order.admit(fresh(7), 70), Turn::Back { due_ms: 900 });
    assert_eq!(order.admit(read(4, 900), 40), Turn::Head);
    for seq in 5..=7 {
        assert_eq!(order.admit(read(seq, 900), 0), Turn::Waits);
    }
    for _ in 0..3 {
        assert!(order.end_head(1).is_some());
    }
    assert_eq!((order.end_head(1), order.len()), (None, 0));
}

#[test]
fn a_head_whose_row_is_gone_holds_nobody_up() {
    let mut order = KeyOrder::default();
    order.admit(fresh(1), 10);
    order.park_head(1, id(1), 100);
    assert_eq!(order.admit(fresh(2), 20), Turn::Back { due_ms: 100 });
    assert_eq!(order.admit(read(2, 100), 20), Turn::Head, "1 would have been read before it");
    assert_eq!((order.end_head(1), order.len()), (None, 0));
}

#[test]
fn an_older_one_put_back_goes_first_and_a_younger_one_waits() {
    let mut order = KeyOrder::default();
    order.admit(fresh(5), 50);
    order.park_head(1, id(5), 900);
    order.learn(1, id(3), 200);
    order.learn(1, id(7), 200);
    assert_eq!(order.admit(read(3, 200), 30), Turn::Head);
    assert_eq!(order.admit(read(7, 200), 70), Turn::Waits);
    assert_eq!(order.end_head(1), Some(70), "one that was put back has lost its place");
    assert_eq!(order.admit(read(5, 900), 50), Turn::Waits);
    assert_eq!((order.end_head(1), order.end_head(1)), (Some(50), None));
    // Which of those with the latest date is the last is not known: the next takes the way over the disk.
    assert_eq!(order.admit(fresh(8), 80), Turn::Back { due_ms: 900 });
    assert_eq!(order.admit(read(8, 900), 80), Turn::Head);
    assert_eq!((order.end_head(1), order.len()), (None, 0));
}

#[test]
fn behind_a_head_that_was_put_back_new_ones_queue_up_after_all_on_disk() {
    for is_head_there in [true, false] {
        let mut order = KeyOrder::default();
        order.admit(fresh(5), 50);
        order.admit(fresh(6), 60);
        assert_eq!(order.park_head(1, id(5), 900), [60]);
        for (seq, due_ms) in [(3, 200), (5, 900), (6, 900)] {
            order.learn(1, id(seq), due_ms);
        }
        assert_eq!(order.admit(fresh(7), 70), Turn::Back { due_ms: 900 }, "not before 5 and 6");
        if is_head_there {
            assert_eq!(order.admit(read(3, 200), 30), Turn::Head);
            assert_eq!(order.admit(fresh(8), 80), Turn::Back { due_ms: 900 });
            assert_eq!(order.end_head(1), None);
        }
        assert_eq!(order.admit(read(5, 900), 50), Turn::Head);
        assert_eq!(order.admit(read(6, 900), 60), Turn::Waits);
    }
}

#[test]
fn the_youngest_put_back_lets_nobody_pass_those_that_wait_longer() {
    let mut order = KeyOrder::default();
    order.admit(fresh(5), 50);
    order.admit(fresh(6), 60);
    assert_eq!(order.park_head(1, id(5), 900), [60]);
    for (seq, due_ms) in [(2, 200), (7, 200), (5, 900), (6, 900)] {
        order.learn(1, id(seq), due_ms);
    }
    assert_eq!(order.admit(read(2, 200), 20), Turn::Head);
    assert_eq!(order.admit(read(7, 200), 70), Turn::Waits);
    assert_eq!(order.admit(fresh(8), 80), Turn::Back { due_ms: 900 });
    assert_eq!((order.end_head(1), order.end_head(1)), (Some(70), None));
    for (seq, turn) in [(5, Turn::Head), (6, Turn::Waits), (8, Turn::Waits)] {
        assert_eq!(order.admit(read(seq, 900), 0), turn);
    }
    for _ in 0..3 {
        order.end_head(1);
    }
    assert_eq!(order.len(), 0);
}

#[test]
fn a_key_with_much_to_deliver_leaves_memory_to_others_and_keeps_its_order() {
    let mut order = KeyOrder::default();
    assert_eq!(order.admit(fresh(0), 0), Turn::Head);
    for seq in 1..=64 {
        assert_eq!(order.admit(fresh(seq), seq as u32), Turn::Waits);
    }
    assert_eq!(order.admit(fresh(65), 65), Turn::Back { due_ms: 90 });
    assert_eq!(order.admit(fresh(66), 66), Turn::Back { due_ms: 90 });
    assert_eq!(order.admit(read(65, 90), 65), Turn::Back { due_ms: 140 }, "still no room");
    assert_eq!(order.end_head(1), Some(1));
    assert_eq!(order.admit(read(66, 90), 66), Turn::Back { due_ms: 140 }, "not before 65");
    assert_eq!(order.admit(fresh(67), 67), Turn::Back { due_ms: 140 });
    for seq in 2..=64 {
        assert_eq!(order.end_head(1), Some(seq as u32));
    }
    for seq in 65..=67 {
        assert_eq!(order.admit(read(seq, 140), seq as u32), Turn::Waits);
        assert_eq!(order.end_head(1), Some(seq as u32));
    }
    assert_eq!((order.end_head(1), order.len()), (None, 0));
}

#[test]
fn after_a_restart_what_was_in_memory_goes_before_what_found_no_room_there() {
    let mut order = KeyOrder::default();
    order.learn(1, id(65), 90);
    order.learn(1, id(66), 50);
    assert_eq!(order.admit(fresh(1), 10), Turn::Head, "older than all on disk");
    assert_eq!(order.admit(fresh(2), 20), Turn::Back { due_ms: 90 });
    assert_eq!(order.end_head(1), None);
    assert_eq!(order.admit(read(66, 50), 66), Turn::Back { due_ms: 90 }, "an early date says nothing");
    for (seq, turn) in [(2, Turn::Head), (65, Turn::Waits), (66, Turn::Waits)] {
        assert_eq!(order.admit(read(seq, 90), seq as u32), turn);
    }
    assert_eq!((order.end_head(1), order.end_head(1), order.end_head(1)), (Some(65), Some(66), None));
}

#[test]
fn rows_read_together_with_an_older_one_that_is_sent_back_go_back_too() {
    let mut order = KeyOrder::default();
    for seq in 1..=3 {
        order.admit(fresh(seq), seq as u32);
    }
    order.park_head(1, id(1), 900);
    begin_reads(&mut order, 7);
    let together = |seq, due_ms| KeyPlace { read_no: 7, ..read(seq, due_ms) };
    assert_eq!(order.admit(together(2, 500), 2), Turn::Back { due_ms: 900 });
    assert_eq!(order.admit(together(1, 900), 1), Turn::Head);
    assert_eq!(order.admit(together(3, 900), 3), Turn::Back { due_ms: 900 }, "2 is not here yet");
    assert_eq!(order.end_head(1), None);
    let next = |seq| KeyPlace { read_no: 8, ..read(seq, 900) };
    assert_eq!((order.admit(next(2), 2), order.admit(next(3), 3)), (Turn::Head, Turn::Waits));
}

/// Seed 983 of the simulation.
#[test]
fn the_last_on_disk_is_sent_back_with_the_date_of_those_before_it() {
    let mut order = KeyOrder::default();
    for seq in 1..=65 {
        order.admit(fresh(seq), seq as u32);
    }
    order.learn(1, id(66), 500);
    order.learn(1, id(67), 500);
    // The clock was put back since they got their date.
    let together = |seq| KeyPlace { read_no: 7, at_ms: 0, ..read(seq, 500) };
    assert_eq!(order.admit(together(66), 66), Turn::Back { due_ms: 500 }, "no room");
    assert_eq!(order.admit(together(67), 67), Turn::Back { due_ms: 500 });
}

/// Seed 1097: only a read that began after the head had gone to disk shows that its row is gone.
#[test]
fn what_was_read_before_the_head_went_to_disk_does_not_pass_it() {
    let mut order = KeyOrder::default();
    for seq in [1, 2] {
        order.learn(1, id(seq), 100);
    }
    assert_eq!(order.admit(KeyPlace { read_no: 5, ..read(1, 100) }, 1), Turn::Head);
    begin_reads(&mut order, 6);
    // The clock was put back.
    order.park_head(1, id(1), 50);
    assert_eq!(order.admit(KeyPlace { read_no: 6, ..read(2, 100) }, 2), Turn::Back { due_ms: 100 });
    assert_eq!(order.admit(KeyPlace { read_no: 7, ..read(2, 100) }, 2), Turn::Head, "1 is gone");
}

/// Seed 934: a row of one that has just ended was learnt.
#[test]
fn behind_a_head_that_is_gone_the_former_one_is_not_passed() {
    let mut order = KeyOrder::default();
    order.admit(fresh(5), 50);
    order.park_head(1, id(5), 900);
    begin_reads(&mut order, 4);
    order.learn(1, id(3), 200);
    assert_eq!(order.admit(fresh(7), 70), Turn::Back { due_ms: 900 }, "5 is there still");
    let early = KeyPlace { read_no: 4, ..read(7, 950) };
    assert_eq!(order.admit(early, 70), Turn::Back { due_ms: 900 }, "its read began before 3 was learnt");
    begin_reads(&mut order, 5);
    assert_eq!(order.admit(read(5, 900), 50), Turn::Head);
    assert_eq!(order.admit(read(7, 900), 70), Turn::Waits);
}

/// Seed 2467: the new date of what is sent back is not seen by a read that has begun.
#[test]
fn rows_of_the_next_read_go_back_behind_one_that_is_sent_back_after_it_began() {
    let mut order = KeyOrder::default();
    for seq in 1..=3 {
        order.admit(fresh(seq), seq as u32);
    }
    order.park_head(1, id(1), 900);
    begin_reads(&mut order, 8);
    assert_eq!(order.admit(KeyPlace { read_no: 7, ..read(2, 500) }, 2), Turn::Back { due_ms: 900 });
    let of = |read_no, seq| KeyPlace { read_no, ..read(seq, 900) };
    assert_eq!(order.admit(of(8, 1), 1), Turn::Head);
    assert_eq!(order.admit(of(8, 3), 3), Turn::Back { due_ms: 900 }, "2 is not here yet");
    assert_eq!(order.end_head(1), None);
    assert_eq!((order.admit(of(9, 2), 2), order.admit(of(9, 3), 3)), (Turn::Head, Turn::Waits));
}
