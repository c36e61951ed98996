use super::*;
use crate::outcome::FailureClass;
use crate::webhook::{RateLimit, RetryPolicy};
use proptest::prelude::*;
use rand::SeedableRng;
use rand::rngs::SmallRng;

const T0: Now = Now { mono_ns: 5_000_000_000, unix_ms: 1_790_000_000_000 };

fn ms(wait: u64) -> Now {
    T0.after(Duration::from_millis(wait))
}

fn policy(max_in_flight: u16) -> DeliveryPolicy {
    DeliveryPolicy { max_in_flight, ..DeliveryPolicy::default() }
}

fn machine(policy: DeliveryPolicy) -> Machine<u32> {
    Machine::new(policy, GatePolicy::default(), Memory::default(), T0)
}

/// One whose receiver is known to answer: all of `maxInFlight` may begin.
fn warm(policy: DeliveryPolicy) -> Machine<u32> {
    let successes = policy.max_in_flight;
    let mut machine = machine(policy);
    for payload in 0..u32::from(successes) {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
        let (_, slot) = started(&mut machine, T0)[0];
        machine.handle_outcome(slot, Outcome::Delivered, T0, &mut rng());
    }
    machine
}

fn rng() -> SmallRng {
    SmallRng::seed_from_u64(1)
}

fn failed(class: FailureClass) -> Outcome {
    Outcome::Retryable { class, not_before: None }
}

/// Starts all that can begin; the payloads, in order.
fn started(machine: &mut Machine<u32>, now: Now) -> Vec<(u32, Slot)> {
    let mut begun = Vec::new();
    while let Some(step) = machine.next_step(now) {
        let Step::Start { slot, .. } = step else { panic!("nothing may expire here") };
        begun.push((*machine.payload(slot).expect("a started slot has a payload"), slot));
    }
    begun
}

#[test]
fn no_more_than_max_in_flight_begin() {
    let mut machine = machine(policy(2));
    for payload in 0..3 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let begun = started(&mut machine, T0);
    assert_eq!(begun.iter().map(|b| b.0).collect::<Vec<_>>(), [0, 1]);
    let verdict = machine.handle_outcome(begun[0].1, Outcome::Delivered, T0, &mut rng()).expect("in flight");
    assert_eq!((verdict.payload, verdict.fate, verdict.news), (0, Fate::Delivered, WebhookNews::None));
    assert_eq!(started(&mut machine, T0).len(), 1);
    assert_eq!((machine.in_flight(), machine.ready()), (2, 0));
}

/// Of a receiver nothing is known of, few attempts are in flight: more with each success, and slowly without one.
#[test]
fn a_receiver_that_never_answers_gets_few_attempts_at_first() {
    let mut ration = GrowthRation::default();
    let mut machine = machine(policy(7));
    for payload in 0..20 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let mut begun = |machine: &mut Machine<u32>, now| {
        machine.ask_to_grow(&mut ration, now);
        started(machine, now)
    };
    let first = begun(&mut machine, T0);
    assert_eq!(first.len(), 4);
    assert_eq!(machine.next_wakeup(T0), Some(Duration::from_millis(500)));
    assert_eq!(begun(&mut machine, ms(499)).len(), 0);
    assert_eq!(begun(&mut machine, ms(500)).len(), 1);
    machine.handle_outcome(first[0].1, Outcome::Delivered, ms(600), &mut rng());
    assert_eq!(begun(&mut machine, ms(600)).len(), 2, "its own place, and one more");
    assert_eq!(machine.next_wakeup(ms(600)), Some(Duration::from_millis(500)));
    assert_eq!(begun(&mut machine, ms(1100)).len(), 1);
    let held = (machine.in_flight(), machine.next_wakeup(ms(9999)));
    assert_eq!(held, (7, None), "all that the webhook allows");
}

#[test]
fn a_turn_that_was_asked_for_does_not_pass_a_lower_maximum() {
    let mut ration = GrowthRation::default();
    let mut machine = machine(policy(7));
    for payload in 0..20 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    assert_eq!(started(&mut machine, T0).len(), 4);
    machine.ask_to_grow(&mut ration, ms(500));
    machine.handle_policy(policy(4), ms(500));
    assert_eq!((started(&mut machine, ms(500)).len(), machine.next_wakeup(ms(500))), (0, None));
}

/// What times out in a row is not begun again at once: the failures that the gate needs come one after the other.
#[test]
fn after_time_outs_fewer_are_in_flight() {
    let mut machine = machine(policy(7));
    for payload in 0..20 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let first = started(&mut machine, T0);
    assert_eq!(first.len(), 4);
    let in_flight: Vec<_> = first
        .iter()
        .map(|(_, slot)| {
            machine.handle_outcome(*slot, failed(FailureClass::Timeout), ms(15_000), &mut rng());
            started(&mut machine, ms(15_000));
            machine.in_flight()
        })
        .collect();
    assert_eq!(in_flight, [3, 2, 1, 1]);
    assert!(matches!(machine.gate().state(), GateState::Open { .. }));
}

/// A success makes good for a time-out.
#[test]
fn a_receiver_that_sometimes_times_out_keeps_its_attempts() {
    let mut machine = warm(policy(7));
    for payload in 0..100 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let mut in_flight = started(&mut machine, T0);
    for round in 0..40 {
        let (_, slot) = in_flight.remove(0);
        let outcome = if round % 3 == 0 { failed(FailureClass::Timeout) } else { Outcome::Delivered };
        machine.handle_outcome(slot, outcome, T0, &mut rng());
        in_flight.extend(started(&mut machine, T0));
        assert!((6..=7).contains(&machine.in_flight()), "round {round}: {}", machine.in_flight());
    }
}

#[test]
fn many_that_never_answer_take_turns() {
    let mut ration = GrowthRation::default();
    let mut machines: Vec<_> = (0..100).map(|_| machine(policy(7))).collect();
    let mut begun_at = |now: Now| {
        let mut begun = 0;
        for machine in &mut machines {
            machine.handle_owed(0, Progress::first(T0.unix_ms), None);
            machine.ask_to_grow(&mut ration, now);
            begun += started(machine, now).len();
        }
        begun
    };
    let at_once: usize = (0..5).map(|_| begun_at(T0)).sum();
    assert_eq!(at_once, 400);
    let in_two_seconds: Vec<_> = (500..2500).step_by(10).map(|at_ms| begun_at(ms(at_ms))).collect();
    assert_eq!(in_two_seconds.iter().sum::<usize>(), 50);
    assert_eq!(in_two_seconds.iter().max(), Some(&1));
}

/// A turn far ahead is of no use to one whose attempts time out before.
#[test]
fn a_turn_comes_within_half_the_time_out_and_is_forgotten_with_a_success() {
    let mut ration = GrowthRation::default();
    for _ in 0..1000 {
        ration.next_turn(T0, u64::MAX);
    }
    let mut machine = machine(DeliveryPolicy { timeout_ms: 4000, ..policy(7) });
    for payload in 0..20 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let first = started(&mut machine, T0);
    machine.ask_to_grow(&mut ration, ms(500));
    assert_eq!(machine.next_wakeup(ms(500)), Some(Duration::from_secs(2)));
    machine.ask_to_grow(&mut ration, ms(1000));
    assert_eq!(machine.next_wakeup(ms(1000)), Some(Duration::from_millis(1500)), "asked once");
    assert_eq!(started(&mut machine, ms(2499)).len(), 0);
    assert_eq!(started(&mut machine, ms(2500)).len(), 1);
    machine.ask_to_grow(&mut ration, ms(3000));
    machine.handle_outcome(first[0].1, Outcome::Delivered, ms(3100), &mut rng());
    assert_eq!(started(&mut machine, ms(3100)).len(), 2);
    assert_eq!(machine.next_wakeup(ms(3100)), Some(Duration::from_millis(500)));
}

#[test]
fn fresh_and_retried_take_turns() {
    let mut machine = warm(policy(6));
    let retried = Progress { attempt_number: 2, schedule_step: 1, owed_since_ms: T0.unix_ms };
    for payload in 0..3 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
        machine.handle_owed(100 + payload, retried, None);
    }
    let order: Vec<u32> = started(&mut machine, T0).into_iter().map(|b| b.0).collect();
    assert_eq!(order, [0, 100, 1, 101, 2, 102]);
}

#[test]
fn a_failure_waits_by_schedule_and_the_last_is_dead() {
    let retry = RetryPolicy { schedule_seconds: vec![10], max_age_seconds: 1000 };
    let mut machine = machine(DeliveryPolicy { retry, ..policy(1) });
    machine.handle_owed(7, Progress::first(T0.unix_ms), None);
    let (_, slot) = started(&mut machine, T0)[0];
    let verdict =
        machine.handle_outcome(slot, failed(FailureClass::Timeout), T0, &mut rng()).expect("in flight");
    let Fate::Retry { due_ms, progress } = verdict.fate else { panic!("{:?}", verdict.fate) };
    assert!((8_000..=12_000).contains(&(due_ms - T0.unix_ms)));
    assert_eq!((progress.attempt_number, progress.schedule_step), (2, 1));
    assert_eq!(machine.held(), 0);

    machine.handle_owed(7, progress, None);
    let Some(Step::Start { slot, attempt_number: 2 }) = machine.next_step(ms(12_000)) else {
        panic!("attempt 2")
    };
    let verdict =
        machine.handle_outcome(slot, failed(FailureClass::Reset), ms(12_000), &mut rng()).expect("in flight");
    assert_eq!(verdict.fate, Fate::Dead { reason: reason::EXHAUSTED });
}

#[test]
fn the_gate_holds_everything_back_and_probes_once() {
    let mut machine = warm(policy(8));
    for payload in 0..20 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let begun = started(&mut machine, T0);
    assert_eq!(begun.len(), 8);
    let mut shut = 0;
    for (_, slot) in begun {
        let verdict =
            machine.handle_outcome(slot, failed(FailureClass::Connect), T0, &mut rng()).expect("in flight");
        shut += u32::from(verdict.news == WebhookNews::GateShut(Duration::from_secs(1)));
    }
    assert_eq!(shut, 1);
    assert_eq!(machine.next_step(ms(999)), None);
    assert_eq!(machine.next_wakeup(ms(400)), Some(Duration::from_millis(600)));
    let probe = started(&mut machine, ms(1000));
    assert_eq!(probe.len(), 1, "one real delivery probes");
    assert_eq!(machine.next_wakeup(ms(1000)), None, "the probe's outcome is what wakes");
    let verdict =
        machine.handle_outcome(probe[0].1, Outcome::Delivered, ms(1100), &mut rng()).expect("in flight");
    assert_eq!(verdict.news, WebhookNews::GateOpened);
    // Ramps up: two at first, then one more for each success.
    let begun = started(&mut machine, ms(1100));
    assert_eq!(begun.len(), 2);
    machine.handle_outcome(begun[0].1, Outcome::Delivered, ms(1200), &mut rng());
    assert_eq!(started(&mut machine, ms(1200)).len(), 2);
}

#[test]
fn what_hangs_since_before_the_gate_shut_leaves_room_after_it_opens() {
    let mut machine = warm(policy(8));
    for payload in 0..20 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    // Three of eight never end.
    for (_, slot) in started(&mut machine, T0).into_iter().take(5) {
        machine.handle_outcome(slot, failed(FailureClass::Connect), T0, &mut rng()).expect("in flight");
    }
    let probe = started(&mut machine, ms(1000));
    assert_eq!((probe.len(), machine.in_flight()), (1, 4));
    machine.handle_outcome(probe[0].1, Outcome::Delivered, ms(1100), &mut rng()).expect("in flight");
    assert_eq!(started(&mut machine, ms(1100)).len(), 2, "as many as with nothing in flight");
}

/// A probe that is still under way when its gate was opened by another attempt is none of the next shutting.
#[test]
fn a_former_probe_does_not_answer_for_the_present_one() {
    let mut machine = warm(policy(6));
    for payload in 0..20 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let fail = |machine: &mut Machine<u32>, slot, now| {
        machine.handle_outcome(slot, failed(FailureClass::Connect), now, &mut rng()).expect("in flight");
    };
    let first = started(&mut machine, T0);
    first.iter().take(5).for_each(|(_, slot)| fail(&mut machine, *slot, T0));
    let former = started(&mut machine, ms(1000))[0].1;
    let straggler = first[5].1;
    machine.handle_outcome(straggler, Outcome::Delivered, ms(1001), &mut rng()).expect("in flight");
    for _ in 0..5 {
        let (_, slot) = started(&mut machine, ms(1002))[0];
        fail(&mut machine, slot, ms(1002));
    }
    assert_eq!(started(&mut machine, ms(2002)).len(), 1, "the probe of the second shutting");
    fail(&mut machine, former, ms(2003));
    assert!(matches!(machine.gate().state(), GateState::Probing { .. }));
}

#[test]
fn a_waiting_gate_uses_up_no_attempt() {
    let mut machine = machine(policy(1));
    machine.handle_owed(0, Progress::first(T0.unix_ms), None);
    let (_, slot) = started(&mut machine, T0)[0];
    let hint =
        Outcome::Retryable { class: FailureClass::Throttled, not_before: Some(Duration::from_secs(60)) };
    machine.handle_outcome(slot, hint, T0, &mut rng());
    machine.handle_owed(1, Progress::first(T0.unix_ms), None);
    assert_eq!(machine.next_step(ms(59_999)), None);
    assert!(matches!(machine.next_step(ms(60_000)), Some(Step::Start { attempt_number: 1, .. })));
}

#[test]
fn gone_kills_the_delivery_and_tells_of_the_webhook() {
    let mut machine = machine(policy(1));
    machine.handle_owed(0, Progress::first(T0.unix_ms), None);
    let (_, slot) = started(&mut machine, T0)[0];
    let gone = Outcome::Permanent { class: FailureClass::Gone };
    let verdict = machine.handle_outcome(slot, gone, T0, &mut rng()).expect("in flight");
    assert_eq!((verdict.fate, verdict.news), (Fate::Dead { reason: reason::GONE }, WebhookNews::Gone));
}

#[test]
fn our_own_faults_do_not_shut_the_gate() {
    let mut machine = machine(policy(1));
    for payload in 0..10 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
        let (_, slot) = started(&mut machine, T0)[0];
        machine.handle_outcome(slot, failed(FailureClass::Render), T0, &mut rng());
    }
    assert_eq!(machine.gate().state(), GateState::Open { failures: 0 });
}

#[test]
fn five_days_without_a_success_disable() {
    let mut machine = machine(policy(1));
    let five_days = GatePolicy::default().disable_after;
    let mut news = Vec::new();
    for wait in [Duration::ZERO, five_days - Duration::from_millis(1), five_days] {
        let now = T0.after(wait);
        machine.handle_owed(0, Progress::first(now.unix_ms), None);
        let (_, slot) = started(&mut machine, now)[0];
        let verdict =
            machine.handle_outcome(slot, failed(FailureClass::Status), now, &mut rng()).expect("in flight");
        news.push(verdict.news);
    }
    assert_eq!(news, [WebhookNews::None, WebhookNews::None, WebhookNews::FailingTooLong]);
}

#[test]
fn paused_begins_nothing_and_goes_on_after() {
    let mut machine = machine(policy(4));
    machine.handle_owed(0, Progress::first(T0.unix_ms), None);
    machine.set_paused(true);
    assert_eq!((machine.next_step(T0), machine.next_wakeup(T0)), (None, None));
    machine.set_paused(false);
    assert_eq!(started(&mut machine, T0).len(), 1);
}

#[test]
fn too_old_is_expired_before_it_is_attempted() {
    let mut machine = machine(policy(1));
    machine.handle_owed(3, Progress::first(T0.unix_ms - 432_000_001), None);
    let Some(Step::Expire { slot }) = machine.next_step(T0) else { panic!("must expire") };
    assert_eq!(machine.expire(slot).map(|e| e.payload), Some(3));
    assert_eq!(machine.held(), 0);
}

#[test]
fn the_limiter_survives_sleep() {
    let limited = DeliveryPolicy { rate_limit: Some(RateLimit { per_second: 1.0, burst: 1 }), ..policy(4) };
    let mut machine = machine(limited.clone());
    for payload in 0..2 {
        machine.handle_owed(payload, Progress::first(T0.unix_ms), None);
    }
    let begun = started(&mut machine, T0);
    assert_eq!(begun.len(), 1);
    assert_eq!(machine.next_wakeup(T0), Some(Duration::from_secs(1)));
    let mut again = Machine::new(limited, GatePolicy::default(), machine.into_memory(), ms(500));
    again.handle_owed(1, Progress::first(T0.unix_ms), None);
    assert_eq!(again.next_step(ms(500)), None);
    assert_eq!(started(&mut again, ms(1000)).len(), 1);
}

fn keyed(seq: u64, row_due_ms: Option<u64>) -> Option<KeyPlace> {
    let id = crate::delivery::DeliveryKey { seq: crate::Seq(seq), part: 0 };
    Some(KeyPlace { key: 1, id, row_due_ms, at_ms: 0, read_no: 0 })
}

#[test]
fn of_one_key_one_is_in_flight_and_a_failed_one_holds_the_rest() {
    let mut machine = machine(policy(8));
    for seq in 0..3 {
        machine.handle_owed(seq, Progress::first(T0.unix_ms), keyed(seq.into(), None));
    }
    machine.handle_owed(9, Progress::first(T0.unix_ms), None);
    let begun = started(&mut machine, T0);
    assert_eq!(begun.iter().map(|b| b.0).collect::<Vec<_>>(), [0, 9], "D5");
    let verdict =
        machine.handle_outcome(begun[0].1, failed(FailureClass::Status), T0, &mut rng()).expect("in flight");
    let Fate::Retry { due_ms, progress } = verdict.fate else { panic!("{:?}", verdict.fate) };
    assert_eq!(
        verdict.behind.iter().map(|b| (b.payload, b.progress.attempt_number)).collect::<Vec<_>>(),
        [(1, 1), (2, 1)]
    );
    assert_eq!(
        machine.handle_owed(3, Progress::first(T0.unix_ms), keyed(3, None)),
        Taken::Back { leaving: Leaving { payload: 3, progress: Progress::first(T0.unix_ms) }, due_ms }
    );
    machine.handle_owed(0, progress, keyed(0, Some(due_ms)));
    for seq in 1..4 {
        machine.handle_owed(seq, Progress::first(T0.unix_ms), keyed(seq.into(), Some(due_ms)));
    }
    let mut order = Vec::new();
    while let Some((payload, slot)) = started(&mut machine, ms(7000)).pop() {
        order.push(payload);
        machine.handle_outcome(slot, Outcome::Delivered, ms(7000), &mut rng());
    }
    assert_eq!(order, [0, 1, 2, 3]);
    assert_eq!((machine.keys(), machine.in_flight()), (0, 1));
}

#[derive(Clone, Debug)]
enum Act {
    Owe,
    Step,
    End(u8),
    Wait(u32),
    Pause(bool),
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        3 => Just(Act::Owe),
        4 => Just(Act::Step),
        4 => any::<u8>().prop_map(Act::End),
        1 => (0_u32..400_000).prop_map(Act::Wait),
        1 => any::<bool>().prop_map(Act::Pause),
    ];
    proptest::collection::vec(act, 1..300)
}

proptest! {
    /// D7, and each delivery ends exactly once: it is ready, in flight, or has had its one verdict, never two of them.
    #[test]
    fn a_delivery_is_in_one_place(acts in acts(), max_in_flight in 1_u16..5) {
        let mut machine = machine(policy(max_in_flight));
        let mut rng = rng();
        let (mut now, mut next, mut paused) = (T0, 0_u32, false);
        let mut flying: Vec<(u32, Slot)> = Vec::new();
        let mut ended = std::collections::HashSet::new();
        for act in acts {
            match act {
                Act::Owe => {
                    machine.handle_owed(next, Progress::first(now.unix_ms), None);
                    next += 1;
                }
                Act::Step => match machine.next_step(now) {
                    Some(Step::Start { slot, .. }) => {
                        prop_assert!(!paused);
                        let payload = *machine.payload(slot).expect("payload");
                        prop_assert!(!ended.contains(&payload), "D2");
                        flying.push((payload, slot));
                        prop_assert!(flying.len() <= usize::from(max_in_flight), "D7");
                    }
                    Some(Step::Expire { slot }) => {
                        let payload = machine.expire(slot).expect("expired is there").payload;
                        prop_assert!(ended.insert(payload));
                    }
                    None => {}
                },
                Act::End(how) if !flying.is_empty() => {
                    let (payload, slot) = flying.remove(usize::from(how) % flying.len());
                    let outcome = match how % 4 {
                        0 => failed(FailureClass::Status),
                        1 => failed(FailureClass::Internal),
                        _ => Outcome::Delivered,
                    };
                    let verdict = machine.handle_outcome(slot, outcome, now, &mut rng).expect("in flight");
                    prop_assert_eq!(verdict.payload, payload);
                    prop_assert!(ended.insert(payload));
                }
                Act::End(_) => {}
                Act::Wait(wait) => now = now.after(Duration::from_millis(wait.into())),
                Act::Pause(is_paused) => {
                    paused = is_paused;
                    machine.set_paused(paused);
                }
            }
            prop_assert_eq!(machine.in_flight(), flying.len());
            prop_assert_eq!(machine.held() + ended.len(), next as usize);
        }
    }
}
