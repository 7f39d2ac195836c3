//! Two boxes with one serial number.

use std::net::{IpAddr, Ipv4Addr};

use proptest::prelude::*;

use super::*;
use crate::registry::clone::ALIVE;

fn proof(key: u8) -> Proof {
    let moment = Timestamp::from_micros(i64::from(key));
    Proof {
        key: [key; 32],
        address: IpAddr::V4(Ipv4Addr::new(192, 0, 2, key)),
        certificate: "01".into(),
        valid_from: moment,
        valid_until: moment,
    }
}

impl Register {
    /// The device calls with this key; the reason if it is refused.
    fn calls(&mut self, key: u8) -> Option<Reason> {
        self.proof = Some(proof(key));
        let planned = self.plan(Action::Register(registration("a")));
        self.proof = None;
        match planned {
            Ok(planned) => planned.refused.map(|refusal| refusal.reason).or(planned.answer.reason),
            Err(refusal) => Some(refusal.reason),
        }
    }

    fn passes(&mut self, time: std::time::Duration) {
        self.now += i64::try_from(time.as_secs()).unwrap();
    }

    fn keys(&self) -> Vec<(u8, KeyState)> {
        self.state.device_keys.iter().map(|(_, key)| (key.key[0], key.state)).collect()
    }
}

#[test]
fn a_second_key_is_held_while_the_first_is_alive_and_an_admin_picks() {
    let mut register = Register::empty();
    assert_eq!(register.calls(1), None);
    assert_eq!(register.calls(1), None);
    assert_eq!(register.keys(), []);
    let before = register.values();
    assert_eq!(register.calls(2), Some(Reason::CloneSuspected));
    assert_eq!(register.values().1, before.1);
    assert_eq!(register.keys(), [(1, KeyState::Accepted), (2, KeyState::Held)]);
    // Neither waiting nor the silence of the first lets it in.
    register.passes(ALIVE * 2);
    assert_eq!(register.calls(2), Some(Reason::CloneSuspected));
    assert_eq!(register.calls(1), None);
    let resolve = |key: u8| Action::ResolveClone { serial: serial(), key: [key; 32] };
    assert_eq!(register.refused(resolve(3)), Reason::CloneKeyUnknown);
    assert_eq!(register.answer(resolve(2)).outcome, Outcome::Updated);
    assert_eq!(register.answer(resolve(2)).outcome, Outcome::Unchanged);
    assert_eq!((register.calls(2), register.calls(1)), (None, Some(Reason::KeyBanned)));
    // The admin picked the wrong one, and picks again.
    assert_eq!(register.answer(resolve(1)).outcome, Outcome::Updated);
    assert_eq!((register.calls(1), register.calls(2)), (None, Some(Reason::KeyBanned)));
}

#[test]
fn a_new_key_after_a_silence_is_taken_over_visibly() {
    let mut register = Register::empty();
    register.calls(1);
    register.passes(ALIVE + std::time::Duration::from_secs(1));
    assert_eq!(register.calls(2), Some(Reason::KeyChanged));
    assert_eq!(register.calls(2), None);
    assert_eq!(register.device().key_hash, Some([2; 32]));
}

#[test]
fn the_first_key_of_a_device_that_relays_spoke_for_is_its_key() {
    let mut register = Register::with("a");
    assert_eq!(register.device().key_hash, None);
    assert_eq!(register.calls(1), None);
    assert_eq!(register.device().key_hash, Some([1; 32]));
    register.register("a");
    assert_eq!(register.calls(2), Some(Reason::CloneSuspected));
}

proptest! {
    #[test]
    fn of_two_keys_only_the_one_of_the_device_ever_changes_it(calls in prop::collection::vec((1_u8..4, 0_u64..3), 1..20)) {
        let mut register = Register::empty();
        for (key, hours) in calls {
            register.passes(std::time::Duration::from_secs(hours * 3_600));
            let before = register.values();
            let refused = register.calls(key);
            if refused == Some(Reason::CloneSuspected) {
                prop_assert_eq!(&register.values().1, &before.1);
            } else {
                prop_assert_eq!(register.device().key_hash, Some([key; 32]));
            }
            let held = register.keys().iter().any(|(_, state)| *state == KeyState::Held);
            prop_assert_eq!(register.device().disputed, held);
        }
    }
}
