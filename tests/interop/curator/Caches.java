import java.util.Map;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.cache.ChildData;
import org.apache.curator.framework.recipes.cache.CuratorCache;
import org.apache.curator.framework.recipes.cache.CuratorCacheListener;
import org.apache.curator.framework.recipes.cache.NodeCache;
import org.apache.curator.framework.recipes.cache.PathChildrenCache;
import org.apache.curator.framework.recipes.cache.TreeCache;

/**
 * cache, node-cache, children-cache, tree-cache: start; next MS -> an event's type, its path and data if it has them;
 * those of the connection are left out. zk: create DATA, set DATA, delete: at the path, without a recipe.
 */
@SuppressWarnings("deprecation")
final class Caches {
    private Caches() {}

    static void register(Map<String, Driver.Maker> makers) {
        makers.put("cache", (client, path) -> new Events(events -> {
            CuratorCache cache = CuratorCache.build(client, path);
            cache.listenable().addListener(new CuratorCacheListener() {
                @Override
                public void event(Type type, ChildData before, ChildData after) {
                    events.saw(type, type == Type.NODE_DELETED ? before : after);
                }

                @Override
                public void initialized() {
                    events.saw("INITIALIZED", null);
                }
            });
            cache.start();
            return cache;
        }));
        makers.put("node-cache", (client, path) -> new Events(events -> {
            NodeCache cache = new NodeCache(client, path);
            cache.getListenable().addListener(() -> {
                ChildData node = cache.getCurrentData();
                events.saw(node == null ? "GONE" : "CHANGED", node);
            });
            cache.start();
            return cache;
        }));
        makers.put("children-cache", (client, path) -> new Events(events -> {
            PathChildrenCache cache = new PathChildrenCache(client, path, true);
            cache.getListenable().addListener((origin, event) -> events.saw(event.getType(), event.getData()));
            cache.start(PathChildrenCache.StartMode.POST_INITIALIZED_EVENT);
            return cache;
        }));
        makers.put("tree-cache", (client, path) -> new Events(events -> {
            TreeCache cache = new TreeCache(client, path);
            cache.getListenable().addListener((origin, event) -> events.saw(event.getType(), event.getData()));
            cache.start();
            return cache;
        }));
        makers.put("zk", (client, path) -> (verb, words) -> write(client, path, verb, words));
    }

    private static Object write(CuratorFramework client, String path, String verb, String[] words) throws Exception {
        switch (verb) {
            case "create":
                return client.create().creatingParentsIfNeeded().forPath(path, Driver.bytes(words[0]));
            case "set":
                return client.setData().forPath(path, Driver.bytes(words[0])).getVersion();
            case "delete":
                return client.delete().forPath(path);
            default:
                throw Driver.unknown(verb);
        }
    }

    /** Starts a cache that tells `events`. */
    private interface Starter {
        AutoCloseable start(Events events) throws Exception;
    }

    private static final class Events implements Driver.Part {
        private final BlockingQueue<String> queue = new LinkedBlockingQueue<>();
        private final Starter starter;
        private AutoCloseable cache;

        Events(Starter starter) {
            this.starter = starter;
        }

        void saw(Object type, ChildData node) {
            // Listeners may still be told of the connection that the client has begun with.
            if (type.toString().startsWith("CONNECTION_")) {
                return;
            }
            queue.add(node == null ? type.toString() : type + " " + node.getPath() + " " + Driver.text(node.getData()));
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "start":
                    cache = starter.start(this);
                    return "";
                case "next":
                    return queue.poll(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() throws Exception {
            if (cache != null) {
                cache.close();
            }
        }
    }
}
