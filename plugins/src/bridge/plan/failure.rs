//! Whatever step fails, the attachment leaves nothing; the bridge and the nftables layout are shared and stay.

use super::tests::{answer, config, names, owner};
use super::*;
use crate::injection;

fn everything() -> Plan {
    let config = config(
        r#""isDefaultGateway": true, "ipMasq": true, "hairpinMode": true, "portIsolation": true, "macspoofchk": true,
           "ipam": {"type": "host-local"}"#,
    );
    let mut result = answer();
    complete(&config, &mut result);
    let mut whole = links(&config, &owner(), &names(None));
    whole.extend(addresses(&config, &owner(), &names(None), &result).unwrap());
    whole.extend(running(&config, &names(None), &result.ips));
    whole
}

#[test]
fn nothing_of_the_attachment_is_left_whatever_step_fails() {
    injection::at_every_step(everything);
}

#[test]
fn the_traces_would_show_an_attachment() {
    injection::shows(everything, &["veth1", "eth0", "cid1", "default via 10.1.0.1"]);
}
