//! Connections to a broker that is played frame by frame.

use std::sync::Mutex;

use kafka_protocol::messages::{
    ApiVersionsResponse, SaslAuthenticateResponse, SaslHandshakeResponse,
};
use kafka_protocol::protocol::{Decodable, Message};
use tokio::io::DuplexStream;

use super::*;
use crate::tests::cluster::{encoded, read_request, versions, write_answer};
use crate::tests::{client, millis};

/// One end of a stream in memory, for the first connection.
struct Once(Mutex<Option<DuplexStream>>);

impl Transport for Once {
    type Stream = DuplexStream;

    async fn connect(&self, _: &Address) -> Result<DuplexStream, Error> {
        Ok(self.0.lock().unwrap().take().expect("a single connection"))
    }
}

fn address() -> Address {
    Address { host: "broker".to_owned(), port: 9092 }
}

/// Opens a connection to a broker that behaves like this.
async fn open<F>(
    sasl: Option<Sasl>,
    broker: impl FnOnce(Peer) -> F,
) -> Result<Connection<DuplexStream>, Error>
where
    F: Future<Output = ()> + Send + 'static,
{
    let (ours, theirs) = tokio::io::duplex(1 << 16);
    let client = Client { sasl, ..client() };
    let connector = Connector { client, transport: Once(Mutex::new(Some(ours))) };
    let broker = tokio::spawn(broker(Peer(theirs)));
    let opened = connector.open(&address()).await;
    if !broker.is_finished() {
        broker.abort();
    } else if let Err(error) = broker.await {
        std::panic::resume_unwind(error.into_panic());
    }
    opened
}

/// The broker's end.
struct Peer(DuplexStream);

impl Peer {
    /// The next request, which has to be of this kind.
    async fn expect<R: Request + Decodable>(&mut self) -> (R, i16) {
        let (key, version, _, mut body) = read_request(&mut self.0).await.unwrap();
        assert_eq!(key as i16, R::KEY);
        (R::decode(&mut body, version).unwrap(), version)
    }

    async fn answer(&mut self, key: ApiKey, version: i16, answer: &(impl Encodable + Message)) {
        let body = encoded(answer, version);
        write_answer(&mut self.0, key, version, 0, &body).await.unwrap();
    }

    /// Tells its versions.
    async fn greet(&mut self, answer: &ApiVersionsResponse) {
        let (_, version) = self.expect::<ApiVersionsRequest>().await;
        self.answer(ApiKey::ApiVersions, version, answer).await;
    }

    async fn authenticate(&mut self) -> Vec<u8> {
        self.expect::<SaslAuthenticateRequest>().await.0.auth_bytes.to_vec()
    }

    async fn say(&mut self, answer: SaslAuthenticateResponse) {
        self.answer(ApiKey::SaslAuthenticate, 2, &answer).await;
    }

    async fn shake_hands(&mut self, mechanism: &str) {
        self.greet(&versions()).await;
        let (request, version) = self.expect::<SaslHandshakeRequest>().await;
        assert_eq!(&*request.mechanism, mechanism);
        self.answer(ApiKey::SaslHandshake, version, &SaslHandshakeResponse::default()).await;
    }

    /// Keeps the connection until the other end is gone.
    async fn stay(mut self) {
        while self.0.read_u8().await.is_ok() {}
    }
}

fn sasl(mechanism: Mechanism) -> Sasl {
    Sasl { mechanism, user: "user".to_owned(), password: "pencil".to_owned() }
}

fn message(bytes: impl Into<Vec<u8>>) -> SaslAuthenticateResponse {
    SaslAuthenticateResponse::default().with_auth_bytes(bytes.into().into())
}

#[tokio::test(start_paused = true)]
async fn the_newest_version_that_both_sides_know_is_spoken() {
    let connection = open(None, |mut peer| async move { peer.greet(&versions()).await }).await;
    let connection = connection.unwrap();
    assert_eq!(connection.version::<kafka_protocol::messages::ProduceRequest>(), Ok(9));
    assert_eq!(connection.throttle, Duration::ZERO);
    assert_eq!(connection.expires, None);
    let unknown = connection.version::<kafka_protocol::messages::HeartbeatRequest>().unwrap_err();
    assert_eq!(unknown.code, Local::UnsupportedFeature.code());
    assert_eq!(unknown.text, "the broker takes no version of Heartbeat that we know");
}

/// A broker of another time: it knows versions, but none in common.
#[tokio::test(start_paused = true)]
async fn a_version_too_new_or_too_old_is_none() {
    for (oldest, newest) in [(0, 2), (90, 99)] {
        let mut answer = versions();
        answer.api_keys[0].min_version = oldest;
        answer.api_keys[0].max_version = newest;
        let opened = open(None, |mut peer| async move { peer.greet(&answer).await }).await;
        let version = opened.unwrap().version::<kafka_protocol::messages::ProduceRequest>();
        assert!(version.unwrap_err().is_final());
    }
}

/// KIP-511.
#[tokio::test(start_paused = true)]
async fn a_broker_that_does_not_know_the_question_answers_in_version_0() {
    let old = async |mut peer: Peer| {
        peer.expect::<ApiVersionsRequest>().await;
        let refused = ResponseError::UnsupportedVersion.code();
        let answer = encoded(&versions().with_error_code(refused), 0);
        write_answer(&mut peer.0, ApiKey::ApiVersions, 0, 0, &answer).await.unwrap();
    };
    let connection = open(None, old).await.unwrap();
    assert_eq!(connection.version::<kafka_protocol::messages::ProduceRequest>(), Ok(9));
}

#[tokio::test(start_paused = true)]
async fn a_pause_may_be_asked_for_at_once() {
    let answer = versions().with_throttle_time_ms(1_234);
    let opened = open(None, |mut peer| async move { peer.greet(&answer).await }).await;
    assert_eq!(opened.unwrap().throttle, millis(1_234));
}

#[tokio::test(start_paused = true)]
async fn a_refusal_names_the_broker() {
    let answer = versions().with_error_code(ResponseError::ClusterAuthorizationFailed.code());
    let opened = open(None, |mut peer| async move { peer.greet(&answer).await }).await;
    let error = opened.err().unwrap();
    assert!(error.text.starts_with("broker:9092: API versions: "), "{error}");
    assert!(error.is_final());
}

#[tokio::test(start_paused = true)]
async fn a_broker_that_stays_silent_is_given_up() {
    let began = Instant::now();
    let error = open(None, Peer::stay).await.err().unwrap();
    assert_eq!(error.text, "broker:9092 did not let us in within 2s");
    assert_eq!(error.code, Local::TimedOut.code());
    assert_eq!(began.elapsed(), millis(2_000));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_protocol_is_not_read() {
    let http = async |mut peer: Peer| {
        peer.expect::<ApiVersionsRequest>().await;
        peer.0.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        peer.stay().await;
    };
    let error = open(None, http).await.err().unwrap();
    assert_eq!(error.code, Local::BadMessage.code());
    assert!(error.text.ends_with("does it want TLS?"), "{error}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_ends_too_early_is_a_lost_connection() {
    let answer = encoded(&versions(), 3);
    for sent in [0, 2, 4, 6, answer.len()] {
        let answer = answer.clone();
        let cut = async move |mut peer: Peer| {
            peer.expect::<ApiVersionsRequest>().await;
            let frame = [&(answer.len() as u32 + 4).to_be_bytes()[..], &[0; 4], &answer].concat();
            peer.0.write_all(&frame[..sent]).await.unwrap();
        };
        let error = open(None, cut).await.err().unwrap();
        assert_eq!(error.text, "broker:9092: the broker hung up", "after {sent} bytes");
        assert_eq!(error.code, Local::Transport.code());
    }
}

#[tokio::test(start_paused = true)]
async fn answers_come_whole_whatever_pieces_they_are_sent_in() {
    let (mut ours, mut theirs) = tokio::io::duplex(7);
    let long: Vec<u8> = (0..100_000_u32).map(|byte| byte as u8).collect();
    let sent = long.clone();
    let sending = tokio::spawn(async move {
        theirs.write_u32(sent.len() as u32).await.unwrap();
        for piece in sent.chunks(1_013) {
            theirs.write_all(piece).await.unwrap();
            tokio::time::sleep(millis(1)).await;
        }
        theirs.write_u32(0).await.unwrap();
        theirs.write_u32(LONGEST_ANSWER as u32 + 1).await.unwrap();
    });
    assert!(read_answer(&mut ours, LONGEST_ANSWER).await.unwrap() == long);
    assert_eq!(read_answer(&mut ours, LONGEST_ANSWER).await.unwrap(), b""[..]);
    assert_eq!(
        read_answer(&mut ours, LONGEST_ANSWER).await.unwrap_err().code,
        Local::BadMessage.code()
    );
    sending.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_password_is_sent_as_it_is_and_sessions_expire() {
    let began = Instant::now();
    let opened = open(Some(sasl(Mechanism::Plain)), async |mut peer: Peer| {
        peer.shake_hands("PLAIN").await;
        assert_eq!(peer.authenticate().await, b"\0user\0pencil");
        peer.say(message("").with_session_lifetime_ms(10_000)).await;
    });
    // Four fifths of it.
    assert_eq!(opened.await.unwrap().expires, Some(began + millis(8_000)));
}

#[tokio::test(start_paused = true)]
async fn a_mechanism_or_password_that_is_refused_is_final() {
    let opened = open(Some(sasl(Mechanism::ScramSha256)), async |mut peer: Peer| {
        peer.greet(&versions()).await;
        peer.expect::<SaslHandshakeRequest>().await;
        let answer = SaslHandshakeResponse::default()
            .with_error_code(ResponseError::UnsupportedSaslMechanism.code())
            .with_mechanisms(vec![StrBytes::from_static_str("PLAIN\u{1b}")]);
        peer.answer(ApiKey::SaslHandshake, 1, &answer).await;
    });
    let error = opened.await.err().unwrap();
    assert_eq!(error.text, "broker:9092: the broker does not take SCRAM-SHA-256, but PLAIN");
    assert!(error.is_final());

    let opened = open(Some(sasl(Mechanism::Plain)), async |mut peer: Peer| {
        peer.shake_hands("PLAIN").await;
        peer.authenticate().await;
        let refused = ResponseError::SaslAuthenticationFailed.code();
        peer.say(message("").with_error_code(refused)).await;
    });
    let error = opened.await.err().unwrap();
    assert_eq!(error.text, "broker:9092: the broker refused user or password");
    assert!(error.is_final());
}

/// The broker's side of SCRAM, by the client's own: what it has to prove is what a client expects.
async fn scram(mut peer: Peer, mechanism: Mechanism, honest: bool) {
    peer.shake_hands(mechanism.name()).await;
    let first = String::from_utf8(peer.authenticate().await).unwrap();
    let nonce = first.strip_prefix("n,,n=user,r=").unwrap().to_owned();
    let challenge = format!("r={nonce}more,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096");
    let scram = Scram::new(sasl(mechanism), nonce);
    let (last, verifier) = scram.answer(challenge.as_bytes()).unwrap();
    peer.say(message(challenge)).await;
    assert!(peer.authenticate().await == last);
    peer.say(message(if honest { verifier } else { b"v=AAAA".to_vec() })).await;
}

#[tokio::test(start_paused = true)]
async fn a_proof_is_given_and_asked_for() {
    let attempts = [
        (Mechanism::ScramSha512, true),
        (Mechanism::ScramSha256, true),
        (Mechanism::ScramSha256, false),
    ];
    for (mechanism, honest) in attempts {
        let opened = open(Some(sasl(mechanism)), |peer| scram(peer, mechanism, honest)).await;
        match opened.err() {
            None => assert!(honest),
            Some(error) => {
                assert!(!honest && error.is_final(), "{error}");
                assert!(
                    error.text.contains("does not prove that it knows the password"),
                    "{error}"
                );
            }
        }
    }
}
