//! Reads JSON bodies member by member, so that each refusal names its member and absent, `null` and wrong are kept
//! apart. Nothing is copied but the texts asked for; numbers and objects stay as they were written.

use crate::answer::quoted;
use crate::error::Invalid;
use crate::names::Named;
use serde::Deserialize;
use serde::de::{MapAccess, Visitor};
use serde_json::error::Category;
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;
use std::ops::RangeInclusive;

/// A JSON object's members, in order. Unknown ones are ignored; asking for one that is given twice is an error.
pub(crate) struct Members<'a> {
    prefix: Cow<'static, str>,
    list: Vec<(Cow<'a, str>, &'a RawValue)>,
}

#[derive(Deserialize)]
#[serde(transparent)]
struct Name<'a>(#[serde(borrow)] Cow<'a, str>);

struct List<'a>(Vec<(Cow<'a, str>, &'a RawValue)>);

impl<'de> Deserialize<'de> for List<'de> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;
        impl<'de> Visitor<'de> for Collect {
            type Value = List<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<List<'de>, A::Error> {
                let mut list = Vec::new();
                while let Some((Name(name), value)) = map.next_entry::<Name<'de>, &'de RawValue>()? {
                    list.push((name, value));
                }
                Ok(List(list))
            }
        }
        deserializer.deserialize_map(Collect)
    }
}

impl<'a> Members<'a> {
    /// Reads a whole body.
    pub(crate) fn of_body(body: &'a [u8]) -> Result<Self, Invalid> {
        if body.iter().all(u8::is_ascii_whitespace) {
            return Err(Invalid::new("the body is empty; it must be a JSON object"));
        }
        match serde_json::from_slice::<List<'a>>(body) {
            Ok(List(list)) => Ok(Members { prefix: Cow::Borrowed(""), list }),
            // Its text could quote the body.
            Err(error) if error.classify() == Category::Data => {
                Err(Invalid::new("the body must be a JSON object"))
            }
            Err(error) => Err(Invalid(format!("the body is not valid JSON: {error}"))),
        }
    }

    /// The member `name`; `None` when it is not there.
    pub(crate) fn get(&self, name: &str) -> Result<Option<Member<'a>>, Invalid> {
        let mut found = self.list.iter().filter(|(key, _)| key == name);
        let path = || format!("{}{name}", self.prefix);
        match (found.next(), found.next()) {
            (None, _) => Ok(None),
            (Some((_, raw)), None) => Ok(Some(Member { path: path(), raw })),
            (Some(_), Some(_)) => Err(Invalid(format!("{} is given twice", path()))),
        }
    }

    /// Refuses every member but these.
    pub(crate) fn only(&self, known: &[&str]) -> Result<(), Invalid> {
        match self.list.iter().find(|(name, _)| !known.contains(&&**name)) {
            None => Ok(()),
            Some((name, _)) => {
                let path = format!("{}{}", self.prefix, quoted(name));
                Err(Invalid(format!("unknown member `{path}`: known are {}", known.join(", "))))
            }
        }
    }

    /// The member `name`, which must be there.
    pub(crate) fn required(&self, name: &str) -> Result<Member<'a>, Invalid> {
        self.get(name)?.ok_or_else(|| Invalid(format!("{}{name} is required", self.prefix)))
    }
}

/// One member: its value as written and its full name (`delivery.retry.maxAgeSeconds`).
pub(crate) struct Member<'a> {
    path: String,
    raw: &'a RawValue,
}

impl<'a> Member<'a> {
    pub(crate) fn is_null(&self) -> bool {
        self.raw.get() == "null"
    }

    /// The value's text, as written.
    pub(crate) fn text(&self) -> &'a str {
        self.raw.get()
    }

    /// A refusal: the member's name, then `rule`.
    pub(crate) fn refuse(&self, rule: impl fmt::Display) -> Invalid {
        Invalid(format!("{} {rule}", self.path))
    }

    pub(crate) fn string(&self) -> Result<String, Invalid> {
        if !self.text().starts_with('"') {
            return Err(self.refuse("must be a string"));
        }
        serde_json::from_str(self.text()).map_err(|_| self.refuse("is not valid Unicode text"))
    }

    /// One of the names of `T`.
    pub(crate) fn named<T: Named>(&self) -> Result<T, Invalid> {
        let value = self.string().ok().and_then(|name| T::parse(&name));
        value.ok_or_else(|| self.refuse(format_args!("must be {}", T::choice())))
    }

    pub(crate) fn boolean(&self) -> Result<bool, Invalid> {
        match self.text() {
            "true" => Ok(true),
            "false" => Ok(false),
            _ => Err(self.refuse("must be a boolean")),
        }
    }

    /// An integer in `range`, written as one (no fraction, no exponent).
    pub(crate) fn integer(&self, range: RangeInclusive<u32>) -> Result<u32, Invalid> {
        integer(self.text(), &range).ok_or_else(|| {
            self.refuse(format_args!("must be an integer from {} to {}", range.start(), range.end()))
        })
    }

    /// Any JSON number.
    pub(crate) fn number(&self) -> Option<f64> {
        serde_json::from_str(self.text()).ok()
    }

    pub(crate) fn object(&self) -> Result<Members<'a>, Invalid> {
        match serde_json::from_str::<List<'a>>(self.text()) {
            Ok(List(list)) => Ok(Members { prefix: Cow::Owned(format!("{}.", self.path)), list }),
            Err(_) => Err(self.refuse("must be an object")),
        }
    }

    /// The elements of an array of strings.
    pub(crate) fn strings(&self) -> Result<Vec<String>, Invalid> {
        serde_json::from_str(self.text()).map_err(|_| self.refuse("must be an array of strings"))
    }

    /// The elements of an array of `count` integers in `range`.
    pub(crate) fn integers(
        &self,
        count: RangeInclusive<usize>,
        range: RangeInclusive<u32>,
    ) -> Result<Vec<u32>, Invalid> {
        let elements: Vec<&RawValue> = serde_json::from_str(self.text()).unwrap_or_default();
        let numbers: Option<Vec<u32>> = elements.iter().map(|raw| integer(raw.get(), &range)).collect();
        numbers.filter(|list| count.contains(&list.len())).ok_or_else(|| {
            self.refuse(format_args!(
                "must be an array of {} to {} integers from {} to {}",
                count.start(),
                count.end(),
                range.start(),
                range.end()
            ))
        })
    }
}

fn integer(text: &str, range: &RangeInclusive<u32>) -> Option<u32> {
    text.parse().ok().filter(|number| range.contains(number))
}

/// `text`, which is valid JSON, without the white space between its tokens; nothing else changes.
pub(crate) fn compact(text: &str) -> String {
    let (mut is_in_string, mut is_escaped) = (false, false);
    text.chars()
        .filter(|&c| {
            if is_in_string {
                is_in_string = is_escaped || c != '"';
                is_escaped = !is_escaped && c == '\\';
                return true;
            }
            is_in_string = c == '"';
            !matches!(c, ' ' | '\t' | '\n' | '\r')
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(body: &str) -> String {
        match Members::of_body(body.as_bytes()) {
            Ok(_) => panic!("{body} was taken"),
            Err(Invalid(text)) => text,
        }
    }

    #[test]
    fn a_body_must_be_an_object_and_is_never_quoted() {
        for body in ["\"hunter2\"", "[]", "7", "null", "true"] {
            assert_eq!(refusal(body), "the body must be a JSON object", "{body}");
        }
        for body in ["", " \r\n"] {
            assert_eq!(refusal(body), "the body is empty; it must be a JSON object");
        }
        for body in ["{", "{\"hunter2\":}", "{\"a\":hunter2}", "{} x", "{'a':1}", "{\"a\":1,}"] {
            let text = refusal(body);
            assert!(text.starts_with("the body is not valid JSON: "), "{text}");
            assert!(text.contains(" at line 1 column "), "{text}");
            assert!(!text.contains("hunter2"), "{text}");
        }
        assert!(Members::of_body(b"{\"a\":\"\xff\"}").is_err());
    }

    #[test]
    fn deep_nesting_does_not_overflow() {
        let body = format!("{{\"a\":{}{}}}", "[".repeat(400_000), "]".repeat(400_000));
        let _ = Members::of_body(body.as_bytes());
    }

    #[test]
    fn members_are_found_and_twice_is_refused() {
        let members = Members::of_body(br#"{"a":1,"b":{"c":"x"},"a":2,"\u0064":4}"#).unwrap();
        assert_eq!(members.get("a").err(), Some(Invalid::new("a is given twice")));
        assert!(members.get("z").unwrap().is_none());
        assert_eq!(members.required("z").err(), Some(Invalid::new("z is required")));
        assert_eq!(members.required("d").unwrap().integer(1..=4), Ok(4));
        let inner = members.required("b").unwrap().object().unwrap();
        assert_eq!(inner.required("c").unwrap().string(), Ok("x".to_owned()));
        assert_eq!(inner.required("d").err(), Some(Invalid::new("b.d is required")));
    }

    #[test]
    fn integers_are_written_as_integers() {
        for (text, good) in
            [("1", true), ("9", true), ("0", false), ("10", false), ("1.0", false), ("1e0", false)]
        {
            let body = format!("{{\"n\":{text}}}");
            let got = Members::of_body(body.as_bytes()).unwrap().required("n").unwrap().integer(1..=9);
            assert_eq!(got.is_ok(), good, "{text}");
        }
    }

    #[test]
    fn compact_drops_white_space_between_tokens_only() {
        assert_eq!(
            compact("{ \"a b\" : [ 1.50 ,\n\t\"\\\" \\\\\" , \" x \" ]\r}"),
            "{\"a b\":[1.50,\"\\\" \\\\\",\" x \"]}"
        );
    }
}
