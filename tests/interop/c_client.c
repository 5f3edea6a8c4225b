/* Drives a server through the C client library: every call prints its name and result, the test compares the lines. */
#include <pthread.h>
#include <stdio.h>
#include <string.h>
#include <zookeeper/zookeeper.h>

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int connected, events, completed;

static void raise_flag(int *flag) {
    pthread_mutex_lock(&lock);
    ++*flag;
    pthread_cond_broadcast(&changed);
    pthread_mutex_unlock(&lock);
}

static void await_flag(int *flag, int least) {
    pthread_mutex_lock(&lock);
    while (*flag < least) pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
}

static void on_session(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh; (void)path; (void)context;
    if (type == ZOO_SESSION_EVENT && state == ZOO_CONNECTED_STATE) raise_flag(&connected);
}

static void on_change(zhandle_t *zh, int type, int state, const char *path, void *context) {
    (void)zh; (void)state; (void)context;
    printf("event %d %s\n", type, path);
    raise_flag(&events);
}

static void on_data(int rc, const char *value, int length, const struct Stat *stat, const void *context) {
    (void)context;
    printf("aget %d %.*s version %d\n", rc, length, value, stat ? stat->version : -1);
    raise_flag(&completed);
}

int main(int argc, char **argv) {
    if (argc != 2) return 2;
    zoo_set_debug_level(ZOO_LOG_LEVEL_ERROR);
    zhandle_t *zh = zookeeper_init(argv[1], on_session, 10000, 0, 0, 0);
    if (!zh) return 2;
    await_flag(&connected, 1);
    char buffer[256];
    int length;
    struct Stat stat;
    struct String_vector names;
    printf("create %d\n", zoo_create(zh, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, buffer, sizeof buffer));
    printf("create again %d\n", zoo_create(zh, "/c", "one", 3, &ZOO_OPEN_ACL_UNSAFE, 0, buffer, sizeof buffer));
    length = sizeof buffer;
    printf("wget %d", zoo_wget(zh, "/c", on_change, 0, buffer, &length, &stat));
    printf(" %.*s %d\n", length, buffer, stat.version);
    printf("set %d\n", zoo_set2(zh, "/c", "two", 3, 0, &stat));
    await_flag(&events, 1);
    printf("set with an old version %d\n", zoo_set(zh, "/c", "three", 5, 0));
    printf("aget starts %d\n", zoo_aget(zh, "/c", 0, on_data, 0));
    await_flag(&completed, 1);
    printf("exists %d\n", zoo_exists(zh, "/nothing", 0, &stat));
    printf("create sequential ephemeral %d", zoo_create(zh, "/c/s-", "", 0, &ZOO_OPEN_ACL_UNSAFE,
                                                         ZOO_EPHEMERAL | ZOO_SEQUENCE, buffer, sizeof buffer));
    printf(" %s\n", buffer);
    printf("children %d", zoo_get_children(zh, "/c", 0, &names));
    printf(" %d %s\n", names.count, names.data[0]);
    deallocate_String_vector(&names);
    zoo_op_t good[3], bad[2];
    zoo_op_result_t results[3];
    char made[64];
    zoo_create_op_init(&good[0], "/m", "x", 1, &ZOO_OPEN_ACL_UNSAFE, 0, made, sizeof made);
    zoo_set_op_init(&good[1], "/m", "y", 1, 0, &stat);
    zoo_delete_op_init(&good[2], "/m", 1);
    printf("multi %d\n", zoo_multi(zh, 3, good, results));
    zoo_check_op_init(&bad[0], "/c", 1);
    zoo_delete_op_init(&bad[1], "/nothing", -1);
    printf("failing multi %d", zoo_multi(zh, 2, bad, results));
    printf(" %d %d\n", results[0].err, results[1].err);
    printf("delete %d\n", zoo_delete(zh, "/c", -1));
    printf("close %d\n", zookeeper_close(zh));
    return 0;
}
