//! Event bytes to payload bytes: the ingest envelope, DEFAULT and Z_API.
