import java.io.IOException;
import java.util.Collection;
import java.util.Map;
import java.util.TreeMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import org.apache.curator.framework.CuratorFramework;
import org.apache.curator.framework.recipes.nodes.GroupMember;
import org.apache.curator.framework.recipes.nodes.PersistentNode;
import org.apache.curator.x.discovery.ServiceCache;
import org.apache.curator.x.discovery.ServiceDiscovery;
import org.apache.curator.x.discovery.ServiceDiscoveryBuilder;
import org.apache.curator.x.discovery.ServiceInstance;
import org.apache.curator.x.discovery.UriSpec;
import org.apache.zookeeper.CreateMode;

/**
 * node: start DATA -> its path; set DATA; end. group: start ID DATA; members -> ID=DATA; end. discovery:
 * register NAME ID ADDRESS PORT PAYLOAD URI; unregister; names; instances NAME -> ID:ADDRESS:PORT:PAYLOAD:URI;
 * cached NAME -> the same by a ServiceCache.
 */
final class Members {
    private Members() {}

    static void register(Map<String, Driver.Maker> makers) {
        makers.put("node", Node::new);
        makers.put("group", Group::new);
        makers.put("discovery", Discovery::new);
    }

    private static final class Node implements Driver.Part {
        private final CuratorFramework client;
        private final String path;
        private PersistentNode node;

        Node(CuratorFramework client, String path) {
            this.client = client;
            this.path = path;
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "start":
                    node = new PersistentNode(client, CreateMode.EPHEMERAL, false, path, Driver.bytes(words[0]));
                    node.start();
                    if (!node.waitForInitialCreate(10, TimeUnit.SECONDS)) {
                        throw new IllegalStateException("the node was not made");
                    }
                    return node.getActualPath();
                case "set":
                    node.setData(Driver.bytes(words[0]));
                    return "";
                case "end":
                    close();
                    return "";
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() throws IOException {
            if (node != null) {
                node.close();
                node = null;
            }
        }
    }

    private static final class Group implements Driver.Part {
        private final CuratorFramework client;
        private final String path;
        private GroupMember member;

        Group(CuratorFramework client, String path) {
            this.client = client;
            this.path = path;
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "start":
                    member = new GroupMember(client, path, words[0], Driver.bytes(words[1]));
                    member.start();
                    return "";
                case "members":
                    return new TreeMap<>(member.getCurrentMembers())
                            .entrySet().stream()
                                    .map(each -> each.getKey() + "=" + Driver.text(each.getValue()))
                                    .collect(Collectors.toList());
                case "end":
                    close();
                    return "";
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() {
            if (member != null) {
                member.close();
                member = null;
            }
        }
    }

    private static final class Discovery implements Driver.Part {
        private final ServiceDiscovery<String> discovery;
        private ServiceInstance<String> mine;
        private ServiceCache<String> cache;

        Discovery(CuratorFramework client, String path) throws Exception {
            discovery = ServiceDiscoveryBuilder.builder(String.class).client(client).basePath(path).build();
            discovery.start();
        }

        private static String shown(ServiceInstance<String> found) {
            return String.join(
                    ":",
                    found.getId(),
                    found.getAddress(),
                    String.valueOf(found.getPort()),
                    String.valueOf(found.getPayload()),
                    found.getUriSpec() == null ? "" : found.buildUriSpec());
        }

        private static Object shown(Collection<ServiceInstance<String>> found) {
            return found.stream().map(Discovery::shown).sorted().collect(Collectors.toList());
        }

        @Override
        public Object tell(String verb, String[] words) throws Exception {
            switch (verb) {
                case "register":
                    mine = ServiceInstance.<String>builder()
                            .name(words[0])
                            .id(words[1])
                            .address(words[2])
                            .port(Integer.parseInt(words[3]))
                            .payload(words[4])
                            .uriSpec(new UriSpec(words[5]))
                            .build();
                    discovery.registerService(mine);
                    return "";
                case "unregister":
                    discovery.unregisterService(mine);
                    return "";
                case "names":
                    return discovery.queryForNames();
                case "instances":
                    return shown(discovery.queryForInstances(words[0]));
                case "cached":
                    if (cache == null) {
                        cache = discovery.serviceCacheBuilder().name(words[0]).build();
                        cache.start();
                    }
                    return shown(cache.getInstances());
                default:
                    throw Driver.unknown(verb);
            }
        }

        @Override
        public void close() throws IOException {
            if (cache != null) {
                cache.close();
            }
            discovery.close();
        }
    }
}
