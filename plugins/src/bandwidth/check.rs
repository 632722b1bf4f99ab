//! CHECK of the `bandwidth` plugin: every number, and the way that packets take.

use cni::Error;
use cni::plugin::Attachment;
use cni::result::AddResult;
use kernel::link::Link;
use kernel::plan::{Limit, Machine, Redirect, Side, Step, Unlimited};
use kernel::tc::Mismatch;

use super::block::Blocks;
use super::config::Config;
use super::{place, plan};
use crate::error::attempt;

/// Checks both ways.
///
/// # Errors
///
/// What does not hold, in the words of the Go suite where it has words for it.
pub(super) fn check(
    config: &Config,
    attachment: &Attachment,
    previous: &AddResult,
    blocks: &Blocks<'_>,
    machine: &mut Machine,
) -> Result<(), Error> {
    let (veth, found) = place::host_end(machine, attachment, previous, &blocks.requests())?;
    if let Some(bucket) = config.ingress {
        check_limit(&plan::to_container(&veth.name, bucket), machine)?;
    }
    if let Some(bucket) = config.egress {
        let block = blocks.present(&found).ok_or_else(|| Error::internal("get ifb device: Link not found"))?;
        machine.remember(Side::Host, block);
        check_limit(&plan::from_container(&block.name, bucket), machine)?;
        check_way(&veth, block, machine)?;
    }
    Ok(())
}

fn check_limit(limit: &Limit, machine: &mut Machine) -> Result<(), Error> {
    let link = &limit.link;
    let (text, details) =
        match limit.compare(machine).map_err(|error| attempt(format_args!("look at {link}"), error))? {
            None => return Ok(()),
            Some(Unlimited::Absent(found)) => {
                let found = found.as_deref().unwrap_or("nothing");
                ("Failed to find qdisc", format!("the root of {link} is {found}, not tbf"))
            }
            Some(Unlimited::Other(Mismatch::Rate(wanted, found))) => {
                ("Rate doesn't match", format!("{link}: {found} bytes per second, not {wanted}"))
            }
            Some(Unlimited::Other(Mismatch::Limit(wanted, found))) => {
                ("Limit doesn't match", format!("{link}: a queue of {found} bytes, not {wanted}"))
            }
            Some(Unlimited::Other(Mismatch::Buffer(wanted, found))) => {
                ("Buffer doesn't match", format!("{link}: a bucket of {found} ticks of 64 ns, not {wanted}"))
            }
        };
    Err(Error::internal(text).with_details(details))
}

/// Checks that what the container sends gets to its limit, and on from there.
fn check_way(veth: &Link, block: &Link, machine: &mut Machine) -> Result<(), Error> {
    if !block.up {
        return Err(Error::internal(format!("ifb device {} is down", block.name)));
    }
    let step = Redirect { from: veth.name.clone(), to: block.name.clone() };
    step.check(machine).map_err(|deviation| {
        let text = format!("Failed to find filter: nothing redirects {} to {}", veth.name, block.name);
        Error::internal(text).with_details(deviation.to_string())
    })
}
