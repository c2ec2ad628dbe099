//! Lookups of metadata and producer ids, each by a connection of its own.

use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::ParseResponseErrorCode;
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::answer::{Metadata, ProducerId};
use crate::config::Address;
use crate::connection::{Connection, Connector};
use crate::error::{Error, Local};
use crate::transport::Transport;

/// Asks for the brokers, and the leaders of these topics, which a broker creates if it may.
pub(crate) async fn metadata<T: Transport>(
    addresses: Vec<Address>,
    connector: Arc<Connector<T>>,
    topics: Vec<Arc<str>>,
    may_create: bool,
) -> Result<Metadata, Error> {
    let topics = topics.iter().map(|name| {
        let name = TopicName(StrBytes::from_string((**name).to_owned()));
        MetadataRequestTopic::default().with_name(Some(name))
    });
    let request = MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        .with_allow_auto_topic_creation(may_create);
    any(addresses, &connector).await?.call(&request, connector.client.request_timeout).await
}

/// Asks for an id of an idempotent producer.
pub(crate) async fn producer_id<T: Transport>(
    addresses: Vec<Address>,
    connector: Arc<Connector<T>>,
) -> Result<ProducerId, Error> {
    // Without transactions the limit is not looked at.
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX);
    let limit = connector.client.request_timeout;
    let answer = any(addresses, &connector).await?.call(&request, limit).await?;
    match answer.error.err() {
        None => Ok(answer),
        Some(error) => Err(Error::of_broker(error, "a producer id is refused")),
    }
}

/// The first connection that can be made. One that takes its time does not hold up the others.
async fn any<T: Transport>(
    addresses: Vec<Address>,
    connector: &Arc<Connector<T>>,
) -> Result<Connection<T::Stream>, Error> {
    const NEXT: Duration = Duration::from_millis(500);
    let mut last = Error::new(Local::InvalidArgument, "there is no address of a broker");
    let (mut left, mut tries) = (addresses.into_iter(), JoinSet::new());
    loop {
        let next = left.next();
        let wait = if next.is_some() { NEXT } else { connector.client.request_timeout };
        if let Some(address) = next {
            let connector = Arc::clone(connector);
            tries.spawn(async move { connector.open(&address).await });
        } else if tries.is_empty() {
            return Err(last);
        }
        match timeout(wait, tries.join_next()).await {
            // The other tries end with the set.
            Ok(Some(Ok(Ok(connection)))) => return Ok(connection),
            Ok(Some(Ok(Err(error)))) if error.is_final() => return Err(error),
            Ok(Some(Ok(Err(error)))) => last = error,
            _ => {}
        }
    }
}
