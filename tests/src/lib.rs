//! The harness of the tests that use the binaries from outside.
//!
//! A story needs a machine of its own, some containers on it, calls to plugins, and a look at what they left:
//!
//! * [`Node`] is the machine: a thread in a fresh network and mount namespace, with its own `/run`, `/etc`, `/opt` and
//!   `/var/lib`. It goes away with its thread, so a test can leave nothing on the host, whatever happens. When the story
//!   ends the node is compared with what it was before (shared things such as bridges may stay, what belongs to an
//!   attachment may not), and so is the host.
//! * [`Netns`] is a container's namespace in it, pinned by a bind mount as runtimes do.
//! * [`Plugin`] starts a real binary as a runtime would, and gives an [`Answer`]. Every panic prints the whole call.
//! * [`State`] is everything that plugins can change (links, addresses, routes, rules, sysctls, rulesets, queueing
//!   disciplines, followed connections, files) as
//!   sorted lines of text, random names and MACs replaced, so that two states can be compared and the difference read.
//!
//! The binaries under test are found in `$XNET_BIN_DIR`, else in `bin/` of the workspace, where `make build` puts them.
//! `XNET_BIN_DIR=/usr/lib/cni` runs the stories with Debian's Go suite in the place of ours, which tests the tests.

mod chain;
mod config;
mod conntrack;
mod containerd;
mod echo;
mod files;
mod host;
mod links;
mod netns;
mod network;
mod node;
mod normal;
mod owned;
mod plugin;
mod process;
mod qdiscs;
mod reach;
mod rulesets;
mod sctp;
mod skip;
mod state;
mod suite;
mod sysctls;
mod traffic;

pub use chain::Chain;
pub use config::{chain, dual_stack, parts, published, short_chain, with};
pub use containerd::{Containerd, RunningContainer};
pub use echo::{Echo, Transport};
pub use netns::Netns;
pub use network::Network;
pub use node::Node;
pub use normal::Names;
pub use plugin::{Answer, Failure, Plugin};
pub use process::{ip, run, sh};
pub use reach::assert_reached_by_all;
pub use skip::skip;
pub use state::State;
pub use suite::Suite;
pub use traffic::{Server, Tcpdump, addresses};
