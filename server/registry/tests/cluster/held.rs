//! What a primary asked to remove, and left its cluster before that was decided.

use super::*;

#[test]
fn what_a_device_asked_before_it_left_is_removed_from_those_who_stay() {
    let mut register = Register::empty();
    register.joins(A, "a b c");
    register.joins(B, "");
    register.answer(sync(A, "a b c", HaRole::Primary, None, &[B]));
    register.answer(sync(B, "a b c", HaRole::Secondary, None, &[A]));
    let id = register.answer(sync(A, "", HaRole::Primary, Some(1), &[B])).held.unwrap().id;
    register.answer(Action::Delete(Deletion { serial: box_of(A), target: Target::WholeDevice, epoch: None }));
    assert_eq!(register.cluster().primary, box_of(B));
    let (left, generation) = (
        register.state.devices.get(&box_of(A)).unwrap().clone(),
        register.state.devices.get(&box_of(B)).unwrap().generation,
    );
    let planned = register.plan(Action::DecideHeld { id, serial: Some(box_of(A)), approve: true }).unwrap();
    assert_eq!(items(&planned.answer), "a Removed, b Removed, c Removed");
    assert!(planned.records.iter().any(|record| record.name == Name::Device(box_of(B))), "{:?}", planned.records);
    // The box that stays agrees with its short list from now on, and the one that went is as it was.
    let stays = register.state.devices.get(&box_of(B)).unwrap();
    assert_eq!((stays.generation, stays.digest), (generation + 1, digest(stays.info.texts(), [VdomName::ROOT])));
    assert_eq!(register.state.devices.get(&box_of(A)), Some(&left));
}
