//! Whether what was delivered is what was appended.

use crate::BenchError;
use crate::payload::Payloads;

/// Follows the deliveries of all endpoints: every message, once, in order, unchanged.
#[derive(Debug)]
pub struct Checker<'a> {
    payloads: &'a Payloads,
    next: Vec<u64>,
    /// The first thing that was wrong.
    wrong: Option<BenchError>,
}

impl<'a> Checker<'a> {
    /// Nothing delivered yet.
    pub fn new(payloads: &'a Payloads, endpoints: usize) -> Self {
        Self { payloads, next: vec![0; endpoints], wrong: None }
    }

    /// Takes note of a delivery.
    #[inline]
    pub fn delivered(&mut self, endpoint: usize, body: &[u8]) {
        let Some(next) = self.next.get_mut(endpoint) else { return };
        if !self.payloads.is(*next, body) && self.wrong.is_none() {
            let problem = format!("delivery {next} is not message {next}");
            self.wrong = Some(BenchError::WrongDelivery { endpoint, problem });
        }
        *next += 1;
    }

    /// Deliveries to an endpoint so far.
    pub fn count(&self, endpoint: usize) -> u64 {
        self.next.get(endpoint).copied().unwrap_or_default()
    }

    /// # Errors
    /// [`BenchError::WrongDelivery`] unless each endpoint got exactly the messages `0..appended`.
    pub fn finish(self, appended: u64) -> Result<(), BenchError> {
        if let Some(wrong) = self.wrong {
            return Err(wrong);
        }
        match self.next.iter().position(|count| *count != appended) {
            None => Ok(()),
            Some(endpoint) => {
                let problem = format!("{} messages of {appended} delivered", self.next[endpoint]);
                Err(BenchError::WrongDelivery { endpoint, problem })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(deliveries: &[u64], appended: u64) -> Result<(), BenchError> {
        let payloads = Payloads::new(20);
        let mut checker = Checker::new(&payloads, 1);
        for number in deliveries {
            let mut body = Vec::new();
            payloads.write(*number, &mut body);
            checker.delivered(0, &body);
        }
        checker.finish(appended)
    }

    #[test]
    fn all_in_order_is_right() {
        after(&[0, 1, 2], 3).unwrap();
    }

    #[test]
    fn loss_disorder_and_duplicates_are_told() {
        for wrong in [&[0, 1][..], &[0, 2, 1], &[0, 0, 1], &[0, 1, 2, 3]] {
            assert!(after(wrong, 3).is_err(), "{wrong:?}");
        }
    }
}
