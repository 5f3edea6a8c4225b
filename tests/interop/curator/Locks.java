import java.util.ArrayDeque;
import java.util.Arrays;
import java.util.Deque;
import java.util.Map;
import java.util.concurrent.CountDownLatch;
import java.util.concurrent.TimeUnit;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.locks.InterProcessLock;
import org.apache.curator.framework.recipes.locks.InterProcessMultiLock;
import org.apache.curator.framework.recipes.locks.InterProcessMutex;
import org.apache.curator.framework.recipes.locks.InterProcessReadWriteLock;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreMutex;
import org.apache.curator.framework.recipes.locks.InterProcessSemaphoreV2;
import org.apache.curator.framework.recipes.locks.Lease;
import org.apache.curator.framework.recipes.locks.Revoker;

/**
 * mutex, semaphore-mutex, multi-lock (PATH,PATH): acquire MS -> whether it is held; release. mutex: nodes, the oldest
 * first; revocable; revoked MS -> whether that was asked; revoke NODE. rwlock: the same, with "read-" or "write-" in
 * front. semaphore: acquire LIMIT MS -> the lease's node, or nothing; release.
 */
final class Locks {
    private Locks() {}

    static void register(Map<String, Driver.Maker> makers) {
        makers.put("mutex", (client, path) -> new Lock(client, new InterProcessMutex(client, path)));
        makers.put("rwlock", (client, path) -> new ReadWrite(client, new InterProcessReadWriteLock(client, path)));
        makers.put("semaphore-mutex", (client, path) -> new Lock(client, new InterProcessSemaphoreMutex(client, path)));
        makers.put("multi-lock", (client, paths) -> {
            return new Lock(client, new InterProcessMultiLock(client, Arrays.asList(paths.split(","))));
        });
        makers.put("semaphore", Semaphore::new);
    }

    /** Any of Curator's locks. */
    private static final class Lock implements Driver.Part {
        private final CuratorFramework client;
        private final InterProcessLock lock;
        private final CountDownLatch revoked = new CountDownLatch(1);

        Lock(CuratorFramework client, InterProcessLock lock) {
            this.client = client;
            this.lock = lock;
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "acquire":
                    return lock.acquire(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                case "release":
                    lock.release();
                    return "";
                case "nodes":
                    return ((InterProcessMutex) lock).getParticipantNodes();
                case "revocable":
                    ((InterProcessMutex) lock).makeRevocable(asked -> revoked.countDown());
                    return "";
                case "revoked":
                    return revoked.await(Long.parseLong(words[0]), TimeUnit.MILLISECONDS);
                case "revoke":
                    Revoker.attemptRevoke(client, words[0]);
                    return "";
                default:
                    throw Driver.unknown(verb);
            }
        }
    }

    private static final class ReadWrite implements Driver.Part {
        private final Lock read;
        private final Lock write;

        ReadWrite(CuratorFramework client, InterProcessReadWriteLock lock) {
            read = new Lock(client, lock.readLock());
            write = new Lock(client, lock.writeLock());
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            String[] parts = verb.split("-", 2);
            return (parts[0].equals("read") ? read : write).tell(parts[1], words);
        }
    }

    private static final class Semaphore implements Driver.Part {
        private final CuratorFramework client;
        private final String path;
        private final Deque<Lease> leases = new ArrayDeque<>();
        private InterProcessSemaphoreV2 semaphore;

        Semaphore(CuratorFramework client, String path) {
            this.client = client;
            this.path = path;
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "acquire":
                    if (semaphore == null) {
                        semaphore = new InterProcessSemaphoreV2(client, path, Integer.parseInt(words[0]));
                    }
                    Lease lease = semaphore.acquire(Long.parseLong(words[1]), TimeUnit.MILLISECONDS);
                    if (lease == null) {
                        return null;
                    }
                    leases.add(lease);
                    return lease.getNodeName();
                case "release":
                    leases.remove().close();
                    return "";
                default:
                    throw Driver.unknown(verb);
            }
        }
    }
}
