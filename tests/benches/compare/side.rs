//! One side of a comparison: whose binaries, and the names of all that it has for itself.

use std::path::PathBuf;

use harness::Suite;
use serde_json::{Value, json};

use crate::leases;

pub(crate) struct Side {
    pub(crate) suite: Suite,
    /// Of its network, its bridge and its directory; unique among the two sides.
    pub(crate) name: &'static str,
    pub(crate) mappings: usize,
    leases: usize,
    number: u8,
}

impl Side {
    pub(crate) fn ours(name: &'static str) -> Self {
        Self::of(Suite::Ours, name)
    }

    pub(crate) fn of(suite: Suite, name: &'static str) -> Self {
        Self { suite, name, mappings: 0, leases: 0, number: 1 }
    }

    /// With leases of others in its pool.
    pub(crate) fn leases(mut self, leases: usize) -> Self {
        self.leases = leases;
        self
    }

    /// With port mappings of others on its host.
    pub(crate) fn mappings(mut self, mappings: usize) -> Self {
        self.mappings = mappings;
        self
    }

    /// As the second side: both are on one machine, and must not be in one subnet.
    pub(crate) fn second(mut self) -> Self {
        self.number = 2;
        self
    }

    pub(crate) fn bridge(&self) -> String {
        format!("br-{}", self.name)
    }

    /// host-local with a pool of 65,533 addresses.
    pub(crate) fn ipam(&self) -> Value {
        json!({"type": "host-local", "dataDir": self.data_dir(), "ranges": [[{"subnet": self.subnet()}]]})
    }

    /// The same, with a range of IPv6 beside it.
    pub(crate) fn dual_ipam(&self) -> Value {
        let mut ipam = self.ipam();
        let ranges = ipam["ranges"].as_array_mut().expect("the ranges are a list");
        ranges.push(json!([{"subnet": format!("fd00:{}::/64", 100 + self.number)}]));
        ipam
    }

    pub(crate) fn subnet(&self) -> String {
        format!("{}.0.0/16", self.prefix())
    }

    /// The first two bytes of its addresses.
    pub(crate) fn prefix(&self) -> String {
        format!("10.{}", 100 + self.number)
    }

    pub(crate) fn prepare(&self) {
        if self.leases > 0 {
            leases::write(&self.directory(), &self.prefix(), self.leases);
        }
    }

    /// Forgets what has been kept beside the leases, so that the next call is the first that meets them.
    pub(crate) fn forget_index(&self) {
        leases::isolate(&self.data_dir(), &self.directory());
    }

    fn data_dir(&self) -> PathBuf {
        PathBuf::from("/var/lib/cni").join(self.name)
    }

    fn directory(&self) -> PathBuf {
        self.data_dir().join(self.name)
    }
}
