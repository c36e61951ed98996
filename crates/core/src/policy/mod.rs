//! Pure rules of delivery.
