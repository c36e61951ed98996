//! The query of a call. Unknown parameters and those given twice are refused: a filter that is misspelt must not widen
//! what is asked for.

use crate::answer::quoted;
use crate::error::Invalid;
use axum::extract;
use http::Uri;
use std::ops::RangeInclusive;

/// Parameters, decoded.
#[derive(Debug)]
pub(crate) struct Query(Vec<(String, String)>);

impl Query {
    pub(crate) fn read(uri: &Uri, known: &[&str]) -> Result<Self, Invalid> {
        let extract::Query(pairs) = extract::Query::<Vec<(String, String)>>::try_from_uri(uri)
            .map_err(|_| Invalid::new("the query cannot be read"))?;
        for (index, (name, _)) in pairs.iter().enumerate() {
            if !known.contains(&name.as_str()) {
                let known = known.join(", ");
                return Err(Invalid(format!("unknown parameter `{}`: known are {known}", quoted(name))));
            }
            if pairs.iter().take(index).any(|(earlier, _)| earlier == name) {
                return Err(Invalid(format!("{name} is given twice")));
            }
        }
        Ok(Query(pairs))
    }

    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.0.iter().find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// An integer in `range`; `default` when it is not given.
    pub(crate) fn integer(
        &self,
        name: &str,
        range: RangeInclusive<usize>,
        default: usize,
    ) -> Result<usize, Invalid> {
        let Some(text) = self.get(name) else { return Ok(default) };
        // `+5` parses, and is not how an integer is written here.
        let number = text.parse().ok().filter(|_| text.bytes().all(|b| b.is_ascii_digit()));
        number.filter(|number| range.contains(number)).ok_or_else(|| {
            Invalid(format!("{name} must be an integer from {} to {}", range.start(), range.end()))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn query(text: &str) -> Result<Query, Invalid> {
        Query::read(&format!("/x?{text}").parse().unwrap(), &["limit", "from"])
    }

    #[test]
    fn parameters_are_decoded_and_none_is_passed_over() {
        let read = query("from=a%20b%2B&limit=7").unwrap();
        assert_eq!((read.get("from"), read.get("limit")), (Some("a b+"), Some("7")));
        assert_eq!(query("").unwrap().get("from"), None);
        assert_eq!(Query::read(&"/x".parse().unwrap(), &[]).unwrap().get("from"), None);
        for (text, refusal) in [
            ("form=1", "unknown parameter `form`: known are limit, from"),
            ("limit=1&limit=1", "limit is given twice"),
        ] {
            assert_eq!(query(text).unwrap_err(), Invalid::new(refusal));
        }
    }

    #[test]
    fn integers_stay_in_their_range() {
        let read = |text: &str| query(text).unwrap().integer("limit", 1..=1000, 100);
        assert_eq!((read("from=1"), read("limit=1"), read("limit=1000")), (Ok(100), Ok(1), Ok(1000)));
        for text in ["limit=0", "limit=1001", "limit=", "limit=-1", "limit=%2B5", "limit=5.0", "limit=x"] {
            assert_eq!(read(text), Err(Invalid::new("limit must be an integer from 1 to 1000")), "{text}");
        }
    }
}
