/* The sim board's serial port: a pty or a TCP port, a receive ring filled by a thread that plays the interrupt, a clock. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE
#define _DARWIN_C_SOURCE

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <termios.h>
#include <time.h>
#include <unistd.h>

#include "edgelearn.h"
#include "sim.h"

#define BATCH 4096 /* most bytes taken from the line at once */

static struct {
  pthread_mutex_t lock;
  pthread_cond_t arrived;
  pthread_cond_t taken;
  uint8_t *bytes;
  uint32_t size;
  uint32_t head; /* total bytes put in; head - tail are waiting */
  uint32_t tail;
  uint32_t overruns;
} ring = {.lock = PTHREAD_MUTEX_INITIALIZER, .arrived = PTHREAD_COND_INITIALIZER, .taken = PTHREAD_COND_INITIALIZER};

static struct {
  pthread_mutex_t lock; /* held while sending, so that the line is not closed meanwhile */
  int fd;               /* -1: nobody is connected, and what is sent is lost */
  int listener;         /* -1: a pty */
  uint32_t baud;
} line = {.lock = PTHREAD_MUTEX_INITIALIZER, .fd = -1, .listener = -1};

/* --- what the core calls ------------------------------------------------------------------------------------------ */

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  size_t got = 0;
  (void)ctx;
  pthread_mutex_lock(&ring.lock);
  while (got < n && ring.tail != ring.head) out[got++] = ring.bytes[ring.tail++ % ring.size];
  if (got) pthread_cond_signal(&ring.taken);
  pthread_mutex_unlock(&ring.lock);
  return got;
}

void sim_rx_wait(void) {
  pthread_mutex_lock(&ring.lock);
  while (ring.tail == ring.head) pthread_cond_wait(&ring.arrived, &ring.lock);
  pthread_mutex_unlock(&ring.lock);
}

static void send_all(const uint8_t *bytes, size_t n) {
  pthread_mutex_lock(&line.lock);
  while (n && line.fd >= 0) {
    ssize_t sent = write(line.fd, bytes, n);
    if (sent < 0 && errno == EINTR) continue;
    if (sent < 0) break; /* nobody there: a wire would lose it too */
    bytes += sent;
    n -= (size_t)sent;
  }
  pthread_mutex_unlock(&line.lock);
}

/* Collects a frame, whose end is the only zero byte in it: one system call instead of one per run. */
static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  static uint8_t frame[512];
  static size_t held;
  (void)ctx;
  for (size_t i = 0; i < n; i++) {
    frame[held++] = bytes[i];
    if (bytes[i] != 0 && held < sizeof frame) continue;
    sim_nv_sync();
    send_all(frame, held);
    held = 0;
  }
}

static uint32_t hal_overruns(void *ctx) {
  (void)ctx;
  pthread_mutex_lock(&ring.lock);
  uint32_t lost = ring.overruns;
  pthread_mutex_unlock(&ring.lock);
  return lost;
}

static uint32_t hal_now_us(void *ctx) {
  struct timespec now;
  (void)ctx;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (uint32_t)((uint64_t)now.tv_sec * 1000000u + (uint64_t)now.tv_nsec / 1000u);
}

/* --- the receive interrupt ---------------------------------------------------------------------------------------- */

/* A line without a baud rate waits for room; one with a baud rate does not, and loses bytes as a UART does. */
static void put(const uint8_t *bytes, size_t n) {
  pthread_mutex_lock(&ring.lock);
  for (size_t i = 0; i < n; i++) {
    while (line.baud == 0 && ring.head - ring.tail == ring.size) {
      pthread_cond_signal(&ring.arrived);
      pthread_cond_wait(&ring.taken, &ring.lock);
    }
    if (ring.head - ring.tail == ring.size) ring.overruns++;
    else ring.bytes[ring.head++ % ring.size] = bytes[i];
  }
  pthread_cond_signal(&ring.arrived);
  pthread_mutex_unlock(&ring.lock);
}

static int64_t now_ns(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Sleeps until the last bit of n bytes (10 bits each) would have come in. */
static void pace(size_t n) {
  static int64_t line_free; /* when the byte before was through */
  int64_t now = now_ns();
  if (line.baud == 0) return;
  line_free = (line_free > now ? line_free : now) + (int64_t)n * 10 * 1000000000 / line.baud;
  int64_t left = line_free - now;
  struct timespec nap = {(time_t)(left / 1000000000), (long)(left % 1000000000)};
  while (nanosleep(&nap, &nap) && errno == EINTR) continue;
}

static void next_client(void) {
  const int on = 1;
  int old = line.fd;
  if (old >= 0) shutdown(old, SHUT_RDWR); /* frees a sender that is stuck */
  pthread_mutex_lock(&line.lock);
  if (old >= 0) close(old);
  line.fd = -1;
  pthread_mutex_unlock(&line.lock);
  int fd = accept(line.listener, NULL, NULL);
  if (fd < 0) sim_die("el-sim: accept");
  setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
  pthread_mutex_lock(&line.lock);
  line.fd = fd;
  pthread_mutex_unlock(&line.lock);
}

static void *receive(void *unused) {
  static uint8_t bytes[BATCH];
  /* At a baud rate, a millisecond's worth: small enough that the ring fills as it would on a wire. */
  size_t most = line.baud == 0 ? BATCH : line.baud / 10000 + 1;
  if (most > BATCH) most = BATCH;
  for (;;) {
    ssize_t n = line.fd < 0 ? 0 : read(line.fd, bytes, most);
    if (n > 0) {
      pace((size_t)n);
      put(bytes, (size_t)n);
    } else if (line.listener >= 0) next_client();
    else if (n == 0 || errno != EINTR) exit(0); /* the pty is gone */
  }
  return unused;
}

/* --- opening ------------------------------------------------------------------------------------------------------ */

static void open_pty(void) {
  struct termios raw;
  line.fd = posix_openpt(O_RDWR | O_NOCTTY);
  if (line.fd < 0 || grantpt(line.fd) || unlockpt(line.fd)) sim_die("el-sim: pty");
  const char *name = ptsname(line.fd);
  /* We hold the host's end open too: the host may close and reopen it, as with a plugged-in board. */
  int host_end = name ? open(name, O_RDWR | O_NOCTTY) : -1;
  if (host_end < 0 || tcgetattr(host_end, &raw)) sim_die("el-sim: pty");
  cfmakeraw(&raw);
  if (tcsetattr(host_end, TCSANOW, &raw)) sim_die("el-sim: pty");
  printf("port %s\n", name);
}

/* `where` is HOST:PORT, HOST an IPv4 address or "localhost". */
static void open_tcp(const char *where) {
  const int on = 1;
  struct sockaddr_in address = {.sin_family = AF_INET};
  socklen_t size = sizeof address;
  char host[16] = "127.0.0.1";
  const char *colon = strrchr(where, ':');
  size_t n = colon ? (size_t)(colon - where) : sizeof host;
  if (n < sizeof host && strncmp(where, "localhost", n)) snprintf(host, sizeof host, "%.*s", (int)n, where);
  if (n >= sizeof host || inet_pton(AF_INET, host, &address.sin_addr) != 1) {
    fprintf(stderr, "el-sim: --tcp '%s': write it as 127.0.0.1:PORT\n", where);
    exit(2);
  }
  address.sin_port = htons((uint16_t)strtoul(colon + 1, NULL, 10));
  line.listener = socket(AF_INET, SOCK_STREAM, 0);
  setsockopt(line.listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
  if (bind(line.listener, (struct sockaddr *)&address, size) || listen(line.listener, 1) ||
      getsockname(line.listener, (struct sockaddr *)&address, &size))
    sim_die("el-sim: --tcp");
  printf("port tcp://%s:%u\n", host, ntohs(address.sin_port));
}

void sim_port_open(el_hal *hal, const char *tcp, uint32_t rx_buffer, uint32_t baud) {
  pthread_t thread;
  line.baud = baud;
  ring.size = rx_buffer;
  ring.bytes = malloc(rx_buffer);
  if (ring.bytes == NULL) sim_die("el-sim: --rx-buffer");
  hal->rx_buffer = (uint16_t)rx_buffer;
  hal->rx = hal_rx;
  hal->tx = hal_tx;
  hal->overruns = hal_overruns;
  hal->now_us = hal_now_us;
  if (tcp) open_tcp(tcp);
  else open_pty();
  fflush(stdout);
  if (pthread_create(&thread, NULL, receive, NULL)) sim_die("el-sim: receive thread");
}
