//! One attempt on one connection, safely resolved: hyper client, TLS, DNS guard.
