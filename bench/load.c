/* load: a closed-loop load generator that speaks the ZooKeeper client protocol.
 *
 * usage: load HOST PORT[,PORT...] OP CONNS WINDOW SECONDS SIZE [KEYS]
 *   OP: get | exists | set | create | mixNN (NN% reads, rest sets) | ping
 *   CONNS sessions, each keeping WINDOW requests in flight, values of SIZE bytes over KEYS nodes.
 * Prints one JSON line: ops/s, errors, latency percentiles in microseconds, own CPU seconds.
 * A single thread with epoll: cheap enough that the server is what is measured.
 */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <stdint.h>
#include <unistd.h>
#include <errno.h>
#include <fcntl.h>
#include <time.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/epoll.h>
#include <sys/resource.h>

typedef struct {
    int fd, xid, inflight, established;
    char *in; size_t inlen, incap;
    char *out; size_t outlen, outcap, outoff;
    uint64_t *sent; /* send time by xid modulo window */
} Conn;

static int W, SIZE, KEYS = 1000, mix = -1;
static char OP[32];
static uint64_t done_n, err_n, rng = 88172645463325252ULL;
static uint32_t *hist; /* 1 us buckets to 1 s, then 100 us */
#define HB 1000000
static uint64_t nowus(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000ULL + t.tv_nsec / 1000; }
static uint64_t rnd(void) { rng ^= rng << 13; rng ^= rng >> 7; rng ^= rng << 17; return rng; }
static void need(Conn *c, size_t n) {
    if (c->outlen + n > c->outcap) { c->outcap = (c->outlen + n) * 2; c->out = realloc(c->out, c->outcap); }
}
static void p32(Conn *c, int32_t v) { need(c, 4); uint32_t b = htonl((uint32_t)v); memcpy(c->out + c->outlen, &b, 4); c->outlen += 4; }
static void p64(Conn *c, int64_t v) { p32(c, (int32_t)(v >> 32)); p32(c, (int32_t)v); }
static void p8(Conn *c, int v) { need(c, 1); c->out[c->outlen++] = (char)v; }
static void pbuf(Conn *c, const char *b, int n) { p32(c, n); need(c, n); memcpy(c->out + c->outlen, b, n); c->outlen += n; }
static size_t begin(Conn *c) { size_t at = c->outlen; p32(c, 0); return at; }
static void end(Conn *c, size_t at) { uint32_t n = htonl((uint32_t)(c->outlen - at - 4)); memcpy(c->out + at, &n, 4); }
static char *payload; static int my_id; static uint64_t created;

static void request(Conn *c, const char *op) {
    char path[128]; size_t at = begin(c); int xid = ++c->xid;
    c->sent[xid % W] = nowus();
    if (mix >= 0) op = (int)(rnd() % 100) < mix ? "get" : "set";
    p32(c, xid);
    if (!strcmp(op, "get") || !strcmp(op, "exists")) {
        snprintf(path, sizeof path, "/load/k%llu", (unsigned long long)(rnd() % KEYS));
        p32(c, op[0] == 'g' ? 4 : 3); pbuf(c, path, strlen(path)); p8(c, 0);
    } else if (!strcmp(op, "set")) {
        snprintf(path, sizeof path, "/load/k%llu", (unsigned long long)(rnd() % KEYS));
        p32(c, 5); pbuf(c, path, strlen(path)); pbuf(c, payload, SIZE); p32(c, -1);
    } else { /* create */
        snprintf(path, sizeof path, "/load/c%d-%llu", my_id, (unsigned long long)created++);
        p32(c, 1); pbuf(c, path, strlen(path)); pbuf(c, payload, SIZE);
        p32(c, 1); p32(c, 31); pbuf(c, "world", 5); pbuf(c, "anyone", 6); p32(c, 0);
    }
    end(c, at); c->inflight++;
}
static void flushc(Conn *c) {
    while (c->outoff < c->outlen) {
        ssize_t n = write(c->fd, c->out + c->outoff, c->outlen - c->outoff);
        if (n < 0) { if (errno == EAGAIN) return; perror("write"); exit(3); }
        c->outoff += n;
    }
    c->outoff = c->outlen = 0;
}
static int g32(const char *p) { uint32_t v; memcpy(&v, p, 4); return (int)ntohl(v); }
static Conn *dial(const char *host, int port, int timeout) {
    Conn *c = calloc(1, sizeof *c); c->sent = calloc(W + 1, 8);
    c->fd = socket(AF_INET, SOCK_STREAM, 0); int one = 1; setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(port)}; inet_pton(AF_INET, host, &a.sin_addr);
    if (connect(c->fd, (void *)&a, sizeof a)) { perror("connect"); exit(2); }
    size_t at = begin(c); p32(c, 0); p64(c, 0); p32(c, timeout); p64(c, 0); char z[16] = {0}; pbuf(c, z, 16); p8(c, 0); end(c, at);
    flushc(c);
    char b[64]; size_t got = 0; while (got < 4) { ssize_t n = read(c->fd, b + got, 4 - got); if (n <= 0) { fprintf(stderr, "no connect response\n"); exit(2); } got += n; }
    int len = g32(b); char *r = malloc(len); got = 0; while (got < (size_t)len) { ssize_t n = read(c->fd, r + got, len - got); if (n <= 0) exit(2); got += n; }
    free(r); c->incap = 1 << 16; c->in = malloc(c->incap); return c;
}
static int sync1(Conn *c) { /* one reply, blocking; returns its error code */
    char b[4]; size_t got = 0; while (got < 4) { ssize_t n = read(c->fd, b + got, 4 - got); if (n <= 0) exit(2); got += n; }
    int len = g32(b); char *r = malloc(len); got = 0; while (got < (size_t)len) { ssize_t n = read(c->fd, r + got, len - got); if (n <= 0) exit(2); got += n; }
    int e = g32(r + 12); free(r); return e;
}
int main(int argc, char **argv) {
    if (argc < 8) { fprintf(stderr, "usage: load HOST PORT[,PORT] OP CONNS WINDOW SECONDS SIZE [KEYS]\n"); return 2; }
    const char *host = argv[1]; int ports[64], np = 0; for (char *t = strtok(strdup(argv[2]), ","); t; t = strtok(0, ",")) ports[np++] = atoi(t);
    snprintf(OP, sizeof OP, "%s", argv[3]); if (!strncmp(OP, "mix", 3)) mix = atoi(OP + 3);
    int C = atoi(argv[4]); W = atoi(argv[5]); double secs = atof(argv[6]); SIZE = atoi(argv[7]); if (argc > 8) KEYS = atoi(argv[8]);
    payload = malloc(SIZE + 1); memset(payload, 'x', SIZE); my_id = getpid(); hist = calloc(HB + 100001, 4);
    Conn *s = dial(host, ports[0], 30000); int saveW = W;
    { char path[64]; size_t at = begin(s); p32(s, 1); p32(s, 1); pbuf(s, "/load", 5); p32(s, -1); p32(s, 1); p32(s, 31); pbuf(s, "world", 5); pbuf(s, "anyone", 6); p32(s, 0); end(s, at); flushc(s); sync1(s);
      if (strcmp(OP, "create")) for (int base = 0; base < KEYS; base += 500) { int n = 0; for (int k = base; k < KEYS && k < base + 500; k++, n++) {
          snprintf(path, sizeof path, "/load/k%d", k); at = begin(s); p32(s, k); p32(s, 1); pbuf(s, path, strlen(path)); pbuf(s, payload, SIZE); p32(s, 1); p32(s, 31); pbuf(s, "world", 5); pbuf(s, "anyone", 6); p32(s, 0); end(s, at); }
          flushc(s); while (n--) sync1(s); } }
    W = saveW; Conn **cs = calloc(C, sizeof *cs); int ep = epoll_create1(0);
    for (int i = 0; i < C; i++) { cs[i] = dial(host, ports[i % np], 30000); fcntl(cs[i]->fd, F_SETFL, O_NONBLOCK); struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = cs[i]}; epoll_ctl(ep, EPOLL_CTL_ADD, cs[i]->fd, &ev); }
    uint64_t t0 = nowus(), tend = t0 + (uint64_t)(secs * 1e6); struct rusage r0, r1; getrusage(RUSAGE_SELF, &r0);
    for (int i = 0; i < C; i++) { for (int w = 0; w < W; w++) request(cs[i], OP); flushc(cs[i]); }
    struct epoll_event evs[256]; int stop = 0;
    while (!stop) {
        int n = epoll_wait(ep, evs, 256, 100); if (nowus() >= tend) stop = 1;
        for (int i = 0; i < n; i++) {
            Conn *c = evs[i].data.ptr;
            if (evs[i].events & EPOLLIN) for (;;) {
                if (c->incap - c->inlen < 32768) { c->incap *= 2; c->in = realloc(c->in, c->incap); }
                ssize_t r = read(c->fd, c->in + c->inlen, c->incap - c->inlen);
                if (r == 0) { fprintf(stderr, "server closed a connection\n"); exit(4); }
                if (r < 0) { if (errno == EAGAIN) break; perror("read"); exit(4); }
                c->inlen += r; size_t off = 0; uint64_t t = nowus();
                while (c->inlen - off >= 4) { int len = g32(c->in + off); if (c->inlen - off - 4 < (size_t)len) break;
                    int xid = g32(c->in + off + 4), err = g32(c->in + off + 16); off += 4 + len; if (xid < 0) continue;
                    uint64_t us = t - c->sent[xid % W]; hist[us < HB ? us : HB + (us / 100 < 100000 ? us / 100 : 100000)]++;
                    done_n++; if (err) err_n++; c->inflight--; if (!stop) request(c, OP); }
                memmove(c->in, c->in + off, c->inlen - off); c->inlen -= off; flushc(c);
            }
            if (evs[i].events & EPOLLOUT) flushc(c);
        }
    }
    double el = (nowus() - t0) / 1e6; getrusage(RUSAGE_SELF, &r1);
    double q[] = {.5, .9, .99, .999}; double v[4]; uint64_t cum = 0; int qi = 0;
    for (int b = 0; b < HB + 100001 && qi < 4; b++) { cum += hist[b]; while (qi < 4 && cum >= q[qi] * done_n) v[qi++] = b < HB ? b : (b - HB) * 100.0; }
    double cpu = (r1.ru_utime.tv_sec - r0.ru_utime.tv_sec) + (r1.ru_utime.tv_usec - r0.ru_utime.tv_usec) / 1e6 + (r1.ru_stime.tv_sec - r0.ru_stime.tv_sec) + (r1.ru_stime.tv_usec - r0.ru_stime.tv_usec) / 1e6;
    printf("{\"op\":\"%s\",\"conns\":%d,\"window\":%d,\"size\":%d,\"ops_s\":%.0f,\"errors\":%llu,\"p50_us\":%.0f,\"p90_us\":%.0f,\"p99_us\":%.0f,\"p999_us\":%.0f,\"client_cpu_s\":%.2f,\"seconds\":%.2f}\n", OP, C, W, SIZE, done_n / el, (unsigned long long)err_n, v[0], v[1], v[2], v[3], cpu, el);
    return 0;
}
