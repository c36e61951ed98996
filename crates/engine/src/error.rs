//! Why the engine refused a call.

use fanfare_core::ports::StoreError;
use fanfare_core::ports::formats::FormatError;

/// What went wrong, for callers to match on. Texts are for the caller; causes that are only for the log say so.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    /// 404 `Channel not found`: unknown, or another account's.
    #[error("Channel not found")]
    UnknownChannel,
    /// 404 `Webhook not found`.
    #[error("Webhook not found")]
    UnknownWebhook,
    /// 404 `Account not found`.
    #[error("Account not found")]
    UnknownAccount,
    /// 404 `Key not found`.
    #[error("Key not found")]
    UnknownKey,
    /// 404 `Delivery not found`.
    #[error("Delivery not found")]
    UnknownDelivery,
    /// 404 `Format not found`.
    #[error("Format not found")]
    UnknownFormat,
    /// 409: it is not in a state for that.
    #[error("{0}")]
    Conflict(String),
    /// 429 with `Retry-After`.
    #[error("{message}")]
    RateLimited {
        /// For the caller.
        message: String,
        /// Seconds.
        retry_after_s: u32,
    },
    /// 422: the account's role does not allow it.
    #[error("This action requires ENTERPRISE role")]
    RoleRequired,
    /// 400: the text names the member and the limit.
    #[error("{0}")]
    Invalid(String),
    /// 503 with `Retry-After`: nothing was written.
    #[error("{message}")]
    Unavailable {
        /// For the caller.
        message: String,
        /// Seconds.
        retry_after_s: u32,
    },
    /// 500: the text is for the log only.
    #[error("internal error")]
    Internal(String),
}

impl From<StoreError> for EngineError {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => {
                EngineError::Unavailable { message: "the store is busy; try again".into(), retry_after_s: 1 }
            }
            StoreError::Full(limit) => EngineError::Unavailable {
                message: format!("the store is full ({limit}); events are refused until there is room"),
                retry_after_s: 30,
            },
            StoreError::Backlog { waiting, limit } => EngineError::Unavailable {
                message: format!("backlog of {waiting} deliveries reaches the limit of {limit}"),
                retry_after_s: 30,
            },
            StoreError::Poisoned(_) => EngineError::Unavailable {
                message: "the store stopped after a failed sync; an operator must restart it".into(),
                retry_after_s: 60,
            },
            StoreError::Cursor => EngineError::Invalid(error.to_string()),
            StoreError::Other(text) => EngineError::Internal(text),
        }
    }
}

impl From<FormatError> for EngineError {
    fn from(error: FormatError) -> Self {
        match error {
            FormatError::Refused(text) | FormatError::Name(text) => EngineError::Invalid(text),
            FormatError::Unknown(_) => EngineError::UnknownFormat,
            FormatError::Conflict(text) => EngineError::Conflict(text),
            FormatError::Internal(text) => EngineError::Internal(text),
        }
    }
}
