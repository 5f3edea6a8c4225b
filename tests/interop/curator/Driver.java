import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.Collection;
import java.util.HashMap;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.concurrent.ExecutorService;
import java.util.concurrent.Executors;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.CuratorFrameworkFactory;
import org.apache.curator.retry.RetryForever;

/**
 * Curator's recipes, told what to do by lines on the standard input.
 *
 * <pre>
 * NUMBER ACTOR open HOSTS SESSION_MS        a client of its own, with a thread of its own
 * NUMBER ACTOR RECIPE PATH VERB WORD...     made when it is first named; see the other files
 * NUMBER ACTOR close                        whatever it is waiting for; its session ends soon
 * </pre>
 *
 * Each line is answered by "NUMBER ok ANSWER" or "NUMBER failed WHY" as soon as it is done: those of one actor one
 * after the other, those of several at once. Words have no spaces in them; an empty answer is a missing value.
 */
public final class Driver {
    /** A recipe at a path, as one client has it. */
    interface Part {
        /** Do what is asked; the answer is printed as `text` does. */
        Object tell(String verb, String[] words) throws Exception;

        default void close() throws Exception {}
    }

    /** Makes a recipe. */
    interface Maker {
        Part make(CuratorFramework client, String path) throws Exception;
    }

    private static final Map<String, Maker> MAKERS = new HashMap<>();

    private static final class Actor {
        private final ExecutorService thread = Executors.newSingleThreadExecutor();
        private final Map<String, Part> parts = new LinkedHashMap<>();
        private CuratorFramework client;

        Object open(String hosts, int sessionMs) throws Exception {
            client = CuratorFrameworkFactory.builder()
                    .connectString(hosts)
                    .sessionTimeoutMs(sessionMs)
                    .connectionTimeoutMs(5000)
                    .retryPolicy(new RetryForever(50))
                    .build();
            client.start();
            client.blockUntilConnected();
            return client.getZookeeperClient().getZooKeeper().getSessionId();
        }

        Object tell(String recipe, String path, String verb, String[] words) throws Exception {
            Part part = parts.get(recipe + path);
            if (part == null) {
                part = MAKERS.get(recipe).make(client, path);
                parts.put(recipe + path, part);
            }
            return part.tell(verb, words);
        }

        Object close() throws Exception {
            thread.shutdownNow();
            thread.awaitTermination(10, TimeUnit.SECONDS);
            for (Part part : parts.values()) {
                part.close();
            }
            // Not waited for: ZooKeeper's client sleeps for 100 ms when its session has ended.
            new Thread(client::close).start();
            return "";
        }
    }

    static IllegalArgumentException unknown(String verb) {
        return new IllegalArgumentException("no such verb: " + verb);
    }

    static byte[] bytes(String text) {
        return text.getBytes(StandardCharsets.UTF_8);
    }

    static String text(Object value) {
        if (value == null) {
            return "";
        }
        if (value instanceof byte[]) {
            return new String((byte[]) value, StandardCharsets.UTF_8);
        }
        if (value instanceof Collection) {
            return ((Collection<?>) value).stream().map(Driver::text).collect(Collectors.joining(" "));
        }
        return value.toString();
    }

    private static synchronized void answer(String number, String how, String what) {
        System.out.println(number + " " + how + " " + what.replace('\n', ' '));
        System.out.flush();
    }

    private interface Work {
        Object run() throws Exception;
    }

    private static void carryOut(String number, Work work) {
        try {
            answer(number, "ok", text(work.run()));
        } catch (Throwable error) {
            answer(number, "failed", error.toString());
        }
    }

    public static void main(String[] args) throws Exception {
        Locks.register(MAKERS);
        Leaders.register(MAKERS);
        Barriers.register(MAKERS);
        Values.register(MAKERS);
        Caches.register(MAKERS);
        Members.register(MAKERS);
        Queues.register(MAKERS);

        Map<String, Actor> actors = new HashMap<>();
        BufferedReader lines = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = lines.readLine(); line != null; line = lines.readLine()) {
            String[] words = line.split(" ");
            Actor actor = actors.computeIfAbsent(words[1], name -> new Actor());
            if (words[2].equals("close")) {
                actors.remove(words[1]);
                carryOut(words[0], actor::close);
            } else if (words[2].equals("open")) {
                actor.thread.execute(
                        () -> carryOut(words[0], () -> actor.open(words[3], Integer.parseInt(words[4]))));
            } else {
                String[] rest = Arrays.copyOfRange(words, 5, words.length);
                actor.thread.execute(
                        () -> carryOut(words[0], () -> actor.tell(words[2], words[3], words[4], rest)));
            }
        }
        // Who started this is gone, or has no more to ask: sessions that are open end with the process.
        System.exit(0);
    }
}
