import static org.apache.spark.sql.functions.col;
import static org.apache.spark.sql.functions.get_json_object;
import static org.apache.spark.sql.functions.window;

import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.StateOperatorProgress;
import org.apache.spark.sql.streaming.StreamingQuery;
import org.apache.spark.sql.streaming.StreamingQueryProgress;
import org.apache.spark.sql.streaming.Trigger;

/**
 * Spark Structured Streaming: counts events in windows of a day, under a watermark of a day, in
 * batches of 20 000 events, and prints how many were counted, how many rows the watermark dropped,
 * and how many batches had events.
 *
 * <p>Arguments: bootstrap servers, topic, seconds until it has to be done.
 */
public final class Spark {
    public static void main(String[] args) throws Exception {
        SparkSession spark =
                SparkSession.builder()
                        .master("local[2]")
                        .config("spark.driver.bindAddress", "127.0.0.1")
                        .config("spark.driver.host", "127.0.0.1")
                        .config("spark.ui.enabled", "false")
                        .config("spark.sql.session.timeZone", "UTC")
                        .config("spark.sql.shuffle.partitions", "2")
                        .config("spark.sql.streaming.numRecentProgressUpdates", "100000")
                        .getOrCreate();
        StreamingQuery query =
                spark.readStream()
                        .format("kafka")
                        .option("kafka.bootstrap.servers", args[0])
                        .option("subscribe", args[1])
                        .option("startingOffsets", "earliest")
                        .option("maxOffsetsPerTrigger", 20_000)
                        .load()
                        .select(
                                get_json_object(col("value").cast("string"), "$.occurred_at")
                                        .cast("timestamp")
                                        .as("occurred_at"))
                        .withWatermark("occurred_at", "1 day")
                        .groupBy(window(col("occurred_at"), "1 day"))
                        .count()
                        .writeStream()
                        .format("memory")
                        .queryName("updates")
                        .outputMode("update")
                        .trigger(Trigger.AvailableNow())
                        .start();
        if (!query.awaitTermination(Long.parseLong(args[2]) * 1_000)) {
            System.err.println("not done in time: " + query.lastProgress());
            System.exit(1);
        }
        long dropped = 0;
        long batches = 0;
        for (StreamingQueryProgress progress : query.recentProgress()) {
            batches += progress.numInputRows() > 0 ? 1 : 0;
            for (StateOperatorProgress state : progress.stateOperators()) {
                dropped += state.numRowsDroppedByWatermark();
            }
        }
        // A window comes out once for each batch that has events of it.
        long counted =
                spark.sql(
                                "SELECT coalesce(sum(events), 0) FROM"
                                        + " (SELECT max(count) AS events FROM updates GROUP BY window)")
                        .first()
                        .getLong(0);
        System.out.println("counted " + counted + " dropped " + dropped + " batches " + batches);
        spark.stop();
    }
}
