/* herd: thousands of sessions that come, stay, are cut off together and expire together.
 *
 * usage: herd HOST PORT SESSIONS TIMEOUT_MS WATCHES_PER_SESSION
 *   1 connect   SESSIONS sessions, each with one ephemeral node and WATCHES data watches
 *   2 steady    5 s of heartbeats while a probe reads every 2 ms
 *   3 stampede  half of the sockets are cut and come back at once: same session id, then setWatches
 *   4 expiry    that half is cut for good; wait until their ephemerals are gone
 * Prints one JSON line per phase: seconds, the probe's p50 and worst latency, sessions lost.
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
#include <pthread.h>
#include <arpa/inet.h>
#include <netinet/tcp.h>
#include <sys/socket.h>
#include <sys/epoll.h>
#include <sys/resource.h>
typedef struct { int fd, state, idx, lost; int64_t sid; char pw[16]; char in[8192]; int inlen; uint64_t lastsend; char *out; int outlen, outoff; } S;
/* Of the ports of one address the system finds only half quickly. */
enum { SESSIONS_PER_ADDRESS = 10000 };
enum { DOWN, CONNECTING, HELLO, UP };
static int N, T, K, ep; static S *ss; static const char *HOST; static int PORT; static int upn, ackn, lostn;
static uint64_t us(void) { struct timespec t; clock_gettime(CLOCK_MONOTONIC, &t); return t.tv_sec * 1000000ULL + t.tv_nsec / 1000; }
static int w32(char *p, int32_t v) { uint32_t b = htonl(v); memcpy(p, &b, 4); return 4; }
static int w64(char *p, int64_t v) { w32(p, v >> 32); w32(p + 4, (int32_t)v); return 8; }
static int r32(const char *p) { uint32_t v; memcpy(&v, p, 4); return (int)ntohl(v); }
static int64_t r64(const char *p) { return ((int64_t)r32(p) << 32) | (uint32_t)r32(p + 4); }
static void flushs(S *s) { while (s->outoff < s->outlen) { ssize_t n = write(s->fd, s->out + s->outoff, s->outlen - s->outoff); if (n < 0) return; s->outoff += n; } s->outlen = s->outoff = 0; }
static void put(S *s, const char *b, int n) { s->out = realloc(s->out, s->outlen + n); memcpy(s->out + s->outlen, b, n); s->outlen += n; s->lastsend = us(); if (s->state == UP || s->state == HELLO) flushs(s); }
static int hello(char *b, int64_t sid, const char *pw) { char *p = b + 4; p += w32(p, 0); p += w64(p, 0); p += w32(p, T); p += w64(p, sid); p += w32(p, 16); memcpy(p, pw, 16); p += 16; *p++ = 0; w32(b, p - b - 4); return p - b; }
static int str(char *p, const char *v) { int n = strlen(v); w32(p, n); memcpy(p + 4, v, n); return n + 4; }
static int mk(char *b, int xid, const char *path, int flags) { char *p = b + 4; p += w32(p, xid); p += w32(p, 1); p += str(p, path); p += w32(p, 0); p += w32(p, 1); p += w32(p, 31); p += str(p, "world"); p += str(p, "anyone"); p += w32(p, flags); w32(b, p - b - 4); return p - b; }
static int rd(char *b, int xid, const char *path, int watch) { char *p = b + 4; p += w32(p, xid); p += w32(p, 4); p += str(p, path); *p++ = watch; w32(b, p - b - 4); return p - b; }
static void dial(S *s) {
    s->fd = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0); int one = 1; setsockopt(s->fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    struct sockaddr_in l = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(0x7f000002 + s->idx / SESSIONS_PER_ADDRESS)}; bind(s->fd, (void *)&l, sizeof l);
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)}; inet_pton(AF_INET, HOST, &a.sin_addr);
    s->state = CONNECTING; s->inlen = s->outlen = s->outoff = 0; connect(s->fd, (void *)&a, sizeof a);
    struct epoll_event ev = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.ptr = s}; epoll_ctl(ep, EPOLL_CTL_ADD, s->fd, &ev);
}
static int phase;
static void onup(S *s) { char b[65536], path[64]; s->state = UP; upn++; int n;
    if (phase == 1) { snprintf(path, 64, "/herd/e%d", s->idx); n = mk(b, 1, path, 1); put(s, b, n); for (int k = 0; k < K; k++) { snprintf(path, 64, "/herd/w%d", (s->idx + k) % 1000); n = rd(b, 2 + k, path, 1); put(s, b, n); } }
    else if (K) { char *p = b + 4; p += w32(p, -8); p += w32(p, 101); p += w64(p, 1LL << 40); p += w32(p, K); for (int k = 0; k < K; k++) { snprintf(path, 64, "/herd/w%d", (s->idx + k) % 1000); p += str(p, path); } p += w32(p, 0); p += w32(p, 0); w32(b, p - b - 4); put(s, b, p - b); }
    else ackn++; }
static void cut(S *s) { struct linger lg = {1, 0}; setsockopt(s->fd, SOL_SOCKET, SO_LINGER, &lg, sizeof lg); close(s->fd); if (s->state == UP) upn--; s->state = DOWN; }
static void retry(S *s) { close(s->fd); if (s->state == UP) upn--; s->state = DOWN; if (!s->lost) dial(s); }
static void onread(S *s) { for (;;) { ssize_t n = read(s->fd, s->in + s->inlen, sizeof s->in - s->inlen); if (n == 0) { retry(s); return; } if (n < 0) { if (errno == EAGAIN) return; retry(s); return; } s->inlen += n; int off = 0;
    while (s->inlen - off >= 4) { int len = r32(s->in + off); if (s->inlen - off - 4 < len) break; char *f = s->in + off + 4;
        if (s->state == HELLO) { int64_t sid = r64(f + 8); if (!sid || r32(f + 4) <= 0) { s->lost = 1; lostn++; close(s->fd); s->state = DOWN; return; } s->sid = sid; memcpy(s->pw, f + 20, 16); onup(s); }
        else { int xid = r32(f); if (xid == 1 && phase == 1) ackn++; if (xid == -8) ackn++; }
        off += 4 + len; } memmove(s->in, s->in + off, s->inlen - off); s->inlen -= off; } }
static void spin(int ms) { struct epoll_event ev[512]; int n = epoll_wait(ep, ev, 512, ms); for (int i = 0; i < n; i++) { S *s = ev[i].data.ptr; if (s->state == DOWN) continue;
    if ((ev[i].events & EPOLLOUT) && s->state == CONNECTING) { int e = 0; socklen_t l = sizeof e; getsockopt(s->fd, SOL_SOCKET, SO_ERROR, &e, &l); if (e) { retry(s); continue; } s->state = HELLO; char b[64]; put(s, b, hello(b, s->sid, s->pw)); }
    if (ev[i].events & EPOLLOUT) flushs(s);
    if (ev[i].events & (EPOLLIN | EPOLLHUP | EPOLLERR)) onread(s); } }
static int pingat; static void pings(void) { uint64_t t = us(); for (int i = 0; i < 500 && N; i++) { S *s = &ss[pingat++ % N]; if (s->state == UP && t - s->lastsend > (uint64_t)T * 333) { char b[16]; w32(b, 8); w32(b + 4, -2); w32(b + 8, 11); put(s, b, 12); } } }
/* the probe: an own thread and session, one read every 2 ms */
static volatile int pstop; static volatile uint64_t pworst; static uint32_t ph[100001]; static volatile uint64_t pn; static volatile int pfail;
static int rdall(int fd, char *b, int n) { int g = 0; while (g < n) { ssize_t r = read(fd, b + g, n - g); if (r <= 0) return -1; g += r; } return 0; }
static int frame(int fd, char *b) { if (rdall(fd, b, 4)) return -1; int n = r32(b); if (rdall(fd, b, n)) return -1; return n; }
static void *probe(void *x) { (void)x; char b[4096]; int fd = -1;
    while (!pstop) { if (fd < 0) { fd = socket(AF_INET, SOCK_STREAM, 0); int one = 1; setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one); struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)}; inet_pton(AF_INET, HOST, &a.sin_addr); char z[16] = {0}; if (connect(fd, (void *)&a, sizeof a)) { close(fd); fd = -1; usleep(20000); continue; } int n = hello(b, 0, z); if (write(fd, b, n) != n || frame(fd, b) < 0) { close(fd); fd = -1; pfail++; usleep(20000); continue; } }
        uint64_t t = us(); int n = rd(b, 7, "/herd", 0); if (write(fd, b, n) != n || frame(fd, b) < 0) { close(fd); fd = -1; pfail++; continue; }
        uint64_t d = us() - t; if (d > pworst) pworst = d; ph[d / 10 < 100000 ? d / 10 : 100000]++; pn++; usleep(2000); } return 0; }
static void report(const char *name, double sec, int lost, const char *more) { uint64_t c = 0; int p50 = 0, p99 = 0; for (int i = 0; i < 100001; i++) { c += ph[i]; if (!p50 && c * 2 >= pn) p50 = i; if (!p99 && c * 100 >= pn * 99) { p99 = i; break; } }
    printf("{\"phase\":\"%s\",\"sessions\":%d,\"seconds\":%.2f,\"probe_p50_us\":%d,\"probe_p99_us\":%d,\"probe_worst_ms\":%.1f,\"probe_reads\":%llu,\"probe_failures\":%d,\"sessions_lost\":%d%s}\n", name, N, sec, p50 * 10, p99 * 10, pworst / 1000.0, (unsigned long long)pn, pfail, lost, more); fflush(stdout); memset(ph, 0, sizeof ph); pn = pworst = pfail = 0; }
static int children(int *e) { char path[8] = "/herd"; char b[64]; int fd = socket(AF_INET, SOCK_STREAM, 0); struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)}; inet_pton(AF_INET, HOST, &a.sin_addr); char z[16] = {0}; if (connect(fd, (void *)&a, sizeof a)) return -1; int n = hello(b, 0, z); if (write(fd, b, n) != n) return -1; char big[4096]; if (frame(fd, big) < 0) { close(fd); return -1; }
    char *p = b + 4; p += w32(p, 1); p += w32(p, 3); p += str(p, path); *p++ = 0; w32(b, p - b - 4); if (write(fd, b, p - b) < 0 || frame(fd, big) < 0) { close(fd); return -1; } *e = r32(big + 16 + 56); /* Stat.numChildren */ w32(b, 8); w32(b + 4, 9); w32(b + 8, -11); if (write(fd, b, 12)) {} close(fd); return 0; }
int main(int argc, char **argv) { if (argc < 6) { fprintf(stderr, "usage: herd HOST PORT SESSIONS TIMEOUT_MS WATCHES\n"); return 2; } HOST = argv[1]; PORT = atoi(argv[2]); N = atoi(argv[3]); T = atoi(argv[4]); K = atoi(argv[5]); if (K > 400) K = 400;
    struct rlimit rl = {300000, 300000}; if (setrlimit(RLIMIT_NOFILE, &rl)) { getrlimit(RLIMIT_NOFILE, &rl); rl.rlim_cur = rl.rlim_max; setrlimit(RLIMIT_NOFILE, &rl); }
    ep = epoll_create1(0); ss = calloc(N, sizeof *ss);
    { char b[4096]; int fd = socket(AF_INET, SOCK_STREAM, 0); struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons(PORT)}; inet_pton(AF_INET, HOST, &a.sin_addr); char z[16] = {0}; if (connect(fd, (void *)&a, sizeof a)) { perror("connect"); return 2; } int n = hello(b, 0, z); if (write(fd, b, n) < 0 || frame(fd, b) < 0) return 2; n = mk(b, 1, "/herd", 0); if (write(fd, b, n) < 0 || frame(fd, b) < 0) return 2; for (int i = 0; i < 1000; i++) { char path[64]; snprintf(path, 64, "/herd/w%d", i); n = mk(b, 2, path, 0); if (write(fd, b, n) < 0 || frame(fd, b) < 0) return 2; } close(fd); }
    pthread_t pt; pthread_create(&pt, 0, probe, 0);
    phase = 1; uint64_t t0 = us(); for (int i = 0; i < N; i++) { ss[i].idx = i; dial(&ss[i]); if (i % 50 == 49) { spin(0); pings(); } while (i - ackn > 2000) { spin(5); pings(); if (us() - t0 > 120000000ULL) break; } }
    while (ackn < N - lostn && us() - t0 < 120000000ULL) { spin(10); pings(); } char more[128]; snprintf(more, sizeof more, ",\"established\":%d", upn); report("connect", (us() - t0) / 1e6, lostn, more);
    t0 = us(); while (us() - t0 < 5000000) { spin(5); pings(); } report("steady", 5, lostn, "");
    phase = 3; int l0 = lostn; ackn = 0; for (int i = 0; i < N; i += 2) if (ss[i].state == UP) cut(&ss[i]); t0 = us(); int want = 0; for (int i = 0; i < N; i += 2) if (!ss[i].lost) { dial(&ss[i]); want++; if (i % 100 == 0) { spin(0); pings(); } }
    while (ackn < want - (lostn - l0) && us() - t0 < 120000000ULL) { spin(10); pings(); } snprintf(more, sizeof more, ",\"reestablished\":%d", ackn); report("stampede", (us() - t0) / 1e6, lostn - l0, more);
    phase = 4; l0 = lostn; int upb = 0; for (int i = 1; i < N; i += 2) upb += ss[i].state == UP; for (int i = 0; i < N; i += 2) if (ss[i].state == UP) cut(&ss[i]); t0 = us(); uint64_t first = 0; int left = -1; uint64_t lastq = 0;
    while (us() - t0 < 180000000ULL) { spin(5); pings(); if (us() - lastq > 200000) { lastq = us(); int c = -1; children(&c); left = c - 1000; if (!first && c >= 0 && left < N - N / 50) first = us(); if (c >= 0 && left <= N / 2) break; } }
    int upa = 0; for (int i = 1; i < N; i += 2) upa += ss[i].state == UP; snprintf(more, sizeof more, ",\"first_to_last_s\":%.2f,\"ephemerals_left\":%d,\"survivors_up\":\"%d of %d\"", first ? (us() - first) / 1e6 : -1, left, upa, upb); report("expiry", (us() - t0) / 1e6, lostn - l0, more);
    pstop = 1; pthread_join(pt, 0); return 0; }
