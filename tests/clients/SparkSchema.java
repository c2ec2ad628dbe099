import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.spark.sql.Row;
import org.apache.spark.sql.SparkSession;
import org.apache.spark.sql.streaming.Trigger;

/**
 * Spark SQL: carries out the statements of a file as they are, and prints the rows of views: the name of the
 * view, then each value, with tabs between. With bootstrap servers the view of the topic is replaced by a stream,
 * the view above it made anew, and the number of its rows printed.
 *
 * <p>Arguments: the file, the stream that is read as one ("" for none), bootstrap servers, its topic, then
 * the names of views.
 */
public final class SparkSchema {
    public static void main(String[] args) throws Exception {
        SparkSession spark =
                SparkSession.builder()
                        .master("local[2]")
                        .config("spark.driver.bindAddress", "127.0.0.1")
                        .config("spark.driver.host", "127.0.0.1")
                        .config("spark.ui.enabled", "false")
                        .config("spark.sql.session.timeZone", "UTC")
                        .config("spark.sql.datetime.java8API.enabled", "true")
                        .config("spark.sql.shuffle.partitions", "2")
                        .getOrCreate();
        String[] statements = Files.readString(Path.of(args[0])).split(";\\s*(\\n|$)");
        for (String statement : statements) {
            spark.sql(statement);
        }
        for (int i = 4; i < args.length; i++) {
            for (Row row : spark.sql("SELECT * FROM " + args[i]).collectAsList()) {
                StringBuilder line = new StringBuilder(args[i]);
                for (int field = 0; field < row.length(); field++) {
                    line.append('\t').append(row.get(field));
                }
                System.out.println(line);
            }
        }
        if (!args[1].isEmpty()) {
            spark.readStream()
                    .format("kafka")
                    .option("kafka.bootstrap.servers", args[2])
                    .option("subscribe", args[3])
                    .option("startingOffsets", "earliest")
                    .load()
                    .createOrReplaceTempView(args[1] + "_topic");
            for (String statement : statements) {
                if (statement.contains("VIEW " + args[1] + " AS")) {
                    spark.sql(statement);
                }
            }
            spark.table(args[1])
                    .writeStream()
                    .format("memory")
                    .queryName("streamed")
                    .trigger(Trigger.AvailableNow())
                    .start()
                    .awaitTermination();
            System.out.println("streamed\t" + spark.table("streamed").count());
        }
        spark.stop();
    }
}
