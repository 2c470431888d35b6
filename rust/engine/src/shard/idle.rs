//! Buffers that a burst left behind go back to the system when nobody needs them any more.

use edgehub_pool::TRIM_STEP_MS;

use super::Shard;
use crate::mailbox::Mail;

impl Shard {
    /// Bytes of buffers that hold nothing and are kept for their next use. Zero some seconds after the last
    /// message, however much came before.
    pub fn kept_bytes(&self) -> usize {
        self.pool.free_bytes() + self.ingress.kept_bytes() + self.acks.kept_bytes()
    }

    /// Frees a part of what was not used since the last step, when the next one is due.
    pub(super) fn release_unused(&mut self) {
        let now = self.now.mono;
        if now < self.release_at {
            return;
        }
        self.release_at = now.plus_ms(TRIM_STEP_MS);
        let mut freed = self.pool.trim(now);
        if !self.ingress.take_used() {
            freed += self.ingress.release() + self.acks.release();
            self.mail = Mail::default();
            self.scratch = Vec::new();
            if let Some(mailbox) = self.hub.mailboxes.get(self.index) {
                mailbox.release();
            }
        }
        self.hub.reclaim.tell(self.index, self.kept_bytes(), freed);
    }
}
