//! The kernel edge: everything that xnet asks of Linux, and nothing that it knows of CNI.
//!
//! # Theory of operation
//!
//! A network plugin is a short-lived process that says a handful of things to the kernel and must leave nothing behind
//! when one of them is refused. So this crate has two halves.
//!
//! The lower half speaks. [`netlink::Socket`] sends any number of requests in one `sendmsg` and pairs every answer with
//! its request, the kernel's own sentence (the extended ACK) included. [`Handle`] is such a socket inside one network
//! namespace: a netlink socket belongs for ever to the namespace in which it was opened, so the thread that opened it
//! can go home at once. The few other things that follow the thread (files below `/proc/sys/net`, a child process) are
//! done on a visit from which the thread comes back whatever happens: [`netns::NetNs::run`]. [`nft`] speaks nf_tables
//! over its own netlink family.
//!
//! The upper half promises. A [`plan::Step`] is one change that can be applied, checked and undone, and that prints as
//! the `ip`, `bridge`, `nft` or `sysctl` line which a reader knows. A [`plan::Plan`] is a list of them. Applying one
//! records what was done in [`plan::Applied`], so a failure at any point is undone in reverse; steps which are a single
//! route request each go out together in one message.
//!
//! Requests are built with the `rtnetlink` builders; answers are read for what plugins look at.

pub mod address;
pub mod conntrack;
mod errno;
mod handle;
pub mod iptables;
pub mod link;
pub mod mac;
pub mod neighbour;
pub mod netlink;
pub mod netns;
pub mod nft;
pub mod plan;
pub mod route;
pub mod rule;
#[cfg(test)]
mod sandbox;
#[cfg(target_env = "gnu")]
mod stack;
pub mod sysctl;
pub mod tc;
pub mod tun;
pub mod vlan;

pub use errno::sentence;
pub use handle::Handle;
pub use mac::Mac;
