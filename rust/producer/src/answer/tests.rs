//! Answers as `kafka-protocol` writes them, and answers that nobody should write.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::collections::BTreeMap;

use bytes::{Bytes, BytesMut};
use kafka_protocol::messages::api_versions_response::{ApiVersion, SupportedFeatureKey};
use kafka_protocol::messages::metadata_response::{
    MetadataResponseBroker, MetadataResponsePartition, MetadataResponseTopic,
};
use kafka_protocol::messages::produce_response::{
    BatchIndexAndErrorMessage, LeaderIdAndEpoch, NodeEndpoint, PartitionProduceResponse,
    TopicProduceResponse,
};
use kafka_protocol::messages::{
    ApiVersionsResponse, BrokerId, InitProducerIdResponse, MetadataResponse, ProduceResponse,
    ProducerId as Id, ResponseHeader, SaslAuthenticateResponse, SaslHandshakeResponse, TopicName,
};
use kafka_protocol::protocol::{Encodable, StrBytes};

use super::*;

/// Counts what a thread holds, and the most it has held.
struct Counting;

thread_local! {
    static HELD: Cell<usize> = const { Cell::new(0) };
    static MOST_HELD: Cell<usize> = const { Cell::new(0) };
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

// SAFETY: all is left to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends may free what is counted no more.
        let _ = HELD.try_with(|held| {
            held.set(held.get().wrapping_add(layout.size()));
            let _ = MOST_HELD.try_with(|most| most.set(most.get().max(held.get())));
        });
        // SAFETY: as the caller has promised.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, place: *mut u8, layout: Layout) {
        let _ = HELD.try_with(|held| held.set(held.get().saturating_sub(layout.size())));
        // SAFETY: as the caller has promised.
        unsafe { System.dealloc(place, layout) }
    }
}

/// What `work` has held at most beyond what was held before.
fn memory<T>(work: impl FnOnce() -> T) -> (T, usize) {
    let before = HELD.get();
    MOST_HELD.set(before);
    let done = work();
    (done, MOST_HELD.get() - before)
}

fn text(text: &'static str) -> StrBytes {
    StrBytes::from_static_str(text)
}

fn tags(version: i16, first: i16) -> BTreeMap<i32, Bytes> {
    let tags = [(77, Bytes::from_static(b"something new")), (300, Bytes::new())];
    if version >= first { tags.into() } else { BTreeMap::new() }
}

fn encoded(answer: &impl Encodable, version: i16) -> Vec<u8> {
    let mut out = BytesMut::new();
    answer.encode(&mut out, version).expect("an answer of this version");
    out.to_vec()
}

fn api_versions(version: i16) -> (Vec<u8>, ApiVersions) {
    let more = tags(version, 3);
    let key = |key, min, max| {
        ApiVersion::default()
            .with_api_key(key)
            .with_min_version(min)
            .with_max_version(max)
            .with_unknown_tagged_fields(more.clone())
    };
    let mut answer = ApiVersionsResponse::default()
        .with_error_code(35)
        .with_api_keys(vec![key(0, 3, 12), key(3, 0, 13)])
        .with_unknown_tagged_fields(more.clone());
    if version >= 1 {
        answer.throttle_time_ms = 250;
    }
    if version >= 3 {
        answer.supported_features = vec![
            SupportedFeatureKey::default().with_name(text("metadata.version")).with_max_version(7),
        ];
    }
    let throttle = Duration::from_millis(if version >= 1 { 250 } else { 0 });
    let ranges = vec![(0, 3, 12), (3, 0, 13)];
    (encoded(&answer, version), ApiVersions { error: 35, ranges, throttle })
}

fn handshake(version: i16) -> (Vec<u8>, SaslHandshake) {
    let answer = SaslHandshakeResponse::default()
        .with_error_code(33)
        .with_mechanisms(vec![text("PLAIN"), text("SCRAM-SHA-256")]);
    let mechanisms = vec!["PLAIN".to_owned(), "SCRAM-SHA-256".to_owned()];
    (encoded(&answer, version), SaslHandshake { error: 33, mechanisms })
}

fn authenticate(version: i16) -> (Vec<u8>, SaslAuthenticate) {
    let lifetime_ms = if version >= 1 { 3_600_000 } else { 0 };
    let answer = SaslAuthenticateResponse::default()
        .with_error_code(0)
        .with_error_message((version == 1).then(|| text("nothing")))
        .with_auth_bytes(Bytes::from_static(b"v=abc"))
        .with_session_lifetime_ms(lifetime_ms)
        .with_unknown_tagged_fields(tags(version, 2));
    (encoded(&answer, version), SaslAuthenticate { error: 0, bytes: b"v=abc".into(), lifetime_ms })
}

fn producer_id(version: i16) -> (Vec<u8>, ProducerId) {
    let answer = InitProducerIdResponse::default()
        .with_throttle_time_ms(-5)
        .with_error_code(15)
        .with_producer_id(Id(4_000_000_000))
        .with_producer_epoch(3)
        .with_unknown_tagged_fields(tags(version, 2));
    let throttle = Duration::ZERO;
    (encoded(&answer, version), ProducerId { throttle, error: 15, id: 4_000_000_000, epoch: 3 })
}

fn metadata(version: i16) -> (Vec<u8>, Metadata) {
    let more = tags(version, 9);
    let broker = |node, host, port| {
        MetadataResponseBroker::default()
            .with_node_id(BrokerId(node))
            .with_host(text(host))
            .with_port(port)
            .with_rack((version >= 1).then(|| text("a")))
            .with_unknown_tagged_fields(more.clone())
    };
    let partition = |index, leader| {
        let nodes = vec![BrokerId(1), BrokerId(2)];
        let mut partition = MetadataResponsePartition::default()
            .with_partition_index(index)
            .with_leader_id(BrokerId(leader))
            .with_replica_nodes(nodes.clone())
            .with_isr_nodes(nodes.clone())
            .with_unknown_tagged_fields(more.clone());
        if version >= 5 {
            partition.offline_replicas = nodes;
        }
        partition
    };
    let topic = MetadataResponseTopic::default()
        .with_name(Some(TopicName(text("banking.trades"))))
        .with_partitions(vec![partition(0, 1), partition(1, -1)])
        .with_unknown_tagged_fields(more.clone());
    let absent = MetadataResponseTopic::default()
        .with_error_code(3)
        .with_name(Some(TopicName(text("nothing"))));
    let mut answer = MetadataResponse::default()
        .with_brokers(vec![broker(1, "one", 9092), broker(2, "::1", 70_000)])
        .with_topics(vec![topic, absent])
        .with_unknown_tagged_fields(more.clone());
    if version >= 2 {
        answer.cluster_id = Some(text("cluster"));
    }
    if version >= 3 {
        answer.throttle_time_ms = i32::MAX;
    }
    let topic = |error, name: &str, partitions| TopicMetadata {
        error,
        name: Some(name.to_owned()),
        partitions,
    };
    let found = Metadata {
        throttle: if version >= 3 { LONGEST_THROTTLE } else { Duration::ZERO },
        brokers: vec![(1, "one".to_owned(), 9092), (2, "::1".to_owned(), 70_000)],
        topics: vec![
            topic(0, "banking.trades", vec![(0, 1), (1, -1)]),
            topic(3, "nothing", Vec::new()),
        ],
    };
    (encoded(&answer, version), found)
}

fn produced(version: i16) -> (Vec<u8>, Produced) {
    let more = tags(version, 9);
    let partition = |index, error, message: Option<&'static str>| {
        let mut partition = PartitionProduceResponse::default()
            .with_index(index)
            .with_error_code(error)
            .with_base_offset(1 << 40)
            .with_log_append_time_ms(-1)
            .with_unknown_tagged_fields(more.clone());
        if version >= 8 {
            let record = BatchIndexAndErrorMessage::default()
                .with_batch_index(3)
                .with_batch_index_error_message(Some(text("this record")))
                .with_unknown_tagged_fields(more.clone());
            partition.record_errors = vec![record];
            partition.error_message = message.map(text);
        }
        if version >= 10 {
            partition.current_leader =
                LeaderIdAndEpoch::default().with_leader_id(BrokerId(2)).with_leader_epoch(9);
        }
        partition
    };
    let topic = TopicProduceResponse::default()
        .with_name(TopicName(text("banking.trades")))
        .with_partition_responses(vec![partition(0, 0, None), partition(7, 10, Some("too large"))])
        .with_unknown_tagged_fields(more.clone());
    let mut answer = ProduceResponse::default()
        .with_responses(vec![topic])
        .with_throttle_time_ms(1_500)
        .with_unknown_tagged_fields(more.clone());
    if version >= 10 {
        answer.node_endpoints = vec![
            NodeEndpoint::default().with_node_id(BrokerId(2)).with_host(text("two")).with_port(1),
        ];
    }
    let outcome = |partition, error, message: &str| Outcome {
        topic: "banking.trades".into(),
        partition,
        error,
        message: (version >= 8).then(|| message.to_owned()),
    };
    let partitions = vec![outcome(0, 0, "this record"), outcome(7, 10, "too large")];
    (encoded(&answer, version), Produced { partitions, throttle: Duration::from_millis(1_500) })
}

/// Calls `check` with a whole answer of each kind and version that we may get.
fn each(mut check: impl FnMut(&str, i16, &[u8], &dyn Fn(&[u8]) -> bool)) {
    fn one<A: Answer + PartialEq + std::fmt::Debug>(
        name: &str,
        versions: std::ops::RangeInclusive<i16>,
        make: impl Fn(i16) -> (Vec<u8>, A),
        check: &mut impl FnMut(&str, i16, &[u8], &dyn Fn(&[u8]) -> bool),
    ) {
        for version in versions {
            let (bytes, expected) = make(version);
            assert_eq!(A::decode(&bytes, version), Ok(expected), "{name} {version}");
            check(name, version, &bytes, &|bytes| A::decode(bytes, version).is_ok());
        }
    }
    one("ApiVersions", 0..=4, api_versions, &mut check);
    one("SaslHandshake", 0..=1, handshake, &mut check);
    one("SaslAuthenticate", 0..=2, authenticate, &mut check);
    one("InitProducerId", 0..=6, producer_id, &mut check);
    one("Metadata", 0..=13, metadata, &mut check);
    one("Produce", 3..=12, produced, &mut check);
}

/// An answer must not take much more memory than it has bytes.
fn take_hostile(what: &str, bytes: &[u8], decode: &dyn Fn(&[u8]) -> bool) -> bool {
    let (read, most) = memory(|| decode(bytes));
    assert!(most <= 32 * bytes.len() + 1_024, "{what}: {most} bytes for {}", bytes.len());
    read
}

#[test]
fn answers_as_another_encoder_writes_them() {
    let mut count = 0;
    each(|_, _, _, _| count += 1);
    assert_eq!(count, 5 + 2 + 3 + 7 + 14 + 10);
}

#[test]
fn answers_that_end_too_early() {
    each(|name, version, bytes, decode| {
        for len in 0..bytes.len() {
            take_hostile(&format!("{name} {version}, {len} bytes"), &bytes[..len], decode);
        }
        assert!(!decode(&[]), "{name} {version}");
    });
}

#[test]
fn counts_that_no_bytes_follow() {
    let huge: [&[u8]; 6] = [
        &[0x7f, 0xff, 0xff, 0xff],             // 2^31 - 1
        &[0x80, 0, 0, 0],                      // -2^31
        &[0xff, 0xff, 0xff, 0xff, 0x0f],       // 2^32 - 1, of variable length
        &[0x80, 0x80, 0x80, 0x80, 0x08],       // 2^31
        &[0xff, 0xff, 0xff, 0xff, 0xff, 0xff], // no number at all
        &[0x7f, 0xff],                         // 2^15 - 1
    ];
    let mut refused = 0;
    each(|name, version, bytes, decode| {
        for place in 0..bytes.len() {
            for count in huge {
                // In place of what was there, and between what was there.
                let tail = bytes.get(place + count.len()..).unwrap_or(&[]);
                for tail in [tail, &bytes[place..], &[]] {
                    let hostile = [&bytes[..place], count, tail].concat();
                    let what = format!("{name} {version}, {count:x?} at {place}");
                    refused += usize::from(!take_hostile(&what, &hostile, decode));
                }
            }
        }
    });
    assert!(refused > 10_000, "{refused}");
}

#[test]
fn answers_with_bytes_changed_at_random() {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % below as u64) as usize
    };
    let (mut read, mut refused) = (0, 0);
    each(|name, version, bytes, decode| {
        for round in 0..1_000 {
            let mut hostile = bytes.to_vec();
            for _ in 0..=random(4) {
                let place = random(hostile.len());
                hostile[place] = match random(4) {
                    0 => 0xff,
                    1 => 0x7f,
                    2 => hostile[place] ^ (1 << random(8)),
                    _ => random(256) as u8,
                };
            }
            let what = format!("{name} {version}, round {round}");
            let fine = take_hostile(&what, &hostile, decode);
            (read, refused) = (read + usize::from(fine), refused + usize::from(!fine));
        }
    });
    assert!(read > 1_000 && refused > 1_000, "{read} read, {refused} refused");
}

#[test]
fn a_long_name_with_many_partitions_is_kept_once() {
    let name = vec![b'x'; 30_000];
    let (names, partitions) = (name.len() as i16, 10_000_i32);
    let mut bytes = [&1_i32.to_be_bytes()[..], &names.to_be_bytes(), &name].concat();
    bytes.extend(partitions.to_be_bytes());
    bytes.resize(bytes.len() + 22 * partitions as usize + 4, 0);
    take_hostile("Produce 3", &bytes, &|bytes| {
        Produced::decode(bytes, 3).is_ok_and(|found| found.partitions.len() == 10_000)
    });
}

#[test]
fn headers_of_answers() {
    let header = ResponseHeader::default().with_correlation_id(77);
    for version in 0..=1 {
        let header = header.clone().with_unknown_tagged_fields(tags(version, 1));
        let bytes = [encoded(&header, version), b"rest".to_vec()].concat();
        assert_eq!(correlation(&bytes, version), Ok((77, &b"rest"[..])));
        for len in 0..bytes.len() - 4 {
            assert_eq!(correlation(&bytes[..len], version), Err(Malformed));
        }
    }
    assert_eq!(correlation(&[0, 0, 0, 1, 0xff, 0xff, 0xff, 0xff, 0x0f], 1), Err(Malformed));
}
