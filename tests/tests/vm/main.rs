//! What the kernel of the machine that builds may lack, on a stock kernel in a virtual machine: `make test-vm`.
//!
//! All of these tests are marked as ignored, so that they do not count as passed where they can not run. Plain emulation
//! makes every process cost some fifty milliseconds, so they start few.

mod netkit;
mod sctp;
mod twins;
mod vlan;
mod vrf;
