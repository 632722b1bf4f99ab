//! Names that come from outside, checked once at the door.
//!
//! The rules make container ids and network names safe as parts of file names, and interface names safe in sysctl paths;
//! code behind these types relies on that and does not check again.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};

/// The longest interface name that the kernel takes, in bytes (`IFNAMSIZ` less the final zero).
const IFNAME_MAX: usize = 15;

macro_rules! name {
    ($(#[$doc:meta])* $type:ident, $check:ident) => {
        $(#[$doc])*
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $type(String);

        impl $type {
            /// The name as it was given.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl AsRef<str> for $type {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl TryFrom<String> for $type {
            type Error = Error;

            fn try_from(text: String) -> Result<$type, Error> {
                $check(&text)?;
                Ok($type(text))
            }
        }

        impl TryFrom<&str> for $type {
            type Error = Error;

            fn try_from(text: &str) -> Result<$type, Error> {
                $type::try_from(text.to_owned())
            }
        }

        impl FromStr for $type {
            type Err = Error;

            fn from_str(text: &str) -> Result<$type, Error> {
                $type::try_from(text.to_owned())
            }
        }

        impl From<$type> for String {
            fn from(name: $type) -> String {
                name.0
            }
        }
    };
}

name! {
    /// `CNI_CONTAINERID`: a letter or digit, then letters, digits, `_`, `.` and `-`, of any length.
    ContainerId, check_container_id
}

name! {
    /// The `name` of a network; the same characters as a container id.
    NetName, check_net_name
}

name! {
    /// `CNI_IFNAME`: what the kernel accepts as the name of an interface.
    IfName, check_ifname
}

fn check_container_id(id: &str) -> Result<(), Error> {
    if id.is_empty() {
        return Err(Error::new(Code::UNKNOWN_CONTAINER, "missing containerID"));
    }
    if !is_plain(id) {
        return Err(Error::new(Code::INVALID_ENVIRONMENT, "invalid characters in containerID").with_details(id));
    }
    Ok(())
}

fn check_net_name(name: &str) -> Result<(), Error> {
    if name.is_empty() {
        return Err(Error::new(Code::INVALID_CONFIG, "missing network name"));
    }
    if !is_plain(name) {
        return Err(Error::new(Code::INVALID_CONFIG, "invalid characters found in network name").with_details(name));
    }
    Ok(())
}

fn check_ifname(name: &str) -> Result<(), Error> {
    let invalid = |msg: &str| Err(Error::new(Code::INVALID_ENVIRONMENT, msg));
    if name.is_empty() {
        return invalid("interface name is empty");
    }
    if name.len() > IFNAME_MAX {
        let details = format!("interface name should be less than {} characters", IFNAME_MAX + 1);
        return invalid("interface name is too long").map_err(|error: Error| error.with_details(details));
    }
    if name == "." || name == ".." {
        return invalid("interface name is . or ..");
    }
    if name.contains(|c: char| c == '/' || c == ':' || c.is_whitespace()) {
        return invalid("interface name contains / or : or whitespace characters");
    }
    Ok(())
}

fn is_plain(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_alphanumeric())
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_what_runtimes_send() {
        let id = "4f1ba1cd2c14b1c4b8d5a0a8a4b2a4e9e1f6c4b9a1d6b9e0c3f7f4f6a1b2c3d4";
        assert_eq!(id.parse::<ContainerId>().unwrap().as_str(), id);
        assert_eq!("k8s-pod_net.1".parse::<NetName>().unwrap().to_string(), "k8s-pod_net.1");
        for ifname in ["eth0", "a", "...", "eth0@if3", "fifteen-bytes-x", "ä"] {
            assert_eq!(ifname.parse::<IfName>().unwrap().as_str(), ifname);
        }
    }

    #[test]
    fn refuses_with_code_text_and_details() {
        let id = |text: &str| text.parse::<ContainerId>().unwrap_err();
        assert_eq!(id(""), Error::new(Code(3), "missing containerID"));
        for bad in ["../x", "-x", ".", "a/b", "a b", "ä", "a\n"] {
            assert_eq!(id(bad), Error::new(Code(4), "invalid characters in containerID").with_details(bad));
        }
        let net = |text: &str| text.parse::<NetName>().unwrap_err();
        assert_eq!(net(""), Error::new(Code(7), "missing network name"));
        assert_eq!(net("../x"), Error::new(Code(7), "invalid characters found in network name").with_details("../x"));
    }

    #[test]
    fn refuses_interface_names() {
        let ifname = |text: &str| text.parse::<IfName>().unwrap_err();
        assert_eq!(ifname(""), Error::new(Code(4), "interface name is empty"));
        assert_eq!(
            ifname("sixteen-bytes-xx"),
            Error::new(Code(4), "interface name is too long")
                .with_details("interface name should be less than 16 characters")
        );
        for dots in [".", ".."] {
            assert_eq!(ifname(dots), Error::new(Code(4), "interface name is . or .."));
        }
        for bad in ["a/b", "a:b", "a b", "a\tb", "a\u{a0}b", "a\u{2003}b"] {
            let text = "interface name contains / or : or whitespace characters";
            assert_eq!(ifname(bad), Error::new(Code(4), text), "{bad:?}");
        }
    }

    #[test]
    fn decodes_from_json_with_the_same_rule() {
        assert_eq!(serde_json::from_str::<IfName>("\"eth0\"").unwrap().as_str(), "eth0");
        let error = serde_json::from_str::<IfName>("\"a/b\"").unwrap_err();
        assert!(error.to_string().starts_with("interface name contains /"), "{error}");
    }
}
