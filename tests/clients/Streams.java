import java.time.Duration;
import java.time.Instant;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.common.utils.Bytes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Materialized;
import org.apache.kafka.streams.kstream.TimeWindows;
import org.apache.kafka.streams.processor.TimestampExtractor;
import org.apache.kafka.streams.state.WindowStore;

/**
 * Kafka Streams: counts the events of each key in windows of a day of event time, with a day of
 * grace, and prints how many events were counted and how many were dropped.
 *
 * <p>Arguments: bootstrap servers, topic, how many events it has, seconds until it has to be done.
 */
public final class Streams {
    public static void main(String[] args) throws Exception {
        long events = Long.parseLong(args[2]);
        AtomicLong counted = new AtomicLong();

        TimestampExtractor eventTime =
                (record, partitionTime) -> {
                    byte[] time = record.headers().lastHeader("ce_time").value();
                    return Instant.parse(new String(time)).toEpochMilli();
                };
        Duration day = Duration.ofDays(1);
        StreamsBuilder builder = new StreamsBuilder();
        builder.stream(args[1], Consumed.with(Serdes.Bytes(), Serdes.Bytes()).withTimestampExtractor(eventTime))
                .groupByKey()
                .windowedBy(TimeWindows.ofSizeAndGrace(day, day))
                .count(Materialized.<Bytes, Long, WindowStore<Bytes, byte[]>>as("days").withLoggingDisabled())
                .toStream()
                // Without a cache, each event that is counted comes out as one update.
                .foreach((window, count) -> counted.incrementAndGet());

        Properties settings = new Properties();
        settings.putAll(
                Map.of(
                        StreamsConfig.APPLICATION_ID_CONFIG, "datagen-" + UUID.randomUUID(),
                        StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0],
                        StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir"),
                        StreamsConfig.STATESTORE_CACHE_MAX_BYTES_CONFIG, "0",
                        StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                                "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers",
                        "auto.offset.reset", "earliest"));
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(args[3]));
        long dropped = 0;
        try (KafkaStreams streams = new KafkaStreams(builder.build(), settings)) {
            streams.setUncaughtExceptionHandler(
                    error -> {
                        error.printStackTrace();
                        System.exit(1);
                        return null;
                    });
            streams.start();
            while (counted.get() + dropped < events) {
                if (System.nanoTime() > deadline) {
                    System.err.println("not done in time: " + counted + " counted, " + dropped + " dropped");
                    System.exit(1);
                }
                Thread.sleep(200);
                dropped = dropped(streams);
            }
            dropped = dropped(streams);
        }
        System.out.println("counted " + counted + " dropped " + dropped);
    }

    /** The sum of the tasks' metric; its events came when their window was closed. */
    private static long dropped(KafkaStreams streams) {
        return streams.metrics().values().stream()
                .filter(metric -> metric.metricName().name().equals("dropped-records-total"))
                .mapToLong(metric -> ((Number) metric.metricValue()).longValue())
                .sum();
    }
}
