use super::*;

fn state(owed: &[u32]) -> EventState {
    EventState::new(OwedList::from_slice(owed), 100)
}

#[test]
fn packed_standings_keep_their_places() {
    let mut packed = Packed::filled(9, Standing::Parked);
    packed.set(8, Standing::Done);
    packed.set(3, Standing::Waiting);
    assert_eq!(packed.get(8), Some(Standing::Done));
    assert_eq!(packed.get(3), Some(Standing::Waiting));
    assert_eq!(packed.get(4), Some(Standing::Parked));
    assert_eq!(packed.get(9), None);
    assert_eq!(packed.bytes().len(), 3);
}

#[test]
fn an_event_is_finished_when_every_entry_is_done() {
    let mut state = state(&[7, 8 | PARKED_BIT]);
    assert!(state.has_waiting());
    assert_eq!(state.entry(1), Some(Standing::Parked));
    assert!(state.settle_open(0, 0, 1, Standing::Done).is_some());
    assert!(!state.has_waiting() && !state.is_finished());
    assert!(state.settle_open(1, 0, 1, Standing::OwnRow).is_some());
    assert!(!state.is_finished());
    assert!(state.settle_own_row(1, 0, 1, Standing::Done).is_some());
    assert!(state.is_finished());
}

#[test]
fn repeats_change_nothing() {
    let mut state = state(&[7]);
    assert!(state.settle_open(0, 0, 1, Standing::Done).is_some());
    assert!(state.settle_open(0, 0, 1, Standing::Done).is_none());
    assert!(state.settle_own_row(0, 0, 1, Standing::Done).is_none());
    assert!(state.settle_open(5, 0, 1, Standing::Done).is_none());
}

#[test]
fn parts_end_an_entry_together() {
    let mut state = state(&[7]);
    assert_eq!(state.settle_open(0, 1, 3, Standing::Done), Some(Applied { part: 1, deliveries_delta: 2 }));
    assert_eq!(state.entry(0), Some(Standing::Waiting));
    assert_eq!(state.settled_parts(0), [1]);
    assert_eq!(state.settle_open(0, 1, 3, Standing::Done), None, "a repeat");
    state.settle_open(0, 0, 3, Standing::OwnRow).unwrap();
    assert_eq!(state.open_deliveries(0), 1);
    state.settle_open(0, 2, 3, Standing::Done).unwrap();
    assert_eq!(state.entry(0), Some(Standing::OwnRow));
    state.settle_own_row(0, 0, 3, Standing::Done).unwrap();
    assert!(state.is_finished());
    assert!(state.parts().is_empty());
}

#[test]
fn what_has_ended_can_be_given_a_row_again_body_by_body() {
    let mut state = state(&[7, 8]);
    assert!(!state.revive(0, 0) && !state.revive(0, 1), "it is open");
    for index in 0..2 {
        state.settle_open(index, 0, 1, Standing::Done).unwrap();
    }
    assert!(state.is_finished());
    assert!(state.revive(0, 0) && !state.revive(0, 0));
    assert!(!state.is_finished());
    assert!(state.revive(0, 2) && state.revive(1, 1));
    let standings = |index| [0, 1, 2].map(|part| state.part(index, part));
    let (own, done) = (Some(Standing::OwnRow), Some(Standing::Done));
    assert_eq!((standings(0), standings(1)), ([own, done, own], [done, own, None]));
    for (index, part) in [(0, 2), (1, 1), (0, 0)] {
        assert!(!state.is_finished());
        state.settle_own_row(index, part, 1, Standing::Done).unwrap();
    }
    assert!(state.is_finished() && state.parts().is_empty());
}

#[test]
fn a_rendering_with_fewer_bodies_ends_the_rest() {
    let mut state = state(&[7]);
    state.settle_open(0, 0, 3, Standing::OwnRow).unwrap();
    // Now it renders to one body, which has a retry row already; the settlement of the whole entry lands on part 1.
    assert_eq!(state.settle_open(0, 0, 1, Standing::Done), Some(Applied { part: 1, deliveries_delta: -1 }));
    assert_eq!(state.entry(0), Some(Standing::OwnRow));
}

#[test]
fn a_rendering_with_more_bodies_adds_deliveries() {
    let mut state = state(&[7]);
    state.settle_open(0, 0, 2, Standing::Done).unwrap();
    assert_eq!(state.settle_open(0, 2, 4, Standing::Done), Some(Applied { part: 2, deliveries_delta: 2 }));
    assert_eq!(state.open_deliveries(0), 2);
    assert_eq!(state.drop_open(0), 2);
    assert!(state.is_finished());
}
