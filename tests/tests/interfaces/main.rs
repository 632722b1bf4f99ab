//! The lives of attachments by the interface plugins other than bridge: traffic, CHECK after tampering, every way to end.
//!
//! What the kernel of the machine that builds may lack (ipvlan, VLANs, dummy) is told in a virtual machine.

mod cable;
mod cards;
mod damage;
mod devices;
mod failure;
mod kinds;
mod life;
mod routes;
