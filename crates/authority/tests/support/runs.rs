//! Runs of what a property is shown by.

use std::time::Duration;

/// Runs `case` on two threads; what it leaves behind has five seconds to end.
pub(crate) fn run<T>(case: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .expect("a runtime");
    let told = runtime.block_on(case);
    runtime.shutdown_timeout(Duration::from_secs(5));
    told
}
