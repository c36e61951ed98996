//! The actors: route, deliver, retry, dead-letter, drain.
