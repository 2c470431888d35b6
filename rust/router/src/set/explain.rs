//! Why a message goes where it goes.
