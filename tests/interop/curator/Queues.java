import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.queue.DistributedDelayQueue;
import org.apache.curator.framework.recipes.queue.DistributedPriorityQueue;
import org.apache.curator.framework.recipes.queue.DistributedQueue;
import org.apache.curator.framework.recipes.queue.QueueBase;
import org.apache.curator.framework.recipes.queue.QueueBuilder;
import org.apache.curator.framework.recipes.queue.QueueConsumer;
import org.apache.curator.framework.recipes.queue.QueueSerializer;
import org.apache.curator.framework.recipes.queue.SimpleDistributedQueue;
import org.apache.curator.framework.state.ConnectionState;

/**
 * queue, priority-queue, delay-queue: open (only puts), consume [LOCK_PATH] (takes, too); put DATA [PRIORITY or DUE_MS]
 * -> whether it is in; take MS -> an item that was consumed. simple-queue: put DATA; take MS -> an item.
 */
final class Queues {
    private Queues() {}

    static void register(Map<String, Driver.Maker> makers) {
        for (String kind : new String[] {"queue", "priority-queue", "delay-queue"}) {
            makers.put(kind, (client, path) -> new Queue(client, path, kind));
        }
        makers.put("simple-queue", (client, path) -> {
            SimpleDistributedQueue queue = new SimpleDistributedQueue(client, path);
            return (verb, words) -> {
                switch (verb) {
                    case "put":
                        return queue.offer(Driver.bytes(words[0]));
                    case "take":
                        return queue.poll(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                    default:
                        throw Driver.unknown(verb);
                }
            };
        });
    }

    private static final class Queue implements Driver.Part, QueueConsumer<String>, QueueSerializer<String> {
        private final CuratorFramework client;
        private final String path;
        private final String kind;
        private final BlockingQueue<String> taken = new LinkedBlockingQueue<>();
        private QueueBase<String> queue;

        Queue(CuratorFramework client, String path, String kind) {
            this.client = client;
            this.path = path;
            this.kind = kind;
        }

        @Override
        public byte[] serialize(String item) {
            return Driver.bytes(item);
        }

        @Override
        public String deserialize(byte[] data) {
            return Driver.text(data);
        }

        @Override
        public void consumeMessage(String item) {
            taken.add(item);
        }

        @Override
        public void stateChanged(CuratorFramework changed, ConnectionState state) {}

        private QueueBase<String> make(QueueConsumer<String> consumer, String lockPath) {
            QueueBuilder<String> builder = QueueBuilder.builder(client, consumer, this, path);
            if (lockPath != null) {
                builder.lockPath(lockPath);
            }
            switch (kind) {
                case "queue":
                    return builder.buildQueue();
                case "priority-queue":
                    return builder.buildPriorityQueue(1);
                default:
                    return builder.buildDelayQueue();
            }
        }

        private void put(String[] words) throws Exception {
            if (queue instanceof DistributedPriorityQueue) {
                ((DistributedPriorityQueue<String>) queue).put(words[0], Integer.parseInt(words[1]));
            } else if (queue instanceof DistributedDelayQueue) {
                ((DistributedDelayQueue<String>) queue).put(words[0], Long.parseLong(words[1]));
            } else {
                ((DistributedQueue<String>) queue).put(words[0]);
            }
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "open":
                    queue = make(null, null);
                    queue.start();
                    return "";
                case "consume":
                    queue = make(this, words.length > 0 ? words[0] : null);
                    queue.start();
                    return "";
                case "put":
                    put(words);
                    return queue.flushPuts(10, TimeUnit.SECONDS);
                case "take":
                    return taken.poll(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() throws Exception {
            if (queue != null) {
                queue.close();
            }
        }
    }
}
