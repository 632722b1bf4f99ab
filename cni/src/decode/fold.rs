//! The deserializer behind [`decode`](super): [`serde_json::Value`] with other rules for the keys of structs, and errors
//! that know their place.
//!
//! What is generic here gets compiled once for every type that anybody decodes, and every plugin carries its own copy of
//! that. So the generic functions do no more than choose the visitor's method; the work is in functions that exist once.

use std::vec;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, Expected, MapAccess, SeqAccess, Unexpected, Visitor};
use serde::forward_to_deserialize_any;
use serde_json::{Map, Number, Value};

use crate::decode::Error;

/// A value seen with Go's eyes.
#[derive(Clone, Copy)]
pub(super) struct Folded<'a>(pub(super) &'a Value);

/// Methods that take one kind of value and refuse the others.
macro_rules! only {
    ($pattern:pat, $visitor:ident => $visit:expr; $($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, $visitor: V) -> Result<V::Value, Error> {
            match self.0 {
                $pattern => $visit,
                other => Err(mismatch(other, &$visitor)),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Folded<'de> {
    type Error = Error;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_unit(),
            Value::Bool(value) => visitor.visit_bool(*value),
            Value::Number(number) => visit_number(number, visitor),
            Value::String(text) => visitor.visit_borrowed_str(text),
            Value::Array(items) => visit_array(items, visitor),
            Value::Object(members) => visitor.visit_map(Members::all(members)),
        }
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        visitor.visit_map(Members::matching(self.0, fields)?)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        match self.0 {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(self, _: &'static str, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _: &'static str,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Error> {
        match self.0 {
            Value::String(variant) => visitor.visit_enum(BorrowedStrDeserializer::new(variant)),
            Value::Object(members) if members.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Members::all(members)))
            }
            Value::Object(_) => Err(Error::invalid_value(Unexpected::Map, &"map with a single key")),
            other => Err(mismatch(other, &"string or map")),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Error> {
        visitor.visit_unit()
    }

    fn deserialize_tuple<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, Error> {
        self.deserialize_seq(visitor)
    }

    only! { Value::Bool(value), visitor => visitor.visit_bool(*value); deserialize_bool }
    only! { Value::Number(number), visitor => visit_number(number, visitor);
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128 deserialize_f32 deserialize_f64
    }
    only! { Value::String(text), visitor => visitor.visit_borrowed_str(text);
        deserialize_char deserialize_str deserialize_string deserialize_identifier
    }
    only! { Value::Array(items), visitor => visit_array(items, visitor); deserialize_seq }
    only! { Value::Object(members), visitor => visitor.visit_map(Members::all(members)); deserialize_map }

    forward_to_deserialize_any! { bytes byte_buf unit unit_struct tuple_struct }
}

fn visit_number<'de, V: Visitor<'de>>(number: &Number, visitor: V) -> Result<V::Value, Error> {
    match kind_of_number(number) {
        Unexpected::Unsigned(number) => visitor.visit_u64(number),
        Unexpected::Signed(number) => visitor.visit_i64(number),
        Unexpected::Float(number) => visitor.visit_f64(number),
        other => Err(Error::invalid_type(other, &visitor)),
    }
}

fn visit_array<'de, V: Visitor<'de>>(items: &'de [Value], visitor: V) -> Result<V::Value, Error> {
    let mut items = Items { all: items, taken: 0 };
    let value = visitor.visit_seq(&mut items)?;
    items.end()?;
    Ok(value)
}

/// The items of an array.
struct Items<'de> {
    all: &'de [Value],
    taken: usize,
}

impl<'de> SeqAccess<'de> for Items<'de> {
    type Error = Error;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Error> {
        let Some(item) = self.all.get(self.taken) else { return Ok(None) };
        self.taken += 1;
        seed.deserialize(Folded(item)).map(Some).map_err(|error| error.at_index(self.taken - 1))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.all.len() - self.taken)
    }
}

impl Items<'_> {
    /// Checks that the visitor wanted every item.
    fn end(&self) -> Result<(), Error> {
        if self.taken == self.all.len() {
            return Ok(());
        }
        let plural = if self.taken == 1 { "" } else { "s" };
        let wanted = format!("{} element{plural} in sequence", self.taken);
        Err(Error::invalid_length(self.all.len(), &wanted.as_str()))
    }
}

/// Members of an object, in the document's order.
struct Members<'de> {
    rest: vec::IntoIter<(&'de str, &'de Value)>,
    current: Option<(&'de str, &'de Value)>,
}

impl<'de> Members<'de> {
    fn new(members: Vec<(&'de str, &'de Value)>) -> Self {
        Members { rest: members.into_iter(), current: None }
    }

    fn all(members: &'de Map<String, Value>) -> Self {
        Members::new(members.iter().map(|(key, value)| (key.as_str(), value)).collect())
    }

    /// The members that a struct with these fields takes, each under the field's own spelling.
    fn matching(value: &'de Value, fields: &'static [&'static str]) -> Result<Self, Error> {
        let members = match value {
            Value::Object(members) => members,
            Value::Null => return Ok(Members::new(Vec::new())),
            // serde itself would take a list as the fields in order.
            other => return Err(mismatch(other, &"an object")),
        };
        let mut taken: Vec<(&'de str, &'de Value)> = Vec::new();
        for (key, value) in members.iter().filter(|(_, value)| !value.is_null()) {
            let Some(field) = fields.iter().find(|field| field.eq_ignore_ascii_case(key)) else { continue };
            match taken.iter_mut().find(|(name, _)| name == field) {
                Some(earlier) => earlier.1 = value,
                None => taken.push((field, value)),
            }
        }
        Ok(Members::new(taken))
    }

    fn next_key(&mut self) -> Option<&'de str> {
        self.current = self.rest.next();
        self.current.map(|(key, _)| key)
    }

    fn current(&self) -> Result<(&'de str, &'de Value), Error> {
        self.current.ok_or_else(|| Error::custom("value is missing"))
    }
}

impl<'de> MapAccess<'de> for Members<'de> {
    type Error = Error;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Error> {
        let Some(key) = self.next_key() else { return Ok(None) };
        seed.deserialize(BorrowedStrDeserializer::new(key)).map(Some).map_err(|error: Error| error.at_key(key))
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Error> {
        let (key, value) = self.current()?;
        seed.deserialize(Folded(value)).map_err(|error| error.at_key(key))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.rest.len())
    }
}

fn mismatch(value: &Value, expected: &dyn Expected) -> Error {
    Error::invalid_type(kind_of(value), expected)
}

fn kind_of(value: &Value) -> Unexpected<'_> {
    match value {
        Value::Null => Unexpected::Unit,
        Value::Bool(value) => Unexpected::Bool(*value),
        Value::Number(number) => kind_of_number(number),
        Value::String(text) => Unexpected::Str(text),
        Value::Array(_) => Unexpected::Seq,
        Value::Object(_) => Unexpected::Map,
    }
}

fn kind_of_number(number: &Number) -> Unexpected<'static> {
    let signed = || number.as_i64().map(Unexpected::Signed);
    let float = || number.as_f64().map(Unexpected::Float);
    number.as_u64().map(Unexpected::Unsigned).or_else(signed).or_else(float).unwrap_or(Unexpected::Other("number"))
}
