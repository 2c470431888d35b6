use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

fn table(window: u16) -> InFlight<u32> {
    InFlight::new(NonZeroU16::new(window).unwrap())
}

fn id(value: u16) -> PacketId {
    PacketId::new(value).unwrap()
}

#[test]
fn full_window_hands_the_value_back() {
    let mut inflight = table(2);
    inflight.insert(10).unwrap();
    inflight.insert(11).unwrap();
    assert_eq!(inflight.room(), 0);
    assert_eq!(inflight.insert(12), Err(WindowFull { value: 12, window: 2 }));
    assert_eq!(inflight.len(), 2);
}

#[test]
fn ids_count_up_and_wrap_when_acks_are_in_order() {
    for window in [1, 3, 100, u16::MAX] {
        let mut inflight = table(window);
        let ids_per_cycle = u16::MAX / window * window;
        for step in 0..200_000_u32 {
            let given = inflight.insert(step).unwrap();
            assert_eq!(u32::from(given.get()), step % u32::from(ids_per_cycle) + 1, "window {window}");
            assert_eq!(inflight.ack(given), Some(step));
        }
    }
}

#[test]
fn a_message_that_is_never_acked_keeps_its_id() {
    let mut inflight = table(10);
    let stuck = inflight.insert(0).unwrap();
    for step in 1..200_000 {
        let given = inflight.insert(step).unwrap();
        assert_ne!(given, stuck);
        assert_eq!(inflight.ack(given), Some(step));
    }
    assert_eq!(inflight.oldest(), Some((stuck, &0)));
}

#[test]
fn an_id_rests_before_it_is_used_again() {
    let mut inflight = table(100);
    let mut recent = std::collections::VecDeque::new();
    for step in 0..100_000 {
        let given = inflight.insert(step).unwrap();
        assert!(!recent.contains(&given), "{given} again at step {step}");
        recent.push_back(given);
        if recent.len() > 1000 {
            recent.pop_front();
        }
        inflight.ack(given).unwrap();
    }
}

#[test]
fn unknown_and_repeated_acks_are_none() {
    let mut inflight = table(4);
    assert_eq!(inflight.ack(id(1)), None);
    let first = inflight.insert(1).unwrap();
    assert_eq!(inflight.ack(id(first.get() + 4)), None, "same slot, other round");
    assert_eq!(inflight.ack(id(u16::MAX)), None);
    assert_eq!(inflight.get(first), Some(&1));
    assert_eq!(inflight.ack(first), Some(1));
    assert_eq!(inflight.ack(first), None);
    assert_eq!(inflight.get(first), None);
}

#[test]
fn order_of_sending_survives_acks_in_any_order() {
    let mut inflight = table(5);
    let ids: Vec<_> = (0..5).map(|v| inflight.insert(v).unwrap()).collect();
    inflight.ack(ids[2]).unwrap();
    inflight.ack(ids[0]).unwrap();
    inflight.insert(5).unwrap();
    *inflight.get_mut(ids[3]).unwrap() = 33;
    let values: Vec<_> = inflight.iter().map(|(_, v)| *v).collect();
    assert_eq!(values, [1, 33, 4, 5]);
    assert_eq!(inflight.iter().len(), 4);
}

#[test]
fn drain_empties_even_when_dropped_early() {
    let mut inflight = table(4);
    for value in 0..4 {
        inflight.insert(value).unwrap();
    }
    assert_eq!(inflight.drain().map(|(_, v)| v).take(2).collect::<Vec<_>>(), [0, 1]);
    assert!(inflight.is_empty());
    assert_eq!(inflight.iter().next(), None);
    inflight.insert(9).unwrap();
    assert_eq!(inflight.drain().map(|(_, v)| v).collect::<Vec<_>>(), [9]);
}

#[test]
fn memory_follows_use_and_can_be_given_back() {
    let mut inflight = table(u16::MAX);
    assert_eq!(inflight.slots.capacity(), 0);
    let given = inflight.insert(1).unwrap();
    assert!(inflight.slots.capacity() <= 8);
    inflight.release_memory();
    assert_eq!(inflight.ack(given), Some(1), "nothing is released while a message is in flight");
    inflight.release_memory();
    assert_eq!(inflight.slots.capacity(), 0);
    assert!(inflight.insert(2).is_ok());
}

#[derive(Debug, Clone)]
enum Step {
    Insert,
    AckNth(usize),
    AckId(u16),
    Drain,
    Release,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => Just(Step::Insert),
        4 => any::<usize>().prop_map(Step::AckNth),
        2 => (1..=u16::MAX).prop_map(Step::AckId),
        1 => Just(Step::Release),
        1 => Just(Step::Drain),
    ]
}

proptest! {
    /// The table against a plain list, from any starting round.
    #[test]
    fn agrees_with_a_list(window in 1_u16..40, warm in 0_u32..70_000, steps in prop::collection::vec(step(), 0..200)) {
        let mut inflight = table(window);
        for value in 0..warm {
            let given = inflight.insert(value).unwrap();
            inflight.ack(given).unwrap();
        }
        let mut model: Vec<(PacketId, u32)> = Vec::new();
        for (value, step) in (warm..).zip(steps) {
            match step {
                Step::Insert if model.len() == usize::from(window) => prop_assert!(inflight.insert(value).is_err()),
                Step::Insert => model.push((inflight.insert(value).unwrap(), value)),
                Step::AckNth(_) if model.is_empty() => {}
                Step::AckNth(nth) => {
                    let (given, value) = model.remove(nth % model.len());
                    prop_assert_eq!(inflight.ack(given), Some(value));
                }
                Step::AckId(raw) => {
                    let at = model.iter().position(|(given, _)| given.get() == raw);
                    prop_assert_eq!(inflight.ack(id(raw)), at.map(|at| model.remove(at).1));
                }
                Step::Drain => prop_assert_eq!(inflight.drain().collect::<Vec<_>>(), std::mem::take(&mut model)),
                Step::Release => inflight.release_memory(),
            }
            let seen: Vec<_> = inflight.iter().map(|(given, value)| (given, *value)).collect();
            prop_assert_eq!(&seen, &model);
            prop_assert_eq!(seen.iter().map(|(given, _)| given).collect::<HashSet<_>>().len(), seen.len());
            prop_assert!(inflight.slots.len() <= usize::from(window));
        }
    }
}
