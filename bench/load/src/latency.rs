//! Latency histogram and what is reported of it.

use hdrhistogram::Histogram;
use serde_json::{Value, json};

/// Longest latency told apart; a longer one counts as this.
const LATENCY_NS_MAX: u64 = 120_000_000_000;
const SIGNIFICANT_DIGITS: u8 = 3;

/// Latencies in ns, with three significant digits.
#[derive(Debug)]
pub struct Latencies(Histogram<u64>);

/// Percentiles in microseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LatencySummary {
    /// Messages measured.
    pub count: u64,
    /// Mean.
    pub mean_us: f64,
    /// Median.
    pub p50_us: f64,
    /// Percentile 90.
    pub p90_us: f64,
    /// Percentile 99.
    pub p99_us: f64,
    /// Percentile 99.9.
    pub p999_us: f64,
    /// Longest.
    pub max_us: f64,
}

impl Latencies {
    /// An empty histogram.
    ///
    /// # Errors
    /// Never in practice: the bounds are constants that the histogram accepts.
    pub fn new() -> Result<Self, hdrhistogram::CreationError> {
        Ok(Self(Histogram::new_with_bounds(1, LATENCY_NS_MAX, SIGNIFICANT_DIGITS)?))
    }

    /// Counts one message.
    #[inline]
    pub fn record(&mut self, latency_ns: u64) {
        self.0.saturating_record(latency_ns);
    }

    /// Forgets all; for the end of the warm-up.
    pub fn clear(&mut self) {
        self.0.reset();
    }

    /// Summary; `None` when nothing was recorded.
    pub fn summary(&self) -> Option<LatencySummary> {
        let us = |ns: u64| ns as f64 / 1e3;
        let percentile = |p| us(self.0.value_at_quantile(p));
        (!self.0.is_empty()).then(|| LatencySummary {
            count: self.0.len(),
            mean_us: self.0.mean() / 1e3,
            p50_us: percentile(0.5),
            p90_us: percentile(0.9),
            p99_us: percentile(0.99),
            p999_us: percentile(0.999),
            max_us: us(self.0.max()),
        })
    }
}

impl LatencySummary {
    /// For the result file.
    pub fn to_json(self) -> Value {
        json!({
            "count": self.count, "mean": self.mean_us, "p50": self.p50_us, "p90": self.p90_us, "p99": self.p99_us,
            "p999": self.p999_us, "max": self.max_us,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn near(value: f64, expected: f64) -> bool {
        (value - expected).abs() <= expected * 0.002
    }

    #[test]
    fn percentiles_are_those_of_the_values() {
        let mut latencies = Latencies::new().unwrap();
        (1..=10_000).for_each(|us| latencies.record(us * 1000));
        let got = latencies.summary().unwrap();
        assert_eq!(got.count, 10_000);
        for (value, expected) in [
            (got.mean_us, 5000.5),
            (got.p50_us, 5000.0),
            (got.p90_us, 9000.0),
            (got.p99_us, 9900.0),
            (got.p999_us, 9990.0),
            (got.max_us, 10_000.0),
        ] {
            assert!(near(value, expected), "{value} is not {expected}");
        }
    }

    #[test]
    fn nothing_recorded_is_no_summary() {
        let mut latencies = Latencies::new().unwrap();
        assert_eq!(latencies.summary(), None);
        latencies.record(5);
        latencies.clear();
        assert_eq!(latencies.summary(), None);
    }

    #[test]
    fn what_is_out_of_range_is_counted_at_the_end() {
        let mut latencies = Latencies::new().unwrap();
        latencies.record(0);
        latencies.record(u64::MAX);
        let got = latencies.summary().unwrap();
        assert_eq!(got.count, 2);
        assert!(near(got.max_us, LATENCY_NS_MAX as f64 / 1e3));
    }
}
