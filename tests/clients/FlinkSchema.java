import java.nio.file.Files;
import java.nio.file.Path;
import org.apache.flink.configuration.Configuration;
import org.apache.flink.table.api.EnvironmentSettings;
import org.apache.flink.table.api.TableEnvironment;
import org.apache.flink.types.Row;
import org.apache.flink.util.CloseableIterator;

/**
 * Flink SQL: carries out the statements of a file as they are, and prints the rows of tables: the name of the
 * table, then each value, with tabs between.
 *
 * <p>Arguments: the file, then for each table its name and "topic" or "table".
 */
public final class FlinkSchema {
    public static void main(String[] args) throws Exception {
        Configuration settings = new Configuration();
        settings.setString("parallelism.default", "2");
        settings.setString("rest.address", "127.0.0.1");
        settings.setString("rest.bind-address", "127.0.0.1");
        settings.setString("table.local-time-zone", "UTC");
        TableEnvironment tables =
                TableEnvironment.create(
                        EnvironmentSettings.newInstance().inStreamingMode().withConfiguration(settings).build());
        for (String statement : Files.readString(Path.of(args[0])).split(";\\s*(\\n|$)")) {
            tables.executeSql(statement);
        }
        for (int i = 1; i < args.length; i += 2) {
            String query = "SELECT * FROM " + args[i];
            if (args[i + 1].equals("topic")) {
                query += " /*+ OPTIONS('scan.bounded.mode' = 'latest-offset') */";
            }
            try (CloseableIterator<Row> rows = tables.executeSql(query).collect()) {
                while (rows.hasNext()) {
                    Row row = rows.next();
                    StringBuilder line = new StringBuilder(args[i]);
                    for (int field = 0; field < row.getArity(); field++) {
                        line.append('\t').append(row.getField(field));
                    }
                    System.out.println(line);
                }
            }
        }
    }
}
