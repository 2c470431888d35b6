//! Pooled byte buffers with a byte cap.
