//! SCRAM (RFC 5802) without channel binding, as Kafka's brokers speak it.

use std::ops::RangeInclusive;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use hmac::digest::core_api::BlockSizeUser;
use hmac::digest::{Digest, FixedOutput, Output};
use hmac::{Mac, SimpleHmac};
use sha2::{Sha256, Sha512};

use crate::config::{Mechanism, Sasl};

/// RFC 7677, section 4: at least 4096, which is what Kafka sets by itself. With fewer a listener
/// finds the password sooner; a server that asks for far more would only keep us busy.
const ITERATIONS: RangeInclusive<u32> = 4_096..=1_000_000;
/// Far more bytes than a nonce or a salt needs.
const LONGEST: usize = 1_024;
/// "n,,": no channel binding, and no other identity than the user's.
const GS2_HEADER: &str = "n,,";

/// A conversation with one broker.
pub(crate) struct Scram {
    sasl: Sasl,
    nonce: String,
}

/// What a broker said is not what it has to say, or does not prove that it knows the password.
pub(crate) type Broken = &'static str;

impl Scram {
    /// A conversation with this nonce: printable ASCII without a comma.
    pub(crate) const fn new(sasl: Sasl, nonce: String) -> Self {
        Self { sasl, nonce }
    }

    /// The first message.
    pub(crate) fn first(&self) -> Vec<u8> {
        format!("{GS2_HEADER}{}", self.first_bare()).into_bytes()
    }

    fn first_bare(&self) -> String {
        let user = self.sasl.user.replace('=', "=3D").replace(',', "=2C");
        format!("n={user},r={}", self.nonce)
    }

    /// The second message, and what the broker has to answer it.
    pub(crate) fn answer(&self, server_first: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Broken> {
        match self.sasl.mechanism {
            Mechanism::ScramSha512 => self.answer_by::<Sha512>(server_first),
            Mechanism::ScramSha256 | Mechanism::Plain => self.answer_by::<Sha256>(server_first),
        }
    }

    fn answer_by<H>(&self, server_first: &[u8]) -> Result<(Vec<u8>, Vec<u8>), Broken>
    where
        H: Digest + BlockSizeUser + FixedOutput + Clone + Sync,
    {
        let server_first = std::str::from_utf8(server_first).map_err(|_| "it is no text")?;
        if server_first.starts_with("m=") {
            return Err("it has an extension that is not known here");
        }
        let attribute = |name: &str| {
            server_first.split(',').find_map(|part| part.strip_prefix(name)?.strip_prefix('='))
        };
        let nonce = attribute("r")
            .filter(|nonce| nonce.len() > self.nonce.len() && nonce.starts_with(&self.nonce))
            .ok_or("it does not go on from our nonce")?;
        if nonce.len() > LONGEST || !nonce.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err("its nonce is none");
        }
        let salt = attribute("s")
            .filter(|salt| salt.len() <= LONGEST)
            .and_then(|salt| BASE64.decode(salt).ok())
            .filter(|salt| !salt.is_empty())
            .ok_or("no salt")?;
        let iterations = attribute("i")
            .and_then(|count| count.parse::<u32>().ok())
            .filter(|count| ITERATIONS.contains(count))
            .ok_or("no number of iterations from 4096 to 1000000")?;

        let mut salted = Output::<H>::default();
        pbkdf2::pbkdf2::<SimpleHmac<H>>(
            self.sasl.password.as_bytes(),
            &salt,
            iterations,
            &mut salted,
        )
        .map_err(|_| "no key of this length")?;
        let without_proof = format!("c={},r={nonce}", BASE64.encode(GS2_HEADER));
        let signed = format!("{},{server_first},{without_proof}", self.first_bare());

        let client_key = hmac::<H>(&salted, b"Client Key");
        let signature = hmac::<H>(&H::digest(&client_key), signed.as_bytes());
        let proof: Vec<u8> = client_key.iter().zip(&signature).map(|(a, b)| a ^ b).collect();
        let server_key = hmac::<H>(&salted, b"Server Key");
        let verifier = BASE64.encode(hmac::<H>(&server_key, signed.as_bytes()));
        let last = format!("{without_proof},p={}", BASE64.encode(proof));
        Ok((last.into_bytes(), format!("v={verifier}").into_bytes()))
    }
}

fn hmac<H: Digest + BlockSizeUser + Clone>(key: &[u8], data: &[u8]) -> Output<SimpleHmac<H>> {
    let mut mac =
        <SimpleHmac<H> as Mac>::new_from_slice(key).expect("HMAC takes keys of any length");
    mac.update(data);
    mac.finalize().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of RFC 7677, section 3.
    #[test]
    fn the_example_of_the_standard() {
        let sasl = Sasl {
            mechanism: Mechanism::ScramSha256,
            user: "user".to_owned(),
            password: "pencil".to_owned(),
        };
        let scram = Scram::new(sasl, "rOprNGfwEbeRWgbNEkqO".to_owned());
        assert_eq!(scram.first(), b"n,,n=user,r=rOprNGfwEbeRWgbNEkqO");
        let server_first = b"r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096";
        let (last, verifier) = scram.answer(server_first).unwrap();
        assert_eq!(
            String::from_utf8(last).unwrap(),
            "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
            p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ="
        );
        assert_eq!(verifier, b"v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=");
    }

    #[test]
    fn names_are_escaped_and_nonsense_is_refused() {
        let sasl = Sasl {
            mechanism: Mechanism::ScramSha512,
            user: "a=b,c".to_owned(),
            password: "x".to_owned(),
        };
        let scram = Scram::new(sasl, "abc".to_owned());
        assert_eq!(scram.first(), b"n,,n=a=3Db=2Cc,r=abc");
        for nonsense in [
            "",
            "r=abc,s=QQ==,i=4096",
            "r=xyzabc1,s=QQ==,i=4096",
            "r=abc1,i=4096",
            "r=abc1,s=?,i=4096",
            "r=abc1,s=QQ==,i=0",
            "r=abc1,s=QQ==,i=1",
            "r=abc1,s=QQ==,i=4095",
            "r=abc1,s=QQ==,i=1000001",
            "r=abc1,s=QQ==,i=4000000000",
            "r=abc1,s=QQ==,i=-4096",
            "r=abc1,s=QQ==",
            "r=abc1,s=,i=4096",
            "r=abc\u{e7},s=QQ==,i=4096",
            "r=abc\u{1b}[2J,s=QQ==,i=4096",
            "m=new,r=abc1,s=QQ==,i=4096",
            "e=other-error",
        ] {
            assert!(scram.answer(nonsense.as_bytes()).is_err(), "{nonsense}");
        }
        let long = "x".repeat(LONGEST);
        for long in [format!("r=abc{long},s=QQ==,i=4096"), format!("r=abc1,s={long}QQ==,i=4096")] {
            assert!(scram.answer(long.as_bytes()).is_err());
        }
        assert!(scram.answer(b"r=abc1,s=QQ==,i=4096").is_ok());
    }
}
