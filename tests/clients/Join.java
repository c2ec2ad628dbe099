import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.atomic.AtomicLong;
import org.apache.kafka.common.serialization.Serdes;
import org.apache.kafka.streams.KafkaStreams;
import org.apache.kafka.streams.StreamsBuilder;
import org.apache.kafka.streams.StreamsConfig;
import org.apache.kafka.streams.kstream.Consumed;
import org.apache.kafka.streams.kstream.Joined;
import org.apache.kafka.streams.kstream.KTable;

/**
 * Kafka Streams: joins the events of a stream with the table that has the same keys, and prints how many
 * found a row and how many found none.
 *
 * <p>Arguments: bootstrap servers, topic of the stream, topic of the table, how many events there
 * are, seconds until it has to be done.
 */
public final class Join {
    public static void main(String[] args) throws Exception {
        long events = Long.parseLong(args[3]);
        AtomicLong joined = new AtomicLong();
        AtomicLong alone = new AtomicLong();

        var bytes = Consumed.with(Serdes.String(), Serdes.ByteArray());
        StreamsBuilder builder = new StreamsBuilder();
        KTable<String, byte[]> rows = builder.table(args[2], bytes);
        builder.stream(args[1], bytes)
                .leftJoin(
                        rows,
                        (event, row) -> row != null,
                        Joined.with(Serdes.String(), Serdes.ByteArray(), Serdes.ByteArray()))
                .foreach((key, found) -> (found ? joined : alone).incrementAndGet());

        Properties settings = new Properties();
        settings.putAll(
                Map.of(
                        StreamsConfig.APPLICATION_ID_CONFIG, "datagen-" + UUID.randomUUID(),
                        StreamsConfig.BOOTSTRAP_SERVERS_CONFIG, args[0],
                        StreamsConfig.STATE_DIR_CONFIG, System.getProperty("java.io.tmpdir"),
                        StreamsConfig.DSL_STORE_SUPPLIERS_CLASS_CONFIG,
                                "org.apache.kafka.streams.state.BuiltInDslStoreSuppliers$InMemoryDslStoreSuppliers",
                        "auto.offset.reset", "earliest"));
        long deadline = System.nanoTime() + TimeUnit.SECONDS.toNanos(Long.parseLong(args[4]));
        try (KafkaStreams streams = new KafkaStreams(builder.build(), settings)) {
            streams.setUncaughtExceptionHandler(
                    error -> {
                        error.printStackTrace();
                        System.exit(1);
                        return null;
                    });
            streams.start();
            while (joined.get() + alone.get() < events) {
                if (System.nanoTime() > deadline) {
                    System.err.println("not done in time: " + joined + " joined, " + alone + " alone");
                    System.exit(1);
                }
                Thread.sleep(200);
            }
        }
        System.out.println("joined " + joined + " alone " + alone);
    }
}
