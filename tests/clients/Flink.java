import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Flink SQL: counts events in windows of a day, under a watermark of five seconds, and prints how
 * many were counted.
 *
 * <p>Arguments: bootstrap servers, topic.
 */
public final class Flink {
    public static void main(String[] args) throws Exception {
        Configuration settings = new Configuration();
        settings.setString("parallelism.default", "2");
        settings.setString("rest.address", "127.0.0.1");
        settings.setString("rest.bind-address", "127.0.0.1");
        settings.setString("table.local-time-zone", "UTC");
        TableEnvironment tables =
                TableEnvironment.create(
                        EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        tables.executeSql(
                """
                CREATE TABLE transactions (
                    occurred_at TIMESTAMP_LTZ(3),
                    WATERMARK FOR occurred_at AS occurred_at - INTERVAL '5' SECOND
                ) WITH (
                    'connector' = 'kafka',
                    'properties.bootstrap.servers' = '%s',
                    'topic' = '%s',
                    'scan.startup.mode' = 'earliest-offset',
                    'scan.bounded.mode' = 'latest-offset',
                    'format' = 'json',
                    'json.timestamp-format.standard' = 'ISO-8601'
                )
                """
                        .formatted(args[0], args[1]));
        String days =
                """
                SELECT window_start, COUNT(*)
                FROM TUMBLE(TABLE transactions, DESCRIPTOR(occurred_at), INTERVAL '1' DAY)
                GROUP BY window_start, window_end
                """;
        long counted = 0;
        try (CloseableIterator<Row> rows = tables.executeSql(days).collect()) {
            while (rows.hasNext()) {
                counted += (Long) rows.next().getField(1);
            }
        }
        System.out.println("counted " + counted);
    }
}
