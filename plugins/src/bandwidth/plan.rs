//! The steps of a limit.

use kernel::plan::{EnsureIfb, Ingress, Limit, Plan, Redirect, SetAlias, SetUp, Side};
use kernel::tc::Bucket;

/// What stands before the kernel's refusal of either limit, in the words of the Go suite.
pub(super) const TO_CONTAINER: &str = "create qdisc";
pub(super) const FROM_CONTAINER: &str = "create ifb qdisc: create qdisc";

/// The limit on what the host's end `veth` sends, which is what goes to the container.
pub(super) fn to_container(veth: &str, bucket: Bucket) -> Limit {
    Limit { link: veth.to_owned(), bucket, attempt: TO_CONTAINER }
}

/// The limit on what the container sends, once it is redirected to `block`.
pub(super) fn from_container(block: &str, bucket: Bucket) -> Limit {
    Limit { link: block.to_owned(), bucket, attempt: FROM_CONTAINER }
}

/// Everything: `egress` is the block with its limit. The block comes first, because the other steps need its number and
/// then go out in one message; within that message a block is limited and up before anything is redirected to it, and it
/// is limited before it is up, which spares the kernel to wait for packets in flight.
pub(super) fn plan(veth: &str, ingress: Option<Bucket>, egress: Option<(EnsureIfb, Bucket)>) -> Plan {
    let mut plan = Plan::new();
    let block = egress.map(|(ensure, bucket)| {
        let (name, alias) = (ensure.ifb.name.clone(), ensure.alias.clone());
        plan.push(ensure);
        plan.push(SetAlias { link: name.clone(), alias });
        plan.push(from_container(&name, bucket));
        plan.push(SetUp { side: Side::Host, link: name.clone() });
        name
    });
    if let Some(bucket) = ingress {
        plan.push(to_container(veth, bucket));
    }
    if let Some(name) = block {
        plan.push(Ingress { link: veth.to_owned() });
        plan.push(Redirect { from: veth.to_owned(), to: name });
    }
    plan
}
