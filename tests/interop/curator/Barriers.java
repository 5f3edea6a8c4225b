import java.util.Map;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.barriers.DistributedBarrier;
import org.apache.curator.framework.recipes.barriers.DistributedDoubleBarrier;

/**
 * barrier: set; remove; wait MS -> whether it is open. double-barrier: enter MEMBERS MS, leave MS -> whether all did.
 */
final class Barriers {
    private Barriers() {}

    static void register(Map<String, Driver.Maker> makers) {
        makers.put("barrier", (client, path) -> {
            DistributedBarrier barrier = new DistributedBarrier(client, path);
            return (verb, words) -> {
                switch (verb) {
                    case "set":
                        barrier.setBarrier();
                        return "";
                    case "remove":
                        barrier.removeBarrier();
                        return "";
                    case "wait":
                        return barrier.waitOnBarrier(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                    default:
                        throw Driver.unknown(verb);
                }
            };
        });
        makers.put("double-barrier", DoubleBarrier::new);
    }

    private static final class DoubleBarrier implements Driver.Part {
        private final CuratorFramework client;
        private final String path;
        private DistributedDoubleBarrier barrier;

        DoubleBarrier(CuratorFramework client, String path) {
            this.client = client;
            this.path = path;
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "enter":
                    barrier = new DistributedDoubleBarrier(client, path, Integer.parseInt(words[0]));
                    return barrier.enter(Long.parseLong(words[1]), TimeUnit.MILLISECONDS);
                case "leave":
                    return barrier.leave(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                default:
                    throw Driver.unknown(verb);
            }
        }
    }
}
