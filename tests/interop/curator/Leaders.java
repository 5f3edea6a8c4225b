import java.util.Collection;
import java.util.Map;
import java.util.concurrent.Semaphore;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.leader.LeaderLatch;
import org.apache.curator.framework.recipes.leader.LeaderSelector;
import org.apache.curator.framework.recipes.leader.LeaderSelectorListenerAdapter;
import org.apache.curator.framework.recipes.leader.Participant;

/**
 * latch, selector: start ID; await MS -> whether it leads; leads -> whether it leads now; end (a latch is closed, a
 * selector's term ends); standing -> ids in order; leader -> an id.
 */
final class Leaders {
    private Leaders() {}

    static void register(Map<String, Driver.Maker> makers) {
        makers.put("latch", Latch::new);
        makers.put("selector", Selector::new);
    }

    private static Object ids(Collection<Participant> participants) {
        return participants.stream().map(Participant::getId).collect(Collectors.toList());
    }

    private static final class Latch implements Driver.Part {
        private final CuratorFramework client;
        private final String path;
        private LeaderLatch latch;

        Latch(CuratorFramework client, String path) {
            this.client = client;
            this.path = path;
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "start":
                    latch = new LeaderLatch(client, path, words[0]);
                    latch.start();
                    return "";
                case "await":
                    return latch.await(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                case "leads":
                    return latch.hasLeadership();
                case "end":
                    latch.close();
                    return "";
                case "standing":
                    return ids(latch.getParticipants());
                case "leader":
                    return latch.getLeader().getId();
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() throws Exception {
            if (latch != null && latch.getState() == LeaderLatch.State.STARTED) {
                latch.close();
            }
        }
    }

    private static final class Selector extends LeaderSelectorListenerAdapter implements Driver.Part {
        private final LeaderSelector selector;
        private final Semaphore begun = new Semaphore(0);
        private final Semaphore ended = new Semaphore(0);

        Selector(CuratorFramework client, String path) {
            selector = new LeaderSelector(client, path, this);
        }

        @Override
        public void takeLeadership(CuratorFramework client) throws Exception {
            begun.release();
            ended.acquire();
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "start":
                    selector.setId(words[0]);
                    selector.start();
                    return "";
                case "await":
                    return begun.tryAcquire(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                case "leads":
                    return selector.hasLeadership();
                case "end":
                    ended.release();
                    return "";
                case "standing":
                    return ids(selector.getParticipants());
                case "leader":
                    return selector.getLeader().getId();
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() {
            selector.close();
        }
    }
}
