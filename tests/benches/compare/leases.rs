//! Directories of leases, as the Go suite and ours keep them.

use std::fs;
use std::path::Path;

/// Addresses of a /16 that host-local gives out: not the network's, the gateway's and the broadcast address.
const POOL: usize = 65_533;

/// Writes leases of that many containers, spread evenly over the pool. The last address that was given out is in the
/// middle: after some churn a pool is neither sorted nor in the state in which the next address is free for sure.
pub(crate) fn write(directory: &Path, prefix: &str, leases: usize) {
    fs::create_dir_all(directory).unwrap_or_else(|error| panic!("create {}: {error}", directory.display()));
    let address = |lease: usize| {
        let number = 2 + lease * POOL / leases;
        format!("{prefix}.{}.{}", number >> 8, number & 0xff)
    };
    for lease in 0..leases {
        write_file(&directory.join(address(lease)), &format!("{lease:064x}\r\neth0"));
    }
    write_file(&directory.join("last_reserved_ip.0"), &address(leases / 2));
}

/// Replaces the data directory by one that has nothing in it but the network's directory.
pub(crate) fn isolate(data_dir: &Path, directory: &Path) {
    let aside = data_dir.with_extension("aside");
    fs::rename(directory, &aside).expect("move the leases aside");
    fs::remove_dir_all(data_dir).expect("remove the data directory");
    fs::create_dir(data_dir).expect("create the data directory");
    fs::rename(&aside, directory).expect("move the leases back");
}

fn write_file(path: &Path, content: &str) {
    fs::write(path, content).unwrap_or_else(|error| panic!("write {}: {error}", path.display()));
}
