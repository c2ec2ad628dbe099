//! Brokers' answers of any bytes: no panic, and no more memory than the bytes account for.

#![no_main]

#[path = "../../src/answer.rs"]
#[allow(dead_code, reason = "the producer uses more of it")]
mod answer;

use answer::{
    Answer, ApiVersions, Metadata, Produced, ProducerId, SaslAuthenticate, SaslHandshake,
};

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    let [kind, version, body @ ..] = data else { return };
    let version = i16::from(*version % 14);
    match kind % 7 {
        0 => drop(ApiVersions::decode(body, version)),
        1 => drop(SaslHandshake::decode(body, version)),
        2 => drop(SaslAuthenticate::decode(body, version)),
        3 => drop(ProducerId::decode(body, version)),
        4 => drop(Metadata::decode(body, version)),
        5 => drop(Produced::decode(body, version)),
        _ => drop(answer::correlation(body, version % 2)),
    }
});
