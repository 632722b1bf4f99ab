//! iptables rules, one `iptables-restore` per family and operation.
