//! Lookups of metadata and producer ids, each by a connection of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use kafka_protocol::error::{ParseResponseErrorCode, ResponseError};
use kafka_protocol::messages::metadata_request::MetadataRequestTopic;
use kafka_protocol::messages::{InitProducerIdRequest, MetadataRequest, TopicName};
use kafka_protocol::protocol::StrBytes;
use tokio::task::JoinSet;
use tokio::time::timeout;

use crate::config::Address;
use crate::connection::{Connection, Connector};
use crate::error::{Error, Local};
use crate::transport::Transport;

/// Brokers, and the leader of each partition.
#[derive(Debug, Default)]
pub(crate) struct Metadata {
    pub(crate) brokers: BTreeMap<i32, Address>,
    pub(crate) topics: BTreeMap<String, Result<Vec<Leader>, ResponseError>>,
    /// How long the cluster wants not to be asked again.
    pub(crate) throttle: Duration,
}

/// The leader of a partition, which has none for the moment where `broker` is negative.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Leader {
    pub(crate) partition: i32,
    pub(crate) broker: i32,
}

/// Asks one address after the other about these topics.
pub(crate) async fn metadata<T: Transport>(
    addresses: &[Address],
    connector: &Arc<Connector<T>>,
    topics: &[String],
) -> Result<Metadata, Error> {
    let topics = topics.iter().map(|name| {
        let name = TopicName(StrBytes::from_string(name.clone()));
        MetadataRequestTopic::default().with_name(Some(name))
    });
    let request = MetadataRequest::default()
        .with_topics(Some(topics.collect()))
        // As other producers do: the broker decides.
        .with_allow_auto_topic_creation(true);
    let mut connection = any(addresses, connector).await?;
    let answer = connection.call(&request, connector.config.request_timeout).await?;
    let mut found = Metadata::default();
    for (node, host, port) in answer.brokers {
        let Ok(port) = u16::try_from(port) else { continue };
        found.brokers.insert(node, Address { host, port });
    }
    for topic in answer.topics {
        let Some(name) = topic.name else { continue };
        let leaders = topic.partitions.into_iter();
        let leaders = leaders.map(|(partition, broker)| Leader { partition, broker });
        let leaders = topic.error.err().map_or_else(|| Ok(leaders.collect()), Err);
        found.topics.insert(name, leaders);
    }
    found.throttle = answer.throttle;
    Ok(found)
}

/// An id for an idempotent producer, its epoch, and how long not to ask again.
pub(crate) async fn producer_id<T: Transport>(
    addresses: &[Address],
    connector: &Arc<Connector<T>>,
) -> Result<(i64, i16, Duration), Error> {
    let mut connection = any(addresses, connector).await?;
    // Without transactions the limit is not looked at.
    let request = InitProducerIdRequest::default()
        .with_transactional_id(None)
        .with_transaction_timeout_ms(i32::MAX);
    let answer = connection.call(&request, connector.config.request_timeout).await?;
    match answer.error.err() {
        None => Ok((answer.id, answer.epoch, answer.throttle)),
        Some(error) => Err(Error::of_broker(error, format!("no producer id: {error}"))),
    }
}

/// The first connection that can be made. One that takes its time does not hold up the others.
async fn any<T: Transport>(
    addresses: &[Address],
    connector: &Arc<Connector<T>>,
) -> Result<Connection<T::Stream>, Error> {
    const NEXT: Duration = Duration::from_millis(500);
    let mut last = Error::new(Local::InvalidArgument, "there is no address of a broker");
    let (mut left, mut tries) = (addresses.iter().cloned(), JoinSet::new());
    loop {
        let next = left.next();
        let wait = if next.is_some() { NEXT } else { connector.config.request_timeout };
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
