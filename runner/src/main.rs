//! xnet.
fn main() {}
