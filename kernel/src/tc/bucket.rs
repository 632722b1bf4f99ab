//! The token bucket filter (`net/sched/sch_tbf.c`, tc-tbf(8)).
//!
//! A bucket is filled at a rate and holds a burst; a packet leaves when the bucket holds tokens for it, and waits until
//! then in a queue of limited length. The kernel measures the bucket by the time that it takes to fill, in ticks.

use super::{find, number_at};
use crate::netlink::attribute::attribute;

const TCA_TBF_PARMS: u16 = 1;
const TCA_TBF_RATE64: u16 = 4;

/// A tick is 64 nanoseconds (`PSCHED_SHIFT` in `include/net/pkt_sched.h`), so a microsecond is 1000/64 of them.
const TICKS: u64 = 1000;
const PER_MICROSECONDS: u64 = 64;
/// How many nanoseconds a tick is.
const TICK_NS: u64 = 64;
const SECOND_US: u64 = 1_000_000;
const SECOND_NS: u64 = 1_000_000_000;
/// The longest packet that a link can have, in bytes (`ETH_MAX_MTU`, and some).
const PACKET: u64 = 64 * 1024;

/// Where `struct tc_tbf_qopt` has the rate in bytes per second (at the end of its `struct tc_ratespec`), the length of
/// the queue in bytes, and the size of the bucket in ticks; a second rate, which is not used, lies between.
const RATE: usize = 8;
const LIMIT: usize = 24;
const BUFFER: usize = 28;
/// `sizeof(struct tc_tbf_qopt)`.
const QOPT: usize = 36;

/// A limit, as a person would state it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bucket {
    /// Bytes per second; not zero.
    pub rate: u64,
    /// Bytes that may pass at once.
    pub burst: u32,
    /// Milliseconds that a packet may have to wait for, beyond the time in which a burst would pass.
    pub latency: u32,
}

/// A limit, as the kernel states it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tbf {
    /// Bytes per second.
    pub rate: u64,
    /// The longest that the queue can become, in bytes.
    pub limit: u32,
    /// Ticks in which the bucket fills.
    pub buffer: u32,
}

/// Which number of a limit is not what it should be, and both.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mismatch {
    /// Bytes per second.
    Rate(u64, u64),
    /// Bytes of the queue.
    Limit(u32, u32),
    /// Ticks of the bucket.
    Buffer(u32, u32),
}

impl Bucket {
    /// The numbers for the kernel: those of the Go suite, as long as packets pass under them.
    ///
    /// What has more than 32 bits loses its upper ones there. A burst of 36 minutes, which Kubernetes' runtimes ask for
    /// at 1 Mbit/s when nobody has said anything about bursts, becomes one of four minutes, and that is all the same. But
    /// chance can leave less than a packet. Then it is as much as can be.
    #[must_use]
    pub fn tbf(&self) -> Tbf {
        let (cut, (limit, micros)) = (self.cut(), self.exact());
        let is_cut = |exact: u64| u32::try_from(exact).is_err();
        let passes = |buffer| passing(self.rate, buffer) >= PACKET;
        Tbf {
            limit: if is_cut(limit) && u64::from(cut.limit) < PACKET { u32::MAX } else { cut.limit },
            buffer: if is_cut(ticks(micros)) && !passes(cut.buffer) { u32::MAX } else { cut.buffer },
            ..cut
        }
    }

    /// The numbers as the Go suite makes them.
    fn cut(&self) -> Tbf {
        let (limit, micros) = self.exact();
        let cut = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or_default();
        Tbf { rate: self.rate, limit: cut(limit), buffer: cut(ticks(u64::from(cut(micros)))) }
    }

    /// The length of the queue in bytes, and how long it takes to fill the bucket in microseconds.
    fn exact(&self) -> (u64, u64) {
        let (rate, latency) = (self.rate, u64::from(self.latency));
        let waiting = (rate / 1000).saturating_mul(latency) + rate % 1000 * latency / 1000;
        (waiting.saturating_add(self.burst.into()), u64::from(self.burst) * SECOND_US / rate.max(1))
    }

    /// The longest packet that can ever pass, in bytes: the bucket never holds the tokens for a longer one. Rounding to
    /// ticks makes it a little less than the burst (`psched_ns_t2l` in `net/sched/sch_tbf.c`). The kernel refuses
    /// a bucket for which this is zero.
    #[must_use]
    pub fn longest_packet(&self) -> u64 {
        passing(self.rate, self.tbf().buffer)
    }

    /// Compares with what the kernel has. What the Go suite has set is as good.
    #[must_use]
    pub fn mismatch(&self, found: &Tbf) -> Option<Mismatch> {
        let (wanted, cut) = (self.tbf(), self.cut());
        if found.rate != wanted.rate {
            Some(Mismatch::Rate(wanted.rate, found.rate))
        } else if found.limit != wanted.limit && found.limit != cut.limit {
            Some(Mismatch::Limit(wanted.limit, found.limit))
        } else if found.buffer != wanted.buffer && found.buffer != cut.buffer {
            Some(Mismatch::Buffer(wanted.buffer, found.buffer))
        } else {
            None
        }
    }

    /// The options of the discipline: the structure, and the rate again where it has more than 32 bits.
    pub(super) fn options(&self) -> Vec<u8> {
        let Tbf { rate, limit, buffer } = self.tbf();
        let mut parms = [0; QOPT];
        let rate32 = u32::try_from(rate);
        let numbers = [(RATE, rate32.unwrap_or(u32::MAX)), (LIMIT, limit), (BUFFER, buffer)];
        for (offset, number) in numbers {
            parms[offset..offset + 4].copy_from_slice(&number.to_ne_bytes());
        }
        let mut options = attribute(TCA_TBF_PARMS, &parms);
        if rate32.is_err() {
            options.extend(attribute(TCA_TBF_RATE64, &rate.to_ne_bytes()));
        }
        options
    }
}

fn ticks(micros: u64) -> u64 {
    micros * TICKS / PER_MICROSECONDS
}

/// The bytes for which a bucket of so many ticks holds tokens.
fn passing(rate: u64, buffer: u32) -> u64 {
    (u64::from(buffer) * TICK_NS).saturating_mul(rate) / SECOND_NS
}

impl Tbf {
    /// Reads the options of the discipline.
    pub(super) fn parse(options: &[u8]) -> Option<Self> {
        let parms = find(options, TCA_TBF_PARMS)?;
        let rate64 = find(options, TCA_TBF_RATE64).and_then(|value| value.first_chunk());
        let rate = rate64.map_or_else(|| number_at(parms, RATE).map(u64::from), |rate| Some(u64::from_ne_bytes(*rate)));
        Some(Self { rate: rate?, limit: number_at(parms, LIMIT)?, buffer: number_at(parms, BUFFER)? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KBIT: u64 = 1000 / 8;
    const MBIT: u64 = 1000 * KBIT;

    fn bucket(rate: u64, burst: u32) -> Bucket {
        Bucket { rate, burst, latency: 25 }
    }

    /// What the Go suite (1.1.1) was seen to ask for.
    #[test]
    fn the_numbers_are_those_of_the_go_suite() {
        let table = [
            (bucket(8 * MBIT, 100_000), 125_000, 1_562_500),
            (bucket(80 * MBIT, 1_000_000), 1_250_000, 1_562_500),
            (bucket(10_000 * MBIT, 1_000_000), 32_250_000, 12_500),
            (bucket(80_000 * MBIT, 1_000_000), 0x0ef5_f4c0, 0x061a),
            (bucket(MBIT, 4000), 7125, 500_000),
            (bucket(999, 1000), 1024, 15_640_640),
            (bucket(1, 1), 1, 15_625_000),
        ];
        for (bucket, limit, buffer) in table {
            assert_eq!(bucket.tbf(), Tbf { rate: bucket.rate, limit, buffer }, "{bucket:?}");
            assert_eq!(bucket.tbf(), bucket.cut(), "{bucket:?}");
            assert_eq!(bucket.mismatch(&bucket.tbf()), None, "{bucket:?}");
        }
    }

    /// 2^31 - 1 bits is what Kubernetes' runtimes give for "no limit to bursts".
    #[test]
    fn what_does_not_fit_is_cut_as_long_as_packets_pass() {
        let burst = 0x7fff_ffff / 8;
        assert_eq!(bucket(8 * MBIT, burst).tbf().buffer, 4_194_303_984);
        assert_eq!(bucket(MBIT, burst).tbf().buffer, 3_489_660_803);
        assert_eq!(bucket(4_000_000 * MBIT, u32::MAX - 1).tbf().limit, 3_910_065_406);

        // 2^32 ticks and a few, and 2^32 bytes and a few.
        let slow = bucket(1000, 274_878);
        assert_eq!((slow.tbf().buffer, slow.cut().buffer), (u32::MAX, 1454));
        assert_eq!(slow.mismatch(&slow.tbf()), None);
        assert_eq!(slow.mismatch(&slow.cut()), None);
        let fast = bucket(40_000, u32::MAX - 1);
        assert_eq!((fast.tbf().limit, fast.cut().limit), (u32::MAX, 998));
        assert_eq!(fast.mismatch(&fast.tbf()), None);
        assert_eq!(fast.mismatch(&fast.cut()), None);
        assert_eq!(bucket(u64::MAX, u32::MAX).tbf().buffer, 0);
    }

    #[test]
    fn latency_is_more_queue() {
        let bucket = Bucket { latency: 100, ..bucket(8 * MBIT, 100_000) };
        assert_eq!(bucket.tbf(), Tbf { rate: 1_000_000, limit: 200_000, buffer: 1_562_500 });
        let odd = Bucket { rate: 1999, burst: 0, latency: 1500 };
        assert_eq!(odd.tbf().limit, 2998);
    }

    #[test]
    fn a_bucket_passes_packets_of_almost_its_size() {
        assert_eq!(bucket(8 * MBIT, 100_000).longest_packet(), 100_000);
        assert_eq!(bucket(3 * MBIT, 2000).longest_packet(), 1999);
        assert_eq!(bucket(8750, 1).longest_packet(), 0);
        assert_eq!(bucket(u64::MAX, u32::MAX).longest_packet(), 0);
    }

    #[test]
    fn the_first_number_that_differs_is_named() {
        let wanted = bucket(8 * MBIT, 100_000);
        let found = wanted.tbf();
        let table = [
            (Tbf { rate: 5, limit: 6, buffer: 7 }, Some(Mismatch::Rate(1_000_000, 5))),
            (Tbf { limit: 6, buffer: 7, ..found }, Some(Mismatch::Limit(125_000, 6))),
            (Tbf { buffer: 7, ..found }, Some(Mismatch::Buffer(1_562_500, 7))),
            (found, None),
        ];
        for (found, expected) in table {
            assert_eq!(wanted.mismatch(&found), expected);
        }
    }

    #[test]
    fn options_are_read_as_they_are_written() {
        for rate in [1, MBIT, u64::from(u32::MAX), 1 << 32, 80_000 * MBIT] {
            let bucket = bucket(rate, 1_000_000);
            assert_eq!(Tbf::parse(&bucket.options()), Some(bucket.tbf()));
        }
        let options = bucket(MBIT, 1).options();
        for cut in 0..options.len() {
            assert_eq!(Tbf::parse(&options[..cut]), None, "{cut} bytes");
        }
    }
}
