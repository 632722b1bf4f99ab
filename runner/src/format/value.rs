//! JSON as the template engine sees it, and back.
//!
//! The engine's objects are maps, sorted by key. Which of them stand for structures, and in which order the fields of
//! those were, is remembered beside them, by their address: what a template hands around is always the same object.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use gotmpl::Value;
use serde_json::{Map, Number, Value as Json};

/// Members whose values are maps: their keys are names that somebody has chosen. All other objects are structures.
const MAPS: [&str; 17] = [
    "Annotations",
    "Containers",
    "Data",
    "DriverOpts",
    "ExecOptions",
    "ExposedPorts",
    "Labels",
    "Networks",
    "Options",
    "PortBindings",
    "Ports",
    "Status",
    "StorageOpt",
    "Sysctls",
    "Tmpfs",
    "Unified",
    "Volumes",
];

type Members = BTreeMap<Arc<str>, Value>;

/// Names of fields, in their order.
type Order = Vec<Arc<str>>;

/// The fields of structures in their order, by the address of the structure.
#[derive(Debug, Clone, Default)]
pub(super) struct Orders(Arc<Mutex<HashMap<usize, Order>>>);

impl Orders {
    fn remember(&self, members: &Arc<Members>, order: Order) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(address(members), order);
    }

    fn of(&self, members: &Arc<Members>) -> Option<Order> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(&address(members)).cloned()
    }

    /// Forgets all, before new values come to old addresses.
    pub(super) fn clear(&self) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// The way back to JSON: fields of structures in their order, keys of maps in alphabetical order, as Go has it.
    pub(super) fn to_json(&self, value: &Value) -> Json {
        match value {
            Value::Bool(truth) => Json::Bool(*truth),
            Value::Int(number) => Json::from(*number),
            Value::Uint(number) => Json::from(*number),
            Value::Float(number) => Json::from(*number),
            Value::String(text) => Json::from(text.as_ref()),
            Value::List(items) => items.iter().map(|item| self.to_json(item)).collect(),
            Value::Map(members) => {
                let order = self.of(members).unwrap_or_else(|| members.keys().cloned().collect());
                let pair = |key: Arc<str>| Some((key.to_string(), self.to_json(members.get(&key)?)));
                Json::Object(order.into_iter().filter_map(pair).collect())
            }
            Value::Nil | Value::Function(_) => Json::Null,
        }
    }
}

/// Turns JSON into values, and objects whose keys are free into maps that have the keys `missing` too, as nothing.
#[derive(Debug)]
pub(super) struct Converter<'a> {
    pub(super) missing: &'a [String],
    pub(super) orders: &'a Orders,
}

impl Converter<'_> {
    /// The value of `json`, which is a structure if it is an object.
    pub(super) fn convert(&self, json: &Json) -> Value {
        self.member("", "", json)
    }

    /// The value of the member `name` of the member `parent`.
    fn member(&self, parent: &str, name: &str, json: &Json) -> Value {
        match json {
            Json::Null => Value::Nil,
            Json::Bool(truth) => Value::Bool(*truth),
            Json::Number(number) => of_number(number),
            Json::String(text) => Value::String(text.as_str().into()),
            Json::Array(items) => Value::List(items.iter().map(|item| self.member(parent, "", item)).collect()),
            // A log driver's settings have the name of the container's.
            Json::Object(members) if MAPS.contains(&name) || (parent, name) == ("LogConfig", "Config") => {
                let absent = self.missing.iter().map(|key| (Arc::from(key.as_str()), Value::Nil));
                Value::Map(Arc::new(absent.chain(self.members("", members)).collect()))
            }
            Json::Object(members) => {
                let fields = Arc::new(self.members(name, members).collect());
                self.orders.remember(&fields, members.keys().map(|key| Arc::from(key.as_str())).collect());
                Value::Map(fields)
            }
        }
    }

    /// What is in an object. Where `name` is empty, the object is a map or an item of a list, and says nothing about
    /// what its members are.
    fn members(&self, name: &str, members: &Map<String, Json>) -> impl Iterator<Item = (Arc<str>, Value)> {
        members.iter().map(move |(key, value)| (Arc::from(key.as_str()), self.member(name, key, value)))
    }
}

fn of_number(number: &Number) -> Value {
    match (number.as_i64(), number.as_u64(), number.as_f64()) {
        (Some(int), _, _) => Value::Int(int),
        (_, Some(int), _) => Value::Uint(int),
        (_, _, float) => Value::Float(float.unwrap_or_default()),
    }
}

fn address(members: &Arc<Members>) -> usize {
    Arc::as_ptr(members).addr()
}
