//! Signature headers of a delivery and the check a receiver makes.
