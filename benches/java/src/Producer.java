import com.sun.management.OperatingSystemMXBean;
import java.io.BufferedInputStream;
import java.io.BufferedReader;
import java.io.DataInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.ArrayList;
import java.util.List;
import java.util.Locale;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.atomic.AtomicReference;
import java.util.concurrent.atomic.LongAdder;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.header.Header;
import org.apache.kafka.common.header.internals.RecordHeader;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * Sends records that are ready in memory with Kafka's own producer, once for each line of its input.
 *
 * <p>Arguments: the file of records, then the producer's properties as name=value. It prints a line
 * when the records are in memory, and one of JSON for each round: events acknowledged, seconds from
 * the first send to the last acknowledgement, and seconds of CPU of the whole process in that time.
 *
 * <p>The file, as DataInput reads it: a byte of how many topics; for each its name and a byte of how
 * many headers; for each of those its name, and whether all records share a value, which then
 * follows. Then the records: a byte for the topic, key, value, and the values of the other headers.
 * Names are modified UTF-8, bytes a short of length and so many.
 */
public final class Producer {
    private record Topic(String name, List<String> headers, List<Header> same) {}

    public static void main(String[] args) throws IOException {
        Map<String, Object> properties = new TreeMap<>();
        for (int at = 1; at < args.length; at++) {
            String[] pair = args[at].split("=", 2);
            properties.put(pair[0], pair[1]);
        }
        List<ProducerRecord<byte[], byte[]>> records = read(Path.of(args[0]));
        System.out.println(records.size());
        BufferedReader turns = new BufferedReader(new InputStreamReader(System.in));
        while (turns.readLine() != null) {
            round(properties, records);
        }
    }

    private static void round(
            Map<String, Object> properties, List<ProducerRecord<byte[], byte[]>> records) {
        LongAdder acknowledged = new LongAdder();
        AtomicReference<Exception> failure = new AtomicReference<>();
        var bytes = new ByteArraySerializer();
        try (var producer = new KafkaProducer<byte[], byte[]>(properties, bytes, bytes)) {
            records.stream().map(ProducerRecord::topic).distinct().forEach(producer::partitionsFor);
            long cpu = cpu();
            long began = System.nanoTime();
            for (ProducerRecord<byte[], byte[]> record : records) {
                producer.send(record, (metadata, error) -> {
                    if (error == null) {
                        acknowledged.increment();
                    } else {
                        failure.set(error);
                    }
                });
            }
            producer.flush();
            double seconds = (System.nanoTime() - began) / 1e9;
            double used = (cpu() - cpu) / 1e9;
            if (failure.get() != null) {
                throw new IllegalStateException(failure.get());
            }
            System.out.printf(
                    Locale.ROOT,
                    "{\"events\": %d, \"seconds\": %.6f, \"cpu\": %.6f}%n",
                    acknowledged.sum(), seconds, used);
        }
    }

    private static long cpu() {
        return ((OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean())
                .getProcessCpuTime();
    }

    private static List<ProducerRecord<byte[], byte[]>> read(Path file) throws IOException {
        List<ProducerRecord<byte[], byte[]>> records = new ArrayList<>();
        try (var in = new DataInputStream(
                new BufferedInputStream(Files.newInputStream(file), 1 << 20))) {
            List<Topic> topics = new ArrayList<>();
            for (int left = in.readUnsignedByte(); left > 0; left--) {
                topics.add(topic(in));
            }
            for (int which = in.read(); which >= 0; which = in.read()) {
                Topic topic = topics.get(which);
                byte[] key = bytes(in);
                byte[] value = bytes(in);
                List<Header> headers = new ArrayList<>(topic.headers.size());
                for (int at = 0; at < topic.headers.size(); at++) {
                    Header same = topic.same.get(at);
                    headers.add(same != null ? same : header(topic.headers.get(at), in));
                }
                records.add(new ProducerRecord<>(topic.name, null, key, value, headers));
            }
        }
        return records;
    }

    private static Topic topic(DataInputStream in) throws IOException {
        String name = in.readUTF();
        List<String> headers = new ArrayList<>();
        List<Header> same = new ArrayList<>();
        for (int left = in.readUnsignedByte(); left > 0; left--) {
            String header = in.readUTF();
            headers.add(header);
            same.add(in.readBoolean() ? header(header, in) : null);
        }
        return new Topic(name, headers, same);
    }

    private static Header header(String name, DataInputStream in) throws IOException {
        return new RecordHeader(name, bytes(in));
    }

    private static byte[] bytes(DataInputStream in) throws IOException {
        byte[] bytes = new byte[in.readUnsignedShort()];
        in.readFully(bytes);
        return bytes;
    }

    private Producer() {}
}
