//! Waiting for what must happen, by conditions.

use std::time::Duration;

/// How long anything may take before a test gives up: far longer than it takes on a busy machine.
const PATIENCE: Duration = Duration::from_mins(1);

/// Waits for something that must happen.
pub async fn within<F: Future>(future: F) -> F::Output {
    tokio::time::timeout(PATIENCE, future).await.expect("this should have happened long ago")
}

/// Asks again and again until there is an answer.
pub async fn eventually<T>(mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let mut again = tokio::time::interval(Duration::from_millis(20));
    within(async {
        loop {
            again.tick().await;
            if let Some(answer) = ask().await {
                return answer;
            }
        }
    })
    .await
}
