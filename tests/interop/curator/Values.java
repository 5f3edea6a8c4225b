import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.atomic.AtomicValue;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicInteger;
import org.apache.curator.framework.recipes.atomic.DistributedAtomicLong;
import org.apache.curator.framework.recipes.shared.SharedCount;
import org.apache.curator.framework.recipes.shared.SharedValue;
import org.apache.curator.framework.recipes.shared.SharedValueListener;
import org.apache.curator.framework.recipes.shared.SharedValueReader;
import org.apache.curator.framework.state.ConnectionState;
import org.apache.curator.retry.RetryForever;

/**
 * long, integer: get; add NUMBER TIMES -> the sum after the last time; swap EXPECTED NUMBER -> whether it was done.
 * count, value: start SEED; get; set VALUE; try VALUE -> whether it was done; next MS -> a value that was told.
 */
final class Values {
    private Values() {}

    static void register(Map<String, Driver.Maker> makers) {
        makers.put("long", (client, path) -> {
            DistributedAtomicLong number = new DistributedAtomicLong(client, path, new RetryForever(1));
            return (verb, words) -> {
                switch (verb) {
                    case "get":
                        return number.get().postValue();
                    case "add":
                        AtomicValue<Long> sum = null;
                        for (int times = Integer.parseInt(words[1]); times > 0; times--) {
                            sum = number.add(Long.parseLong(words[0]));
                            if (!sum.succeeded()) {
                                throw new IllegalStateException("an addition was not made");
                            }
                        }
                        return sum.postValue();
                    case "swap":
                        return number.compareAndSet(Long.parseLong(words[0]), Long.parseLong(words[1])).succeeded();
                    default:
                        throw Driver.unknown(verb);
                }
            };
        });
        makers.put("integer", (client, path) -> {
            DistributedAtomicInteger number = new DistributedAtomicInteger(client, path, new RetryForever(1));
            return (verb, words) -> {
                switch (verb) {
                    case "get":
                        return number.get().postValue();
                    case "add":
                        return number.add(Integer.parseInt(words[0])).postValue();
                    default:
                        throw Driver.unknown(verb);
                }
            };
        });
        makers.put("count", Count::new);
        makers.put("value", Value::new);
    }

    private static final class Count implements Driver.Part {
        private final CuratorFramework client;
        private final String path;
        private SharedCount count;

        Count(CuratorFramework client, String path) {
            this.client = client;
            this.path = path;
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "start":
                    count = new SharedCount(client, path, Integer.parseInt(words[0]));
                    count.start();
                    return "";
                case "get":
                    return count.getCount();
                case "set":
                    count.setCount(Integer.parseInt(words[0]));
                    return "";
                case "try":
                    return count.trySetCount(count.getVersionedValue(), Integer.parseInt(words[0]));
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() throws Exception {
            if (count != null) {
                count.close();
            }
        }
    }

    private static final class Value implements Driver.Part, SharedValueListener {
        private final CuratorFramework client;
        private final String path;
        private final BlockingQueue<byte[]> told = new LinkedBlockingQueue<>();
        private SharedValue value;

        Value(CuratorFramework client, String path) {
            this.client = client;
            this.path = path;
        }

        @Override
        public void valueHasChanged(SharedValueReader reader, byte[] found) {
            told.add(found);
        }

        @Override
        public void stateChanged(CuratorFramework changed, ConnectionState state) {}

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "start":
                    value = new SharedValue(client, path, Driver.bytes(words[0]));
                    value.getListenable().addListener(this);
                    value.start();
                    return "";
                case "get":
                    return value.getValue();
                case "set":
                    value.setValue(Driver.bytes(words[0]));
                    return "";
                case "try":
                    return value.trySetValue(value.getVersionedValue(), Driver.bytes(words[0]));
                case "next":
                    return told.poll(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() throws Exception {
            if (value != null) {
                value.close();
            }
        }
    }
}
