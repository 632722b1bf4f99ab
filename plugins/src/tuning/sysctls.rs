//! The parameters of a configuration: which are written, and which files they mean.

use std::fmt;

use cni::plugin::Call;
use cni::quote::quote;
use cni::{Error, IfName};
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// What stands for the interface's name in a key.
const IFNAME: &str = "IFNAME";

/// An object of parameters, in the document's order.
#[derive(Clone, Debug, Default)]
pub(super) struct Written(Vec<(String, String)>);

impl<'de> Deserialize<'de> for Written {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Pairs;

        impl<'de> Visitor<'de> for Pairs {
            type Value = Written;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Written, A::Error> {
                let mut pairs = Vec::new();
                while let Some((key, value)) = map.next_entry::<String, Option<String>>()? {
                    pairs.push((key, value.unwrap_or_default()));
                }
                Ok(Written(pairs))
            }
        }

        deserializer.deserialize_map(Pairs)
    }
}

/// The parameters that are to be set.
#[derive(Clone, Debug, Default)]
pub(super) struct Wanted(Vec<Entry>);

#[derive(Clone, Debug)]
struct Entry {
    key: String,
    value: String,
    /// From `args.cni`, which has the last word.
    is_override: bool,
}

/// A parameter of an interface's namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sysctl {
    /// Below `/proc/sys`, with slashes.
    pub(super) name: String,
    /// As it is written.
    pub(super) value: String,
}

impl Wanted {
    /// What is written, with the values of `overrides` for keys that are in both.
    pub(super) fn new(written: Written, overrides: Written) -> Self {
        let entry = |is_override| move |(key, value)| Entry { key, value, is_override };
        let mut entries: Vec<Entry> = written.0.into_iter().map(entry(false)).collect();
        for over in overrides.0.into_iter().map(entry(true)) {
            match entries.iter_mut().find(|entry| entry.key == over.key) {
                Some(entry) => *entry = over,
                None => entries.push(over),
            }
        }
        Self(entries)
    }

    /// Whether there are none.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The keys as they are written.
    pub(super) fn keys(&self) -> impl Iterator<Item = &str> {
        self.0.iter().map(|entry| entry.key.as_str())
    }

    /// The files that the keys mean for the interface `ifname`.
    ///
    /// # Errors
    ///
    /// When a key does not mean one below `/proc/sys/net`, or two with different values mean the same.
    pub(super) fn resolve(&self, ifname: &IfName) -> Result<Vec<Sysctl>, Error> {
        let mut found: Vec<(Sysctl, &Entry)> = Vec::new();
        for entry in &self.0 {
            let sysctl = Sysctl { name: name(&entry.key, ifname.as_str())?, value: entry.value.clone() };
            match found.iter_mut().find(|(other, _)| other.name == sysctl.name) {
                None => found.push((sysctl, entry)),
                Some(other) if entry.is_override && !other.1.is_override => *other = (sysctl, entry),
                Some((other, _)) if other.value == sysctl.value => {}
                Some((_, other)) => {
                    let details = format!("{} and {} both mean /proc/sys/{}", other.key, entry.key, sysctl.name);
                    return Err(duplicated().with_details(details));
                }
            }
        }
        Ok(found.into_iter().map(|(sysctl, _)| sysctl).collect())
    }
}

/// The file that a key means. Every dot is taken for a slash, so that `..` can't be said; the interface's name, which may
/// have dots, comes in after that.
fn name(key: &str, ifname: &str) -> Result<String, Error> {
    let path = key.replace('.', "/").replacen(IFNAME, ifname, 1);
    let parts: Vec<&str> = path.split('/').filter(|part| !part.is_empty()).collect();
    match parts.as_slice() {
        ["net", _, ..] if !parts.contains(&"..") => Ok(parts.join("/")),
        _ => Err(Error::internal(format!("invalid net sysctl key: {}", quote(&path)))),
    }
}

fn duplicated() -> Error {
    Error::internal("duplicated sysctl keys are not allowed")
}

/// Refuses a document in which a parameter is written twice. Everybody else's decoder lets the last one win; so the text
/// is read once more, by one that looks at nothing but the names in `sysctl`.
///
/// # Errors
///
/// When one occurs twice.
pub(super) fn refuse_duplicates(call: &Call) -> Result<(), Error> {
    let text = String::from_utf8_lossy(&call.stdin);
    let mut names = Names::default();
    let mut document = serde_json::Deserializer::from_str(&text);
    // What else may be wrong with the document is for others to say.
    let _ = Document(&mut names).deserialize(&mut document);
    if names.repeated { Err(duplicated()) } else { Ok(()) }
}

#[derive(Default)]
struct Names {
    seen: Vec<String>,
    repeated: bool,
}

/// The document, in which several members may be called `sysctl` in various letter cases.
struct Document<'a>(&'a mut Names);

/// The value of one of them.
struct Object<'a>(&'a mut Names);

impl<'de> DeserializeSeed<'de> for Document<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Document<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if key.eq_ignore_ascii_case("sysctl") {
                map.next_value_seed(Object(self.0))?;
            } else {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for Object<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Object<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            map.next_value::<IgnoredAny>()?;
            self.0.repeated |= self.0.seen.contains(&key);
            self.0.seen.push(key);
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use cni::plugin::Stderr;

    use super::*;

    fn resolve(keys: &[(&str, &str)], overrides: &[(&str, &str)], ifname: &str) -> Result<Vec<String>, Error> {
        let written = |pairs: &[(&str, &str)]| {
            Written(pairs.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect())
        };
        let wanted = Wanted::new(written(keys), written(overrides)).resolve(&ifname.parse().unwrap())?;
        Ok(wanted.into_iter().map(|Sysctl { name, value }| format!("{name}={value}")).collect())
    }

    #[test]
    fn keys_mean_files() {
        let table = [
            ("net.ipv4.ip_forward", "net/ipv4/ip_forward"),
            ("net/ipv4/conf/all.arp_notify", "net/ipv4/conf/all/arp_notify"),
            ("/net//ipv4/ip_forward/", "net/ipv4/ip_forward"),
            ("net.ipv4.conf.IFNAME.arp_notify", "net/ipv4/conf/eth0.100/arp_notify"),
            ("net.IFNAME.IFNAME", "net/eth0.100/IFNAME"),
            // Dots do not lead upwards.
            ("net/../kernel/pid_max", "net/kernel/pid_max"),
            ("net.ipv4...ip_forward", "net/ipv4/ip_forward"),
        ];
        for (key, name) in table {
            assert_eq!(resolve(&[(key, "1")], &[], "eth0.100").unwrap(), [format!("{name}=1")], "{key}");
        }
    }

    #[test]
    fn what_is_not_below_net_is_refused() {
        let table = [
            ("kernel.pid_max", "\"kernel/pid_max\""),
            ("kernel/pid_max", "\"kernel/pid_max\""),
            ("net", "\"net\""),
            ("net.", "\"net/\""),
            ("", "\"\""),
            ("../net/ipv4/ip_forward/../../../kernel/pid_max", "\"///net/ipv4/ip_forward/////////kernel/pid_max\""),
            ("nets.x", "\"nets/x\""),
            ("IFNAME.x", "\"eth0/x\""),
        ];
        for (key, shown) in table {
            let result = resolve(&[(key, "1")], &[], "eth0");
            match key.starts_with("../net") {
                // It is below net for all that.
                true => assert_eq!(result.unwrap(), ["net/ipv4/ip_forward/kernel/pid_max=1"]),
                false => assert_eq!(result.unwrap_err().msg, format!("invalid net sysctl key: {shown}")),
            }
        }
    }

    #[test]
    fn two_spellings_of_one_name() {
        let (dotted, slashed) = ("net.ipv4.x", "net/ipv4/x");
        assert_eq!(resolve(&[(dotted, "1"), (slashed, "1")], &[], "eth0").unwrap(), ["net/ipv4/x=1"]);
        let error = resolve(&[(dotted, "1"), (slashed, "2")], &[], "eth0").unwrap_err();
        assert_eq!(error.msg, "duplicated sysctl keys are not allowed");
        assert_eq!(error.details, "net.ipv4.x and net/ipv4/x both mean /proc/sys/net/ipv4/x");
        assert!(resolve(&[], &[(dotted, "1"), (slashed, "2")], "eth0").is_err());
        let by_key = resolve(&[(dotted, "1"), ("net.y", "3")], &[(dotted, "2"), ("net.z", "4")], "eth0");
        assert_eq!(by_key.unwrap(), ["net/ipv4/x=2", "net/y=3", "net/z=4"]);
        assert_eq!(resolve(&[(dotted, "1")], &[(slashed, "2")], "eth0").unwrap(), ["net/ipv4/x=2"]);
        let by_ifname = resolve(&[("net.IFNAME", "1"), ("net.eth0", "2")], &[], "eth0");
        assert_eq!(by_ifname.unwrap_err().msg, "duplicated sysctl keys are not allowed");
    }

    fn duplicates(members: &str) -> Option<String> {
        let document = format!(r#"{{"cniVersion": "1.0.0", "name": "n1", "type": "tuning"{members}}}"#);
        let call = Call::new(document.into_bytes(), Vec::new(), Stderr::buffered().0).unwrap();
        refuse_duplicates(&call).err().map(|error| error.msg)
    }

    #[test]
    fn names_that_occur_twice() {
        let refused = Some("duplicated sysctl keys are not allowed".to_owned());
        for members in [
            r#", "sysctl": {"net.a": "1", "net.a": "1"}"#,
            r#", "sysctl": {"net.a": "1", "net\u002ea": "2"}"#,
            r#", "sysctl": {"net.a": "1"}, "SysCtl": {"net.a": "1"}"#,
            r#", "sysctl": {"net.a": null, "net.b": {"net.a": 1}, "net.a": 1}"#,
        ] {
            assert_eq!(duplicates(members), refused, "{members}");
        }
        for members in [
            "",
            r#", "sysctl": null"#,
            r#", "sysctl": 5"#,
            r#", "sysctl": {"net.a": "1", "net.A": "1", "net/a": "1"}"#,
            r#", "other": {"net.a": "1", "net.a": "1"}"#,
            r#", "args": {"cni": {"sysctl": {"net.a": "1", "net.a": "1"}}}"#,
        ] {
            assert_eq!(duplicates(members), None, "{members}");
        }
    }
}
