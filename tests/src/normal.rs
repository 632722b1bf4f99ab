//! Random names and addresses replaced by stable ones.
//!
//! Host ends of veth pairs (`veth` and eight hex digits) are numbered in the order of creation; a MAC becomes the name
//! of the link that has it. So a MAC in an answer or a rule still has to be the MAC of the right link.

use std::collections::{HashMap, HashSet};

use serde_json::{Map, Value};

/// The names of one moment: what the random names in the texts of that moment stand for.
#[derive(Clone, Debug, Default)]
pub struct Names {
    veths: HashMap<String, String>,
    /// What stands for a MAC: the first link that has it.
    macs: HashMap<String, String>,
    /// Which link has which MAC. A bridge often has that of a port, and each namespace has its `eth0`.
    links: HashSet<(String, String)>,
    keep: String,
}

const VETH: usize = "veth".len() + 8;
const MAC: usize = "aa:bb:cc:dd:ee:ff".len();

impl Names {
    /// Learns from the links of one namespace, as `ip -j link` lists them. MACs that occur in `keep` are not random.
    pub(crate) fn learn(&mut self, links: &Value, keep: &str) {
        keep.clone_into(&mut self.keep);
        let mut links: Vec<&Value> = links.as_array().expect("a list of links").iter().collect();
        links.sort_by_key(|link| link["ifindex"].as_u64());
        for link in links {
            let name = link["ifname"].as_str().expect("a link has a name");
            if is_random(name) {
                let number = self.veths.len() + 1;
                self.veths.insert(name.to_owned(), format!("veth({number})"));
            }
            if let Some(mac) = link["address"].as_str().filter(|mac| self.is_random_mac(mac)) {
                let owner = format!("mac({})", self.text(name));
                self.macs.entry(mac.to_owned()).or_insert(owner);
                self.links.insert((name.to_owned(), mac.to_owned()));
            }
        }
    }

    /// A text with every random name and MAC in it replaced. Those of no known link become `veth(?)` and `mac(?)`.
    #[must_use]
    pub fn text(&self, text: &str) -> String {
        // Most lines are settings, which have neither.
        if !text.contains("veth") && !text.contains(':') {
            return text.to_owned();
        }
        let mut replaced = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(first) = rest.chars().next() {
            let (taken, standing) = self.token(rest).unwrap_or((first.len_utf8(), None));
            replaced.push_str(standing.as_deref().unwrap_or(&rest[..taken]));
            rest = &rest[taken..];
        }
        replaced
    }

    /// The length of a random name at the start of the text, and what stands for it, if anything does.
    fn token(&self, text: &str) -> Option<(usize, Option<String>)> {
        if let Some(veth) = text.get(..VETH).filter(|name| is_random(name)) {
            let known = self.veths.get(veth).map_or("veth(?)", String::as_str);
            return Some((VETH, Some(known.to_owned())));
        }
        let mac = text.get(..MAC).filter(|text| is_mac(text))?;
        let known = self.macs.get(mac).map_or("mac(?)", String::as_str);
        Some((MAC, self.is_random_mac(mac).then(|| known.to_owned())))
    }

    /// Nobody draws the zero or a multicast address by lot.
    fn is_random_mac(&self, mac: &str) -> bool {
        let multicast = u8::from_str_radix(&mac[..2], 16).is_ok_and(|byte| byte & 1 == 1);
        !multicast && mac != "00:00:00:00:00:00" && !self.keep.contains(mac)
    }

    /// What stands for the MAC of a certain link: `mac(own)` when it is the link's.
    #[must_use]
    pub(crate) fn mac_of(&self, link: &str, mac: &str) -> String {
        if self.links.contains(&(link.to_owned(), mac.to_owned())) { "mac(own)".to_owned() } else { self.text(mac) }
    }

    /// A JSON document with all its strings replaced. An object with a `name` and a `mac` speaks of a link.
    #[must_use]
    pub fn json(&self, value: &Value) -> Value {
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Array(items) => items.iter().map(|item| self.json(item)).collect(),
            Value::Object(members) => Value::Object(self.object(members)),
            other => other.clone(),
        }
    }

    fn object(&self, members: &Map<String, Value>) -> Map<String, Value> {
        let pairs = members.iter();
        let mut replaced: Map<_, _> = pairs.map(|(key, value)| (self.text(key), self.json(value))).collect();
        let text = |key: &str| members.get(key).and_then(Value::as_str);
        if let (Some(name), Some(mac)) = (text("name"), text("mac")) {
            replaced.insert("mac".to_owned(), self.mac_of(name, mac).into());
        }
        replaced
    }
}

fn is_random(name: &str) -> bool {
    name.len() == VETH && name.strip_prefix("veth").is_some_and(|rest| rest.bytes().all(|c| c.is_ascii_hexdigit()))
}

fn is_mac(text: &str) -> bool {
    text.split(':').count() == 6 && text.split(':').all(|byte| byte.len() == 2 && u8::from_str_radix(byte, 16).is_ok())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::Names;

    fn names() -> Names {
        let mut names = Names::default();
        let links = json!([
            {"ifindex": 3, "ifname": "veth0badcafe", "address": "02:00:00:00:00:03"},
            {"ifindex": 2, "ifname": "cni0", "address": "02:00:00:00:00:02"},
            {"ifindex": 4, "ifname": "eth0", "address": "02:00:00:00:00:04"},
        ]);
        names.learn(&links, "the MAC 02:00:00:00:00:04 was asked for");
        names
    }

    #[test]
    fn random_names_and_macs_are_replaced_inside_a_text() {
        let text = "on veth0badcafe: 02:00:00:00:00:02, 02:00:00:00:00:03";
        assert_eq!(names().text(text), "on veth(1): mac(cni0), mac(veth(1))");
    }

    #[test]
    fn a_link_has_its_own_mac_also_when_another_has_the_same() {
        let mut names = names();
        names.learn(&json!([{"ifindex": 5, "ifname": "veth00000001", "address": "02:00:00:00:00:02"}]), "");
        let told = names.json(&json!({"name": "veth00000001", "mac": "02:00:00:00:00:02"}));
        assert_eq!(told, json!({"name": "veth(2)", "mac": "mac(own)"}));
    }

    #[test]
    fn chosen_and_unknown_ones_stay_visible() {
        assert_eq!(names().text("02:00:00:00:00:04 veth12345678"), "02:00:00:00:00:04 veth(?)");
        assert_eq!(names().text("vethernet 1:2:3 fd00::1 ü"), "vethernet 1:2:3 fd00::1 ü");
    }
}
