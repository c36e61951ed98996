//! Durable events, deliveries, attempts and configuration in one directory (LMDB).
