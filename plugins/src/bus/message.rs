//! Messages: a method call as bytes, and what comes back.
//!
//! Marshalling is `zbus`'s. The header of a message is a structure like any other: byte order, type, flags, version,
//! length of the body, serial number, and an array of numbered fields (`yyyyuua(yv)`).

use serde::Deserialize;
use serde::ser::{Serialize, SerializeStruct, Serializer};
use zbus::wire::serialized::{Context, Data};
use zbus::wire::{Endian, to_bytes};
use zbus::{ObjectPath, Signature, Type, Variant};

/// Message types.
const METHOD_CALL: u8 = 1;
const METHOD_RETURN: u8 = 2;
const ERROR: u8 = 3;
const SIGNAL: u8 = 4;
/// The version of the protocol.
const VERSION: u8 = 1;
/// Header fields.
const PATH: u8 = 1;
const INTERFACE: u8 = 2;
const MEMBER: u8 = 3;
const ERROR_NAME: u8 = 4;
const REPLY_SERIAL: u8 = 5;
const DESTINATION: u8 = 6;
const SIGNATURE: u8 = 8;
/// The part of the header in front of its fields, and their length.
const FIXED: usize = 16;
/// Headers and the structures in them start at multiples of this.
const ALIGNMENT: usize = 8;
/// No answer that anybody here waits for is nearly as long.
const LONGEST: usize = 1 << 20;

/// A header with its fields.
type Header<F> = (u8, u8, u8, u8, u32, u32, Vec<(u8, F)>);

/// The value of a field of a call. Not [`Variant`], which puts the types of a body into parentheses as if it were one
/// structure.
#[derive(Debug, Type)]
#[zbus(signature = "v")]
enum Field<'a> {
    Path(&'a str),
    Text(&'a str),
    Types(&'a str),
}

impl Serialize for Field<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let (kind, value) = match self {
            Self::Path(path) => (Signature::ObjectPath, path),
            Self::Text(text) => (Signature::Str, text),
            Self::Types(types) => (Signature::Signature, types),
        };
        let mut variant = serializer.serialize_struct("Variant", 2)?;
        variant.serialize_field("signature", &kind)?;
        variant.serialize_field("value", value)?;
        variant.end()
    }
}

/// Whom to ask for what.
#[derive(Clone, Copy, Debug)]
pub struct Method {
    /// The name of the one who is to answer.
    pub destination: &'static str,
    /// The object.
    pub path: &'static str,
    /// The interface.
    pub interface: &'static str,
    /// The method.
    pub member: &'static str,
    /// Whether the bus may start the one who is to answer, if it can.
    pub may_start: bool,
}

/// A message that came in.
#[derive(Debug)]
pub(super) struct Incoming {
    kind: u8,
    /// Which of our messages it answers.
    pub(super) reply_to: Option<u32>,
    error: Option<String>,
    member: String,
    signature: String,
    body: Data<'static, 'static>,
}

/// What an answer says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// A yes or no.
    Bool(bool),
    /// An object.
    Path(String),
    /// Anything else, which nobody looks at.
    Other,
}

/// The arguments of a call.
#[derive(Debug, Default)]
pub(super) struct Body {
    types: String,
    bytes: Vec<u8>,
}

impl Body {
    /// A number of texts.
    pub(super) fn texts(arguments: &[&str]) -> zbus::Result<Self> {
        let mut bytes = Vec::new();
        for argument in arguments {
            bytes.extend_from_slice(&to_bytes(context(Endian::Little, bytes.len()), argument)?);
        }
        Ok(Self { types: "s".repeat(arguments.len()), bytes })
    }

    /// The members of a tuple, each an argument.
    pub(super) fn members<A: Serialize + Type>(arguments: &A) -> zbus::Result<Self> {
        let bytes = to_bytes(context(Endian::Little, 0), arguments)?.to_vec();
        Ok(Self { types: A::SIGNATURE.to_string_no_parens(), bytes })
    }
}

/// The bytes of a call.
pub(super) fn call(method: &Method, serial: u32, body: &Body) -> zbus::Result<Vec<u8>> {
    /// `NO_AUTO_START`.
    const NO_AUTO_START: u8 = 2;
    let mut fields = vec![
        (PATH, Field::Path(method.path)),
        (INTERFACE, Field::Text(method.interface)),
        (MEMBER, Field::Text(method.member)),
        (DESTINATION, Field::Text(method.destination)),
    ];
    if !body.types.is_empty() {
        fields.push((SIGNATURE, Field::Types(&body.types)));
    }
    let flags = if method.may_start { 0 } else { NO_AUTO_START };
    let length = u32::try_from(body.bytes.len()).map_err(|_| zbus::Error::ExcessData)?;
    let header: Header<Field<'_>> = (b'l', METHOD_CALL, flags, VERSION, length, serial, fields);
    let mut bytes = to_bytes(context(Endian::Little, 0), &header)?.to_vec();
    bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
    bytes.extend(&body.bytes);
    Ok(bytes)
}

fn context(endian: Endian, position: usize) -> Context {
    Context::new(endian, position)
}

/// How long the message is that begins so, once enough of it is there to tell.
///
/// # Errors
///
/// When it is no message, or none that is worth waiting for.
pub(super) fn length(beginning: &[u8]) -> Result<Option<usize>, String> {
    let Some(fixed) = beginning.first_chunk::<FIXED>() else { return Ok(None) };
    let endian = endian(fixed[0])?;
    let number = |at: usize| {
        let bytes = [fixed[at], fixed[at + 1], fixed[at + 2], fixed[at + 3]];
        match endian {
            Endian::Little => u32::from_le_bytes(bytes),
            Endian::Big => u32::from_be_bytes(bytes),
        }
    };
    let parts = [number(4), number(12)].map(|length| usize::try_from(length).unwrap_or(usize::MAX));
    let [body, fields] = parts.map(|length| length.min(LONGEST));
    let whole = (FIXED + fields).next_multiple_of(ALIGNMENT) + body;
    if whole > LONGEST { Err(format!("a message of {whole} bytes or more")) } else { Ok(Some(whole)) }
}

fn endian(sign: u8) -> Result<Endian, String> {
    match sign {
        b'l' => Ok(Endian::Little),
        b'B' => Ok(Endian::Big),
        _ => Err("a message of no byte order".to_owned()),
    }
}

impl Incoming {
    /// Reads a whole message.
    ///
    /// # Errors
    ///
    /// When it is none.
    pub(super) fn parse(bytes: Vec<u8>) -> Result<Self, String> {
        let endian = endian(bytes.first().copied().unwrap_or_default())?;
        let whole = Data::new(bytes, context(endian, 0));
        let broken = |error: zbus::Error| format!("a broken message: {error}");
        let (header, end): (Header<Variant<'_>>, usize) = whole.deserialize().map_err(broken)?;
        let (_, kind, _, _, _, _, fields) = header;
        let mut incoming = Self {
            kind,
            reply_to: None,
            error: None,
            member: String::new(),
            signature: String::new(),
            body: whole.slice(end.next_multiple_of(ALIGNMENT).min(whole.len())..),
        };
        for field in fields {
            match field {
                (REPLY_SERIAL, Variant::U32(serial)) => incoming.reply_to = Some(serial),
                (ERROR_NAME, Variant::Str(name)) => incoming.error = Some(name.to_string()),
                (MEMBER, Variant::Str(member)) => incoming.member = member.to_string(),
                // Several types in a row are read as a structure's.
                (SIGNATURE, Variant::Signature(signature)) => incoming.signature = signature.to_string_no_parens(),
                _ => {}
            }
        }
        Ok(incoming)
    }

    /// Whether it is a signal of this name.
    pub(super) fn is_signal(&self, member: &str) -> bool {
        self.kind == SIGNAL && self.member == member
    }

    /// What it says, if that is of this type; several things are a tuple.
    pub(super) fn read<'a, T: Deserialize<'a> + Type>(&'a self) -> Option<T> {
        let fits = T::SIGNATURE.to_string_no_parens() == self.signature;
        fits.then(|| self.body.deserialize().ok()).flatten().map(|(said, _)| said)
    }

    /// What it says, or, of an error, its name and text.
    pub(super) fn answer(self) -> Result<Answer, (String, String)> {
        let text = || match self.signature.starts_with('s') {
            true => self.body.deserialize::<&str>().map(|(text, _)| text.to_owned()).unwrap_or_default(),
            false => String::new(),
        };
        match (self.kind, self.signature.as_str()) {
            (METHOD_RETURN, "b") => {
                Ok(self.body.deserialize().map_or(Answer::Other, |(answer, _)| Answer::Bool(answer)))
            }
            (METHOD_RETURN, "o") => {
                Ok(self.read::<ObjectPath<'_>>().map_or(Answer::Other, |path| Answer::Path(path.to_string())))
            }
            (ERROR, _) => Err((self.error.clone().unwrap_or_default(), text())),
            _ => Ok(Answer::Other),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const METHOD: Method =
        Method { destination: "a.b", path: "/a", interface: "a.b.c", member: "Do", may_start: false };

    /// A message with these fields.
    fn message(kind: u8, fields: Vec<(u8, Variant<'_>)>, body: &[u8]) -> Vec<u8> {
        let header: Header<Variant<'_>> = (b'l', kind, 0, VERSION, u32::try_from(body.len()).unwrap(), 9, fields);
        let mut bytes = to_bytes(context(Endian::Little, 0), &header).unwrap().to_vec();
        bytes.resize(bytes.len().next_multiple_of(ALIGNMENT), 0);
        bytes.extend_from_slice(body);
        bytes
    }

    #[test]
    fn a_call_to_the_byte() {
        let expected = [
            b"l\x01\x02\x01\x0f\x00\x00\x00\x07\x00\x00\x00\x48\x00\x00\x00".as_slice(),
            b"\x01\x01o\x00\x02\x00\x00\x00/a\x00\x00\x00\x00\x00\x00",
            b"\x02\x01s\x00\x05\x00\x00\x00a.b.c\x00\x00\x00",
            b"\x03\x01s\x00\x02\x00\x00\x00Do\x00\x00\x00\x00\x00\x00",
            b"\x06\x01s\x00\x03\x00\x00\x00a.b\x00\x00\x00\x00\x00",
            b"\x08\x01g\x00\x02ss\x00",
            b"\x02\x00\x00\x00xy\x00\x00\x02\x00\x00\x00zz\x00",
        ]
        .concat();
        let bytes = call(&METHOD, 7, &Body::texts(&["xy", "zz"]).unwrap()).unwrap();
        let whole = length(&bytes).unwrap();
        assert_eq!(whole, Some(bytes.len()), "{bytes:02x?}");
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(&expected), "{bytes:02x?}");
    }

    #[test]
    fn arguments_of_all_types() {
        let texts = Body::members(&("xy", "zz")).unwrap();
        assert_eq!(call(&METHOD, 7, &texts).unwrap(), call(&METHOD, 7, &Body::texts(&["xy", "zz"]).unwrap()).unwrap());
        let properties = vec![("A", Variant::from(true)), ("B", Variant::from(vec![("x".to_owned(), "y".to_owned())]))];
        let body = Body::members(&("u", properties, Vec::<(&str, Vec<(&str, Variant<'_>)>)>::new())).unwrap();
        assert_eq!(body.types, "sa(sv)a(sa(sv))");
        let types: Vec<_> = body.bytes.windows(5).filter(|part| *part == b"a(ss)").collect();
        assert_eq!((types.len(), body.bytes.len()), (1, 80));
    }

    #[test]
    fn signals_are_read() {
        let fields = vec![(MEMBER, Variant::from("Gone")), (SIGNATURE, Signature::try_from("us").unwrap().into())];
        let signal = Incoming::parse(message(SIGNAL, fields, b"\x07\0\0\0\x02\0\0\0xy\0")).unwrap();
        assert!(signal.is_signal("Gone") && !signal.is_signal("Come"));
        assert_eq!(signal.read::<(u32, &str)>(), Some((7, "xy")));
        assert_eq!(signal.read::<(u32, u32)>(), None);
    }

    #[test]
    fn answers_are_read() {
        let fields = |signature: &str, more: Option<(u8, Variant<'static>)>| {
            let signature = Signature::try_from(signature).unwrap();
            let fields = vec![(REPLY_SERIAL, Variant::U32(7)), (SIGNATURE, signature.into())];
            fields.into_iter().chain(more).collect::<Vec<_>>()
        };
        let yes = Incoming::parse(message(METHOD_RETURN, fields("b", None), &[1, 0, 0, 0])).unwrap();
        assert_eq!((yes.reply_to, yes.answer()), (Some(7), Ok(Answer::Bool(true))));
        let text = b"\x04\x00\x00\x00WHY?\x00";
        let word = Incoming::parse(message(METHOD_RETURN, fields("s", None), text)).unwrap();
        assert_eq!(word.answer(), Ok(Answer::Other));
        let name = Some((ERROR_NAME, Variant::from("a.Error")));
        let error = Incoming::parse(message(ERROR, fields("s", name), text)).unwrap();
        assert_eq!(error.answer(), Err(("a.Error".to_owned(), "WHY?".to_owned())));
    }

    #[test]
    fn hostile_bytes_are_refused() {
        assert_eq!(length(&[b'l'; 15]), Ok(None));
        assert!(length(&[0xff; 16]).is_err());
        for at in [4, 12] {
            let mut long = [0; FIXED];
            long[0] = b'B';
            long[at] = 0xff;
            assert!(length(&long).unwrap_err().starts_with("a message of 1048"), "{at}");
        }
        let whole = call(&METHOD, 7, &Body::texts(&["xy"]).unwrap()).unwrap();
        for end in 0..whole.len() {
            let _ = Incoming::parse(whole[..end].to_vec()).map(Incoming::answer);
        }
        for at in 0..whole.len() {
            for byte in [0, 1, 0x7f, 0xff] {
                let mut broken = whole.clone();
                broken[at] = byte;
                let _ = Incoming::parse(broken).map(Incoming::answer);
            }
        }
    }
}
