//! Persistent queues with a time to live over one shared journal.
