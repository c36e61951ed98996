//! Test suites live in `golden/`, `e2e/`; this library is empty.
