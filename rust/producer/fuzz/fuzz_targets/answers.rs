//! Brokers' answers of any bytes: no panic, and no more memory than the bytes account for.

#![no_main]

#[path = "../../src/answer.rs"]
#[allow(dead_code, unused_imports, reason = "the producer uses more of it")]
mod answer;

use answer::{
    Answer, ApiVersions, Fetched, Metadata, Produced, ProducerId, Question, SaslAuthenticate,
    SaslHandshake,
};
use bytes::Bytes;
use kafka_protocol::messages::ListOffsetsRequest;

type Listed = <ListOffsetsRequest as Question>::Found;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [kind, version, body @ ..] = data else { return };
    let version = i16::from(*version % 14);
    match kind % 9 {
        0 => drop(ApiVersions::decode(body, version)),
        1 => drop(SaslHandshake::decode(body, version)),
        2 => drop(SaslAuthenticate::decode(body, version)),
        3 => drop(ProducerId::decode(body, version)),
        4 => drop(Metadata::decode(body, version)),
        5 => drop(Produced::decode(body, version)),
        6 => drop(Fetched::decode(&Bytes::copy_from_slice(body), version)),
        7 => drop(Listed::decode(body, version)),
        _ => drop(answer::correlation(body, version % 2)),
    }
});
