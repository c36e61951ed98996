//! The promises about deliveries, with the short ids that the checker, asserts and docs share.
//!
//! | id | promise |
//! | --- | --- |
//! | D1 | an accepted event is delivered, skipped with a reason, or dead with a reason: never silently gone |
//! | D2 | after a delivery is dead, no attempt of it begins (until a redrive) |
//! | D3 | every attempt of a delivery carries the same `webhook-id` and, signed, the same body |
//! | D4 | after a crash only deliveries in flight, or finished in the last 100 ms, come twice |
//! | D5 | with `ordering: KEY`, of one key at most one delivery is in flight, and none overtakes |
//! | D6 | in any window of w seconds at most `burst + perSecond × w` attempts begin |
//! | D7 | no more than `maxInFlight` attempts of a webhook are in flight |
//! | D8 | a shut gate lets no attempt begin; waiting at it uses up no attempt |
//! | D9 | what one webhook holds in memory is bounded, whatever its backlog |
//! | D10 | an ended delivery leaves nothing behind but what retention keeps |
