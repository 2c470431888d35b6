//! Reading many records with few calls.

/// Two records are read in one call when there is no more than this between them.
const GAP_BYTES: u64 = 16 << 10;

/// How many records, given as address and length in order, one read call of about `bytes_max` bytes covers, and where
/// it ends. It stays below `limit`, the end of the segment that the first lies in.
pub(crate) fn run(records: impl Iterator<Item = (u64, u32)>, limit: u64, bytes_max: u64) -> (usize, u64) {
    let (mut start, mut end, mut count) = (0, 0, 0);
    for (address, len) in records {
        let next_end = address + u64::from(len);
        if count == 0 {
            (start, end) = (address, address);
        }
        let near = address.saturating_sub(end) <= GAP_BYTES && next_end - start <= bytes_max;
        if count > 0 && (!near || next_end > limit) {
            break;
        }
        end = next_end;
        count += 1;
    }
    (count, end)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_lies_close_together_is_one_run() {
        let run = |records: &[(u64, u32)], limit, max| run(records.iter().copied(), limit, max);
        assert_eq!(run(&[(100, 10), (120, 10), (50_000, 10)], 1 << 20, 1 << 20), (2, 130));
        assert_eq!(run(&[(100, 10), (120, 10)], 125, 1 << 20), (1, 110));
        assert_eq!(run(&[(100, 10), (120, 10)], 1 << 20, 20), (1, 110));
        assert_eq!(run(&[(100, 1000)], 1 << 20, 20), (1, 1100), "one record in any case");
        assert_eq!(run(&[], 10, 10), (0, 0));
    }
}
