//! States of a message: which is the current one, which ids the platform gave, what Z-API calls it.

use crate::payload::{Object, Refusal};

/// The newest entry of an item's `state_items`.
#[derive(Clone, Copy)]
pub(crate) struct LastState<'a> {
    entry: Object<'a>,
    /// Empty when the hub does not say.
    pub(crate) name: &'a str,
}

impl<'a> LastState<'a> {
    /// `None` when the item has no state.
    pub(crate) fn of(item: Object<'a>) -> Result<Option<Self>, Refusal> {
        let mut states = item.array("state_items", "state_items")?;
        let mut last = None;
        while let Some(state) = states.next_object() {
            last = Some(state?);
        }
        let Some(entry) = last else { return Ok(None) };
        let name = match entry.object("state", "state")? {
            Some(state) => state.string("name")?.unwrap_or_default(),
            None => "",
        };
        Ok(Some(LastState { entry, name }))
    }

    pub(crate) fn moment(&self) -> Result<Option<&'a str>, Refusal> {
        self.entry.integer("moment")
    }

    pub(crate) fn error(&self) -> Result<Option<&'a str>, Refusal> {
        self.entry.text("error")
    }
}

/// `status` of a `ReceivedCallback` sent by the business.
pub(crate) fn sent_status(state: Option<&str>) -> &'static str {
    match state {
        None | Some("SENT") => "SENT",
        Some("DELIVERED" | "RECEIVED") => "RECEIVED",
        Some("READ") => "READ",
        Some("PLAYED") => "PLAYED",
        Some(_) => "PENDING",
    }
}

/// What a MESSAGE_STATUS event becomes.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum StatusForm {
    /// A `MessageStatusCallback` with this `status`.
    Status(&'static str),
    /// A `DeliveryCallback` with `error`: Z-API has no failed status.
    Failed,
    /// A `ReceivedCallback` with `notification: "REVOKE"`.
    Revoked,
    /// Z-API has no word for it.
    Nothing,
}

impl StatusForm {
    pub(crate) fn of(state: &str, from_me: bool) -> Self {
        match (state, from_me) {
            ("DELETED", _) => StatusForm::Revoked,
            ("SENT", true) => StatusForm::Status("SENT"),
            ("DELIVERED" | "RECEIVED", true) => StatusForm::Status("RECEIVED"),
            ("READ", true) => StatusForm::Status("READ"),
            ("READ", false) => StatusForm::Status("READ_BY_ME"),
            ("PLAYED", true) => StatusForm::Status("PLAYED"),
            ("FAILED", true) => StatusForm::Failed,
            _ => StatusForm::Nothing,
        }
    }
}

/// The platform's ids of an item: those of the newest state that has any, else the integration's id, else none.
pub(crate) fn platform_ids<'a>(item: Object<'a>) -> Result<Vec<&'a str>, Refusal> {
    let mut ids = Vec::new();
    let mut states = item.array("state_items", "state_items")?;
    while let Some(state) = states.next_object() {
        let mut told = state?.array("integration_message_ids", "state_items.integration_message_ids")?;
        if told.len() > 0 {
            ids.clear();
        }
        while let Some(id) = told.next_string() {
            ids.push(id?);
        }
    }
    if ids.is_empty()
        && let Some(information) = item.object("internal_information", "internal_information")?
    {
        ids.extend(information.text("integration_id")?);
    }
    Ok(ids)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every cell of the mapping's table, section 3.
    #[test]
    fn every_cell_of_the_status_table() {
        use StatusForm::{Failed, Nothing, Revoked, Status};
        for (state, from_me, from_them) in [
            ("PENDING", Nothing, Nothing),
            ("", Nothing, Nothing),
            ("SENT", Status("SENT"), Nothing),
            ("DELIVERED", Status("RECEIVED"), Nothing),
            ("RECEIVED", Status("RECEIVED"), Nothing),
            ("READ", Status("READ"), Status("READ_BY_ME")),
            ("PLAYED", Status("PLAYED"), Nothing),
            ("FAILED", Failed, Nothing),
            ("DELETED", Revoked, Revoked),
            ("ARCHIVED", Nothing, Nothing),
            ("read", Nothing, Nothing),
        ] {
            assert_eq!(StatusForm::of(state, true), from_me, "{state}, from me");
            assert_eq!(StatusForm::of(state, false), from_them, "{state}, from them");
        }
    }

    #[test]
    fn every_status_of_a_sent_message() {
        for (state, status) in [
            (None, "SENT"),
            (Some("PENDING"), "PENDING"),
            (Some("SENT"), "SENT"),
            (Some("DELIVERED"), "RECEIVED"),
            (Some("READ"), "READ"),
            (Some("PLAYED"), "PLAYED"),
            (Some("FAILED"), "PENDING"),
            (Some("DELETED"), "PENDING"),
            (Some(""), "PENDING"),
        ] {
            assert_eq!(sent_status(state), status, "{state:?}");
        }
    }
}
