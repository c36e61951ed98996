//! What operators set for a plugin, held against the schema in its manifest before the plugin sees it.
//!
//! A subset of JSON Schema, for a whole implementation brings some forty crates along: `type`, `enum`, `const`,
//! `properties`, `required`, `additionalProperties`, `minProperties`, `maxProperties`, `items`, `minItems`, `maxItems`,
//! `minLength`, `maxLength`, `pattern`, `minimum`, `maximum`, and the annotations. Any other keyword is refused at
//! admission: a rule that is not held must not look as if it were. Patterns take time linear in the text.
//!
//! Values never reach a message, for they may be secret; places do.

use regex_lite::Regex;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Keywords that only tell people something.
const ANNOTATIONS: [&str; 9] =
    ["$schema", "$id", "$comment", "title", "description", "default", "examples", "deprecated", "writeOnly"];
/// Nesting of a schema.
const DEPTH_MAX: usize = 16;
/// Length of a pattern, bytes.
const PATTERN_BYTES_MAX: usize = 1024;

/// A schema that was understood wholly.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    /// `false` as a schema: nothing fits.
    is_never: bool,
    types: Option<Vec<Type>>,
    values: Option<Vec<Value>>,
    properties: BTreeMap<String, Schema>,
    required: Vec<String>,
    others: Option<Box<Schema>>,
    items: Option<Box<Schema>>,
    pattern: Option<Regex>,
    lengths: Bounds,
    counts: Bounds,
    members: Bounds,
    minimum: Option<f64>,
    maximum: Option<f64>,
}

#[derive(Clone, Copy, Debug, Default)]
struct Bounds {
    least: Option<u64>,
    most: Option<u64>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Type {
    Null,
    Boolean,
    Object,
    Array,
    Number,
    Integer,
    String,
}

impl Type {
    fn parse(name: &Value) -> Option<Self> {
        Some(match name.as_str()? {
            "null" => Type::Null,
            "boolean" => Type::Boolean,
            "object" => Type::Object,
            "array" => Type::Array,
            "number" => Type::Number,
            "integer" => Type::Integer,
            "string" => Type::String,
            _ => return None,
        })
    }

    const fn name(self) -> &'static str {
        match self {
            Type::Null => "null",
            Type::Boolean => "boolean",
            Type::Object => "object",
            Type::Array => "array",
            Type::Number => "number",
            Type::Integer => "integer",
            Type::String => "string",
        }
    }

    fn is_of(self, value: &Value) -> bool {
        match self {
            Type::Null => value.is_null(),
            Type::Boolean => value.is_boolean(),
            Type::Object => value.is_object(),
            Type::Array => value.is_array(),
            Type::Number => value.is_number(),
            Type::Integer => {
                value.is_i64() || value.is_u64() || value.as_f64().is_some_and(|number| number.fract() == 0.0)
            }
            Type::String => value.is_string(),
        }
    }
}

impl Bounds {
    fn check(self, place: &str, what: &str, count: usize) -> Result<(), String> {
        let count = count as u64;
        match self {
            Bounds { least: Some(least), .. } if count < least => {
                Err(format!("{place} has {count} {what}: at least {least} are needed"))
            }
            Bounds { most: Some(most), .. } if count > most => {
                Err(format!("{place} has {count} {what}: at most {most} are allowed"))
            }
            _ => Ok(()),
        }
    }
}

impl Schema {
    /// Understands one; the text names what is not understood and where it is.
    pub(crate) fn compile(schema: &Value) -> Result<Self, String> {
        Self::at(schema, "settingsSchema", 0)
    }

    fn at(schema: &Value, place: &str, depth: usize) -> Result<Self, String> {
        let members = match schema {
            Value::Bool(is_any) => return Ok(Schema { is_never: !is_any, ..Schema::default() }),
            Value::Object(members) if depth < DEPTH_MAX => members,
            Value::Object(_) => return Err(format!("{place} is nested deeper than {DEPTH_MAX}")),
            _ => return Err(format!("{place} is neither an object nor a boolean")),
        };
        let mut compiled = Schema::default();
        for (keyword, value) in members {
            let place = format!("{place}.{keyword}");
            compiled.take(keyword, value, &place, depth)?;
        }
        Ok(compiled)
    }

    fn take(&mut self, keyword: &str, value: &Value, place: &str, depth: usize) -> Result<(), String> {
        let wrong = |needed: &str| format!("{place} is not {needed}");
        let count = || value.as_u64().ok_or_else(|| wrong("a count"));
        let number = || value.as_f64().ok_or_else(|| wrong("a number"));
        let inner = |value: &Value, place: &str| Self::at(value, place, depth + 1);
        match keyword {
            "type" => {
                let names = value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice);
                let types: Option<Vec<Type>> = names.iter().map(Type::parse).collect();
                self.types = Some(types.ok_or_else(|| wrong("a type of JSON or a list of them"))?);
            }
            "enum" => self.values = Some(value.as_array().ok_or_else(|| wrong("a list"))?.clone()),
            "const" => self.values = Some(vec![value.clone()]),
            "properties" => {
                for (name, schema) in value.as_object().ok_or_else(|| wrong("an object"))? {
                    self.properties.insert(name.clone(), inner(schema, &format!("{place}.{name}"))?);
                }
            }
            "required" => {
                let names = value.as_array().ok_or_else(|| wrong("a list of names"))?;
                let names: Option<_> = names.iter().map(|name| name.as_str().map(str::to_owned)).collect();
                self.required = names.ok_or_else(|| wrong("a list of names"))?;
            }
            "additionalProperties" => self.others = Some(Box::new(inner(value, place)?)),
            "items" => self.items = Some(Box::new(inner(value, place)?)),
            "pattern" => {
                let text = value.as_str().filter(|text| text.len() <= PATTERN_BYTES_MAX);
                let text = text.ok_or_else(|| wrong("a pattern of at most 1024 bytes"))?;
                let pattern = Regex::new(text).map_err(|error| format!("{place}: {error}"))?;
                self.pattern = Some(pattern);
            }
            "minLength" => self.lengths.least = Some(count()?),
            "maxLength" => self.lengths.most = Some(count()?),
            "minItems" => self.counts.least = Some(count()?),
            "maxItems" => self.counts.most = Some(count()?),
            "minProperties" => self.members.least = Some(count()?),
            "maxProperties" => self.members.most = Some(count()?),
            "minimum" => self.minimum = Some(number()?),
            "maximum" => self.maximum = Some(number()?),
            annotation if ANNOTATIONS.contains(&annotation) => {}
            _ => return Err(format!("{place} is a keyword that is not understood here")),
        }
        Ok(())
    }

    /// Whether the settings fit; the text names the place, never a value.
    pub(crate) fn check(&self, settings: &Value) -> Result<(), String> {
        self.check_at(settings, "settings")
    }

    fn check_at(&self, value: &Value, place: &str) -> Result<(), String> {
        if self.is_never {
            return Err(format!("{place} is not a setting of it"));
        }
        if let Some(types) = &self.types
            && !types.iter().any(|one| one.is_of(value))
        {
            let names: Vec<&str> = types.iter().map(|one| one.name()).collect();
            return Err(format!("{place} is not of type {}", names.join(" or ")));
        }
        if let Some(values) = &self.values
            && !values.contains(value)
        {
            let values: Vec<String> = values.iter().map(Value::to_string).collect();
            return Err(format!("{place} is none of {}", values.join(", ")));
        }
        match value {
            Value::Object(members) => self.check_members(members, place),
            Value::Array(items) => {
                self.counts.check(place, "items", items.len())?;
                let Some(schema) = &self.items else { return Ok(()) };
                let mut items = items.iter().enumerate();
                items.try_for_each(|(index, item)| schema.check_at(item, &format!("{place}[{index}]")))
            }
            Value::String(text) => {
                self.lengths.check(place, "characters", text.chars().count())?;
                match &self.pattern {
                    Some(pattern) if !pattern.is_match(text) => {
                        Err(format!("{place} does not match {}", pattern.as_str()))
                    }
                    _ => Ok(()),
                }
            }
            Value::Number(_) => {
                let number = value.as_f64().unwrap_or(f64::NAN);
                match (self.minimum, self.maximum) {
                    (Some(least), _) if number < least => Err(format!("{place} is less than {least}")),
                    (_, Some(most)) if number > most => Err(format!("{place} is more than {most}")),
                    _ => Ok(()),
                }
            }
            Value::Null | Value::Bool(_) => Ok(()),
        }
    }

    fn check_members(&self, members: &Map<String, Value>, place: &str) -> Result<(), String> {
        self.members.check(place, "members", members.len())?;
        if let Some(name) = self.required.iter().find(|name| !members.contains_key(*name)) {
            return Err(format!("{place}.{name} is missing"));
        }
        for (name, value) in members {
            if let Some(schema) = self.properties.get(name).or(self.others.as_deref()) {
                schema.check_at(value, &format!("{place}.{name}"))?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn check(schema: Value, settings: Value) -> String {
        match Schema::compile(&schema).expect("understood").check(&settings) {
            Ok(()) => "fits".to_owned(),
            Err(text) => text,
        }
    }

    #[test]
    fn each_keyword_is_held() {
        let cases = [
            (json!({"type": "object"}), json!([]), "settings is not of type object"),
            (json!({"type": ["string", "null"]}), json!(1), "settings is not of type string or null"),
            (json!({"type": "integer"}), json!(1.0), "fits"),
            (json!({"type": "integer"}), json!(1.5), "settings is not of type integer"),
            (json!({"enum": ["a", 1]}), json!("secret"), r#"settings is none of "a", 1"#),
            (json!({"const": true}), json!(true), "fits"),
            (json!({"required": ["a"]}), json!({}), "settings.a is missing"),
            (json!({"additionalProperties": false}), json!({"b": 1}), "settings.b is not a setting of it"),
            (
                json!({"properties": {"a": {"items": {"maximum": 3}}}}),
                json!({"a": [3, 4]}),
                "settings.a[1] is more than 3",
            ),
            (json!({"minimum": 2}), json!(1), "settings is less than 2"),
            (json!({"maxItems": 1}), json!([1, 2]), "settings has 2 items: at most 1 are allowed"),
            (json!({"minLength": 2}), json!("é"), "settings has 1 characters: at least 2 are needed"),
            (json!({"minProperties": 1}), json!({}), "settings has 0 members: at least 1 are needed"),
            (json!({"pattern": "^[a-z]+$"}), json!("secret!"), "settings does not match ^[a-z]+$"),
            (json!({"pattern": "^[a-z]+$"}), json!(7), "fits"),
            (json!(false), json!({}), "settings is not a setting of it"),
            (json!({"title": "t", "default": 1}), json!("anything"), "fits"),
        ];
        for (schema, settings, expected) in cases {
            assert_eq!(check(schema.clone(), settings), expected, "{schema}");
        }
    }

    #[test]
    fn a_schema_that_is_not_understood_wholly_is_none() {
        let mut deep = json!({});
        for _ in 0..20 {
            deep = json!({"items": deep});
        }
        let cases = [
            (json!([]), "settingsSchema is neither an object nor a boolean"),
            (json!({"$ref": "x"}), "settingsSchema.$ref is a keyword that is not understood here"),
            (json!({"type": "text"}), "settingsSchema.type is not a type of JSON or a list of them"),
            (
                json!({"properties": {"a": {"minLength": -1}}}),
                "settingsSchema.properties.a.minLength is not a count",
            ),
            (json!({"required": [1]}), "settingsSchema.required is not a list of names"),
            (json!({"pattern": "("}), "settingsSchema.pattern: "),
            (deep, "settingsSchema.items.items"),
        ];
        for (schema, expected) in cases {
            let text = Schema::compile(&schema).expect_err("not understood");
            assert!(text.starts_with(expected), "{text}");
        }
    }
}
