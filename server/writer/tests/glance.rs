//! What is answered without the writer.

use super::*;

fn sync(number: u8, vdoms: &str) -> Command {
    Action::Sync(Sync {
        serial: serial(number),
        info: DeviceInfo::default(),
        full_list: Some(names(vdoms)),
        base_generation: None,
        digest: None,
        confirm_token: None,
        ha: None,
    })
    .into()
}

fn delete(number: u8) -> Command {
    Action::Delete(Deletion { serial: serial(number), target: Target::WholeDevice, epoch: None }).into()
}

async fn done(bench: &mut Bench, commands: &[Command]) {
    bench.batch(commands).await.into_iter().for_each(|answer| drop(answer.unwrap()));
}

fn is_settled(pending: &Result<Pending, Refusal>) -> bool {
    matches!(pending, Ok(Pending::Settled(_)))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::with_cases(24) })]

    #[test]
    fn what_is_answered_at_a_glance_is_what_the_writer_answers(commands in prop::collection::vec(command(), 1..24)) {
        let (glancing, queueing) = block_on(async {
            let (mut glancing, mut queueing) = (Bench::new().await, Bench::queueing().await);
            let mut answers = (Vec::new(), Vec::new());
            for command in &commands {
                answers.0.extend(glancing.batch(std::slice::from_ref(command)).await);
                answers.1.extend(queueing.batch(std::slice::from_ref(command)).await);
            }
            (
                (answers.0, glancing.content().await, glancing.events().await),
                (answers.1, queueing.content().await, queueing.events().await),
            )
        });
        prop_assert_eq!(glancing, queueing);
    }
}

#[tokio::test]
async fn a_report_that_changes_nothing_does_not_wait_for_the_writer() {
    let mut bench = Bench::new().await;
    done(&mut bench, &[register(1, "a"), sync(1, "root a")]).await;
    assert!(is_settled(&bench.submit(sync(1, "a root"))));
    // One that changes something does, and so does the next one until that is done.
    assert!(!is_settled(&bench.submit(sync(1, "root a b"))));
    done(&mut bench, &[sync(1, "root a b")]).await;
    assert!(is_settled(&bench.submit(sync(1, "root a b"))));
}

#[tokio::test]
async fn whoever_is_unknown_deleted_or_only_asks_what_would_happen_waits_for_the_writer() {
    let mut bench = Bench::new().await;
    assert!(!is_settled(&bench.submit(sync(1, "root"))));
    done(&mut bench, &[sync(1, "root"), register(2, "")]).await;
    let rehearsal = Options { validate_only: true, plan: None };
    assert!(!is_settled(&bench.submit(Command { options: rehearsal, ..sync(1, "root") })));
    assert!(is_settled(&bench.submit(register(1, ""))));
    done(&mut bench, &[delete(1)]).await;
    assert!(!is_settled(&bench.submit(sync(1, "root"))));
    assert!(!is_settled(&bench.submit(register(1, ""))));
    assert!(is_settled(&bench.submit(sync(2, "root"))));
}

#[tokio::test]
async fn held_removals_are_withdrawn_by_a_report_that_has_them_again() {
    let mut bench = Bench::new().await;
    done(&mut bench, &[register(1, "a b c"), sync(1, "root")]).await;
    let again = bench.submit(sync(1, "root a b c"));
    assert!(!is_settled(&again), "the writer has removals to withdraw");
    again.unwrap().answer().await.unwrap();
    // Were it still held, it would not be new.
    let removed = bench.submit(sync(1, "root")).unwrap().answer().await.unwrap();
    assert!(removed.held.is_some_and(|held| held.is_new));
}

#[tokio::test]
async fn a_device_that_was_answered_at_a_glance_was_seen() {
    let mut bench = Bench::new().await;
    let task = bench.task.take().unwrap();
    let running = tokio::spawn(task.run());
    done(&mut bench, &[register(1, ""), sync(1, "root")]).await;
    // Nobody but the next report tells that it called.
    assert_eq!(bench.writer.glance.seen.take(10).len(), 1);
    bench.sql("UPDATE device SET last_seen_at = 1").await;
    assert!(is_settled(&bench.submit(sync(1, "root"))));
    assert_eq!(bench.last_seen(running).await, NOW.micros());
}
