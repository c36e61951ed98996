//! HTTP face: management API, ingest, health; translates to engine commands and back.
