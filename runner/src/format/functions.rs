//! The functions that templates have beside Go's own.

use std::sync::Arc;

use gotmpl::{FuncMap, TemplateError, Value, ValueFunc};

use super::value::Orders;

/// What other tools offer: `json`, `join`, `split`, `lower`, `upper`, `title`, `pad` and `truncate`, and their `len`.
pub(super) fn all(orders: &Orders) -> FuncMap {
    let orders = orders.clone();
    let json = move |args: &[Value]| match args {
        [value] => Ok(text(orders.to_json(value).to_string())),
        _ => Err(wrong("json takes one value")),
    };
    let simple: [(&str, Function); 8] = [
        ("len", len),
        ("join", join),
        ("split", split),
        ("lower", |args| one(args, "lower").map(|s| text(s.to_lowercase()))),
        ("upper", |args| one(args, "upper").map(|s| text(s.to_uppercase()))),
        ("title", |args| one(args, "title").map(|s| text(title(s)))),
        ("pad", pad),
        ("truncate", truncate),
    ];
    let mut all: FuncMap = simple.into_iter().map(|(name, function)| (name.to_owned(), boxed(function))).collect();
    all.insert("json".to_owned(), boxed(json));
    all
}

type Answer = Result<Value, TemplateError>;
type Function = fn(&[Value]) -> Answer;

fn boxed(function: impl Fn(&[Value]) -> Answer + Send + Sync + 'static) -> ValueFunc {
    Arc::new(function)
}

/// `len`, for which a list that is not there is an empty one, as it is in Go.
fn len(args: &[Value]) -> Answer {
    let length = match args {
        [Value::Nil] => Some(0),
        [value] => value.len(),
        _ => None,
    };
    let length = length.and_then(|length| i64::try_from(length).ok());
    length.map(Value::Int).ok_or_else(|| wrong("len takes a text, a list or a map"))
}

/// `join LIST SEPARATOR`.
fn join(args: &[Value]) -> Answer {
    match args {
        [Value::List(items), Value::String(separator)] => {
            Ok(text(items.iter().map(ToString::to_string).collect::<Vec<_>>().join(separator)))
        }
        [Value::Nil, Value::String(_)] => Ok(text(String::new())),
        _ => Err(wrong("join takes a list and a separator")),
    }
}

/// `split TEXT SEPARATOR`.
fn split(args: &[Value]) -> Answer {
    match args {
        [Value::String(whole), Value::String(separator)] => {
            Ok(Value::List(whole.split(separator.as_ref()).map(|part| text(part.to_owned())).collect()))
        }
        _ => Err(wrong("split takes a text and a separator")),
    }
}

/// `pad TEXT BEFORE AFTER`, in spaces; nothing is added to an empty text.
fn pad(args: &[Value]) -> Answer {
    let [Value::String(inner), before, after] = args else { return Err(wrong("pad takes a text and two numbers")) };
    if inner.is_empty() {
        return Ok(text(String::new()));
    }
    Ok(text(format!("{}{inner}{}", " ".repeat(number(before)?), " ".repeat(number(after)?))))
}

/// `truncate TEXT LENGTH`, in characters.
fn truncate(args: &[Value]) -> Answer {
    let [Value::String(whole), length] = args else { return Err(wrong("truncate takes a text and a length")) };
    Ok(text(whole.chars().take(number(length)?).collect()))
}

fn number(value: &Value) -> Result<usize, TemplateError> {
    let number = value.as_int().and_then(|n| usize::try_from(n).ok()).filter(|n| *n <= MOST);
    number.ok_or_else(|| wrong("a length is a number from 0 to 4096"))
}

/// No line is longer.
const MOST: usize = 4096;

fn one<'a>(args: &'a [Value], name: &str) -> Result<&'a str, TemplateError> {
    match args {
        [Value::String(text)] => Ok(text),
        _ => Err(wrong(format!("{name} takes one text"))),
    }
}

/// Every word with a capital letter.
fn title(whole: &str) -> String {
    let mut in_word = false;
    let letter = |c: char| {
        let first = !in_word && c.is_alphabetic();
        in_word = c.is_alphanumeric() || c == '\'';
        if first { c.to_uppercase().to_string() } else { c.to_string() }
    };
    whole.chars().map(letter).collect()
}

fn text(text: String) -> Value {
    Value::String(text.into())
}

fn wrong(why: impl Into<String>) -> TemplateError {
    TemplateError::Exec(why.into())
}
