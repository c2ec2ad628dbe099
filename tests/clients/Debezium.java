import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import io.debezium.engine.ChangeEvent;
import io.debezium.engine.DebeziumEngine;
import io.debezium.engine.format.Json;
import java.io.PrintWriter;
import java.nio.file.Path;
import java.util.Properties;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;

/**
 * Debezium's connector for PostgreSQL, embedded: writes each change that it sees as a line of JSON, with
 * its key, until the stream's row says that the tables are where they should be.
 *
 * <p>Arguments: the connector as Kafka Connect takes it, the instant to wait for, the file of changes, seconds
 * until it has to be done. It prints "ready" once it has read the rows that were there.
 */
public final class Debezium {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws Exception {
        Properties settings = new Properties();
        JsonNode connector = JSON.readTree(Path.of(args[0]).toFile());
        settings.setProperty("name", connector.get("name").asText());
        connector.get("config").fields().forEachRemaining(
                one -> settings.setProperty(one.getKey(), one.getValue().asText()));
        // The table that says how far the stream is.
        settings.setProperty(
                "table.include.list", settings.getProperty("table.include.list") + ",public.datagen_streams");
        settings.setProperty("offset.storage", "org.apache.kafka.connect.storage.MemoryOffsetBackingStore");
        settings.setProperty("slot.drop.on.stop", "true");
        settings.setProperty("converter.schemas.enable", "false");

        // The row is at the head of its transaction; it is touched once more when that is over.
        CountDownLatch arrived = new CountDownLatch(2);
        try (PrintWriter lines = new PrintWriter(Path.of(args[2]).toFile());
                DebeziumEngine<ChangeEvent<String, String>> engine =
                        DebeziumEngine.create(Json.class)
                                .using(settings)
                                .notifying(change -> take(change, lines, args[1], arrived))
                                .using((success, message, error) -> {
                                    if (!success) {
                                        System.err.println(message + " " + error);
                                        System.exit(1);
                                    }
                                })
                                .build()) {
            ExecutorService thread = Executors.newSingleThreadExecutor();
            thread.execute(engine);
            boolean done = arrived.await(Long.parseLong(args[3]), TimeUnit.SECONDS);
            engine.close();
            thread.shutdown();
            System.exit(done ? 0 : 2);
        }
    }

    private static void take(
            ChangeEvent<String, String> change, PrintWriter lines, String until, CountDownLatch arrived) {
        if (change.value() == null) {
            return;
        }
        try {
            JsonNode value = JSON.readTree(change.value());
            JsonNode source = value.get("source");
            lines.printf(
                    "{\"table\": %s, \"op\": %s, \"key\": %s, \"after\": %s}%n",
                    source.get("table"), value.get("op"), change.key(), value.get("after"));
            if (source.get("snapshot").asText().equals("last")) {
                System.out.println("ready");
                System.out.flush();
            }
            if (source.get("table").asText().equals("datagen_streams")
                    && value.get("after").get("tables_at").asText().equals(until)) {
                lines.flush();
                arrived.countDown();
            }
        } catch (java.io.IOException error) {
            throw new java.io.UncheckedIOException(error);
        }
    }
}
