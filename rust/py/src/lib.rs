//! The Python extension module edgehub._core.
