//! Times every scenario: `cargo bench -p edgehub-bench-router`.
#![allow(missing_docs, reason = "the macros of criterion document nothing")]

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};
use edgehub_bench_router::SCENARIOS;

fn scenarios(criterion: &mut Criterion) {
    for scenario in &SCENARIOS {
        let mut prepared = scenario.prepare();
        criterion.bench_function(scenario.name, |bencher| {
            bencher.iter_custom(|steps| {
                let start = now();
                prepared.run(steps);
                start.elapsed()
            });
        });
    }
}

#[allow(clippy::disallowed_methods, reason = "a measurement reads the clock")]
fn now() -> std::time::Instant {
    std::time::Instant::now()
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
