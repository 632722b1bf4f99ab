//! The `bandwidth` plugin: what goes to the container, and what comes from it, is limited to a rate.
//!
//! # Theory of operation
//!
//! The container hangs on a veth pair that an earlier plugin of the chain has made. What goes to the container leaves the
//! host's end of the pair, and what leaves a link can wait: a token bucket filter at its root is the limit ("ingress").
//! What comes from the container arrives at the host's end, and can't wait there. So all of it is redirected to a link of
//! its own, an intermediate functional block, which sends it on under a token bucket filter ("egress").
//!
//! Everything is said over netlink in three messages to the host: what is there; a block; and all the rest, in an order
//! in which nothing is redirected to a block that does not work yet. The numbers are those of the Go suite, so either
//! suite can check and remove what the other has made.
//!
//! The limits on the pair go with the pair. What an attachment owns beyond is the block, found by name and alias
//! ([`block`]): so DEL needs no previous result and no namespace, and GC no list of its own. As long as the pair is there
//! DEL takes the limits off it too, because packets redirected to a block that is gone are lost.
//!
//! Said again, everything is as it was.

mod block;
mod check;
mod config;
mod place;
mod plan;
mod teardown;

#[cfg(test)]
mod tests;

use cni::plugin::{Attachment, Call, Plugin, ValidAttachments};
use cni::result::{AddResult, Interface};
use cni::{Code, Error, Version};
use kernel::link::Link;
use kernel::plan::{Applied, Machine};
use kernel::tc;

use crate::container;
use crate::error::{attempt, from_failure};
use block::Blocks;
use config::Config;

/// What an Ethernet frame has beyond its MTU, in bytes; it counts against the limit.
const ETHERNET: u64 = 14;

/// The kernel's modules for a limit one way, and for one the other way.
const TO_CONTAINER: &[&str] = &["sch_tbf"];
const FROM_CONTAINER: &[&str] = &["sch_tbf", "ifb", "sch_ingress", "cls_u32", "act_mirred"];

/// The plugin.
#[derive(Clone, Copy, Debug)]
pub struct Bandwidth;

impl Plugin for Bandwidth {
    const NAME: &'static str = "bandwidth";
    const VERSIONS: &'static [Version] =
        &[Version::V0_3_0, Version::V0_3_1, Version::V0_4_0, Version::V1_0_0, Version::V1_1_0];

    fn add(&self, call: &Call, attachment: &Attachment) -> Result<AddResult, Error> {
        let config = Config::load(call)?;
        let previous = previous(call)?.ok_or_else(|| Error::internal("must be called as chained plugin"))?;
        if config.is_empty() {
            return Ok(previous);
        }
        config.refuse_standstill()?;
        limit(call, &config, attachment, previous, &mut enter(attachment)?)
    }

    fn del(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call)?;
        teardown::del(call, &config, attachment)
    }

    fn check(&self, call: &Call, attachment: &Attachment) -> Result<(), Error> {
        let config = Config::load(call)?;
        let previous = previous(call)?.ok_or_else(|| Error::internal("must be called as a chained plugin"))?;
        if config.is_empty() {
            return Ok(());
        }
        let owner = attachment.owner(&call.name);
        check::check(&config, attachment, &previous, &Blocks::of(&owner), &mut enter(attachment)?)
    }

    fn gc(&self, call: &Call, valid: &ValidAttachments) -> Result<(), Error> {
        Config::load(call)?;
        if !valid.is_specified() {
            return Ok(());
        }
        teardown::gc(&call.name, valid, &mut Machine::host_only())
    }

    /// Only what the network's own rates need is looked for: what a runtime will ask for, if anything, is not known.
    fn status(&self, call: &Call) -> Result<(), Error> {
        let config = Config::load(call)?;
        let needed = match config {
            Config { egress: Some(_), .. } => FROM_CONTAINER,
            Config { ingress: Some(_), .. } => TO_CONTAINER,
            Config { .. } => &[],
        };
        match tc::lacks(needed) {
            Some(module) => {
                let text = format!("the kernel lacks {module}, without which rates can't be limited");
                Err(Error::new(Code::PLUGIN_NOT_AVAILABLE, text))
            }
            None => Ok(()),
        }
    }
}

/// The previous result. The Go suite says twice what it could not do.
fn previous(call: &Call) -> Result<Option<AddResult>, Error> {
    call.prev_result().map_err(|error| error.context("could not parse prevResult"))
}

fn enter(attachment: &Attachment) -> Result<Machine, Error> {
    let netns = container::open(attachment)?;
    Machine::with_container(netns).map_err(|error| attempt("enter the container's netns", error))
}

/// Sets the limits, all of them or none.
fn limit(
    call: &Call,
    config: &Config,
    attachment: &Attachment,
    previous: AddResult,
    machine: &mut Machine,
) -> Result<AddResult, Error> {
    let owner = attachment.owner(&call.name);
    let blocks = Blocks::of(&owner);
    let lookups = if config.egress.is_some() { blocks.requests() } else { Vec::new() };
    let (veth, found) = place::host_end(machine, attachment, &previous, &lookups)?;
    let mut result = previous;
    let egress = match config.egress {
        Some(bucket) => {
            let block = blocks.choose(&found, &veth, machine)?;
            let (name, mac) = (block.ifb.name.clone(), block.ifb.mac.to_string());
            result.interfaces.push(Interface { name, mac, ..Interface::default() });
            Some((block, bucket))
        }
        None => None,
    };
    warn_of_small_bursts(call, config, &veth);
    let mut done = Applied::default();
    let applied = plan::plan(&veth.name, config.ingress, egress).apply(machine, &mut done);
    applied.map_err(|failure| {
        for other in done.undo(machine) {
            call.warn(format_args!("undoing ADD: {other}"));
        }
        from_failure(failure)
    })?;
    Ok(result)
}

/// A burst smaller than a packet is a limit that full packets never pass. The Go suite sets it without a word.
fn warn_of_small_bursts(call: &Call, config: &Config, veth: &Link) {
    for (way, bucket) in config.ways() {
        let (longest, frame) = (bucket.longest_packet(), u64::from(veth.mtu) + ETHERNET);
        if longest < frame {
            call.warn(format_args!(
                "{way}Burst: packets of more than {longest} bytes will be dropped; {} has packets of up to {frame}",
                veth.name
            ));
        }
    }
}
