//! Times every scenario: `cargo bench -p edgehub-bench-router`.
//!
//! What is measured is the CPU time of the thread. The work is computation alone, so that on an idle
//! machine this is the time that passes; on a busy one it leaves out what others took.
#![allow(missing_docs, reason = "the macros of criterion document nothing")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use edgehub_bench_router::SCENARIOS;
use rustix::time::{ClockId, clock_gettime};

fn scenarios(criterion: &mut Criterion) {
    for scenario in &SCENARIOS {
        let mut prepared = scenario.prepare();
        criterion.bench_function(scenario.name, |bencher| {
            bencher.iter_custom(|steps| {
                let start = thread_cpu_time();
                prepared.run(steps);
                thread_cpu_time().saturating_sub(start)
            });
        });
    }
}

/// CPU time that this thread has used.
fn thread_cpu_time() -> Duration {
    let time = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), u32::try_from(time.tv_nsec).unwrap_or(0))
}

fn config() -> Criterion {
    Criterion::default()
        .warm_up_time(Duration::from_millis(500))
        .measurement_time(Duration::from_secs(2))
        .sample_size(50)
        .without_plots()
}

criterion_group! {
    name = router;
    config = config();
    targets = scenarios
}
criterion_main!(router);
