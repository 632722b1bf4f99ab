//! What the build script has made: the numbers of calls, and the default profile as a program.

#![expect(clippy::unreadable_literal, reason = "written by the build script")]

use super::bpf::Instruction;
use super::profile::Numbers;

include!(concat!(env!("OUT_DIR"), "/seccomp.rs"));
