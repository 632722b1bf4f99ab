//! A cable between the tap devices `eth0` of two containers: what one sends the other receives.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use harness::Netns;

/// Opens the devices where they are and passes frames on. `setns` is system call 308 on x86-64.
const SCRIPT: &str = r#"
use strict; use warnings; use Fcntl;
my @ends;
for my $path (@ARGV) {
    sysopen(my $netns, $path, O_RDONLY) or die "open $path: $!";
    syscall(308, fileno($netns), 0x40000000) == 0 or die "setns: $!";
    sysopen(my $end, "/dev/net/tun", O_RDWR) or die "open tun: $!";
    my $request = pack("a16 s x22", "eth0", 0x1002);
    ioctl($end, 0x400454ca, $request) or die "attach: $!";
    push @ends, $end;
}
$| = 1;
print "ready\n";
while (1) {
    my $waiting = "";
    vec($waiting, fileno($_), 1) = 1 for @ends;
    select($waiting, undef, undef, undef);
    for my $side (0, 1) {
        next unless vec($waiting, fileno($ends[$side]), 1);
        sysread($ends[$side], my $frame, 65536) or die "read: $!";
        syswrite($ends[1 - $side], $frame);
    }
}
"#;

/// The cable, until it is dropped.
#[derive(Debug)]
pub(crate) struct Cable(Child);

impl Cable {
    /// Plugs it in; both ends have their carriers when this returns.
    pub(crate) fn between(one: &Netns, other: &Netns) -> Self {
        let mut command = Command::new("perl");
        command.args(["-e", SCRIPT, one.path(), other.path()]).stdin(Stdio::null()).stdout(Stdio::piped());
        let mut child = command.spawn().expect("start perl");
        let mut said = String::new();
        let mut stdout = BufReader::new(child.stdout.take().expect("stdout is a pipe"));
        stdout.read_line(&mut said).expect("perl prints text");
        assert_eq!(said, "ready\n");
        for netns in [one, other] {
            // The kernel gets to know of a carrier, and to use addresses with it, a moment after it has come.
            netns.sh("until ip link show dev eth0 | grep -q 'state UP'; do :; done
                until ip -6 route show table local | grep -q '^local fd00'; do :; done");
        }
        Self(child)
    }
}

impl Drop for Cable {
    fn drop(&mut self) {
        self.0.kill().expect("stop the cable");
        self.0.wait().expect("wait for the cable");
    }
}
