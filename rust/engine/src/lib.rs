//! The sans-IO data plane: sessions, grants, routing, queues, delivery windows and acks.
