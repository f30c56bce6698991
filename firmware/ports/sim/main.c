/* el-sim: a board that is a program. The core runs in one thread on a painted stack of its own; another thread is its
 * receive interrupt. It speaks over a pty or a loopback TCP port and ends when its stdin does, so that it never outlives
 * the host that started it. POSIX: Linux and macOS. */
#define _XOPEN_SOURCE 700
#define _DEFAULT_SOURCE  /* cfmakeraw, MAP_ANONYMOUS on glibc */
#define _DARWIN_C_SOURCE /* the same on macOS */

#include <getopt.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "el_link.h"
#include "sim.h"
#ifdef EL_PAIRING
#include "sim_pair.h"
#endif

#define STACK_BYTES (64u * 1024u)
#define STACK_PAINT 0xA5

static struct {
  uint32_t pool;
  uint32_t rx_buffer;
  uint32_t baud;
  const char *board;
  const char *nv;
  const char *tcp; /* NULL: a pty */
} options = {64u << 20, 4096, 0, "sim", NULL, NULL};

static uint8_t *stack;     /* lowest address of the core's stack */
static uint8_t *stack_top; /* what was the core's own of it: the C library keeps the rest */

static uint8_t *memory(size_t n) {
  void *p = mmap(NULL, n, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (p == MAP_FAILED) sim_die("el-sim: memory");
  return p;
}

/* --- the core's thread -------------------------------------------------------------------------------------------- */

static uint32_t hal_stack_used(void *ctx, uint32_t *out_size) {
  const uint8_t *p = stack;
  (void)ctx;
  while (p < stack_top && *p == STACK_PAINT) p++;
  *out_size = (uint32_t)(stack_top - stack);
  return (uint32_t)(stack_top - p);
}

static void *core_main(void *hal) {
  static el_t el;
  static el_link link;
  uint8_t here = 0;
  stack_top = &here;
  el_link_init(&link, &el, hal, memory(options.pool), options.pool, NULL, 0);
#ifdef EL_PAIRING
  link.pairing = sim_pairing();
#endif
  for (;;)
    if (el_link_poll(&link) == 0) sim_rx_wait();
  return NULL;
}

static void start_core(el_hal *hal) {
  pthread_attr_t attributes;
  pthread_t thread;
  stack = memory(STACK_BYTES);
  memset(stack, STACK_PAINT, STACK_BYTES);
  if (pthread_attr_init(&attributes) || pthread_attr_setstack(&attributes, stack, STACK_BYTES) ||
      pthread_create(&thread, &attributes, core_main, hal))
    sim_die("el-sim: core thread");
}

/* --- the command line --------------------------------------------------------------------------------------------- */

static void usage(int code) {
  fputs(
      "usage: el-sim [--pty | --tcp HOST:PORT] [options]\n"
      "  --pty               open a pty and print `port /dev/...` (the default)\n"
      "  --tcp HOST:PORT     listen there; PORT 0 picks one; prints `port tcp://HOST:PORT`\n"
      "  --board ID          board id to answer with (sim)\n"
      "  --pool BYTES        RAM for plan, state and arena (67108864)\n"
      "  --rx-buffer BYTES   receive ring (4096)\n"
      "  --baud N            take bytes at N/10 per second and drop what does not fit; 0: wait instead (0)\n"
      "  --nv FILE           non-volatile memory, kept in FILE\n"
      "EDGELEARN_SIM_POWER=WATTS in the environment makes up a meter in its supply, for tests.\n"
      "Ends when stdin ends.\n",
      code ? stderr : stdout);
  exit(code);
}

static uint32_t number(const char *text, uint32_t low, uint32_t high) {
  char *end;
  unsigned long value = strtoul(text, &end, 10);
  if (*text < '0' || *text > '9' || *end || value < low || value > high) {
    fprintf(stderr, "el-sim: '%s' is not a number from %lu to %lu\n", text, (unsigned long)low, (unsigned long)high);
    exit(2);
  }
  return (uint32_t)value;
}

static void parse(int argc, char **argv) {
  static const struct option known[] = {
      {"pty", no_argument, 0, 'y'},         {"tcp", required_argument, 0, 't'},  {"board", required_argument, 0, 'b'},
      {"pool", required_argument, 0, 'p'},  {"baud", required_argument, 0, 'd'}, {"rx-buffer", required_argument, 0, 'r'},
      {"nv", required_argument, 0, 'n'},    {"help", no_argument, 0, 'h'},       {0, 0, 0, 0}};
  int option;
  while ((option = getopt_long(argc, argv, "h", known, NULL)) != -1) switch (option) {
      case 'y': options.tcp = NULL; break;
      case 't': options.tcp = optarg; break;
      case 'b': options.board = optarg; break;
      case 'p': options.pool = number(optarg, 1, 1u << 30); break;
      case 'd': options.baud = number(optarg, 0, 100000000); break;
      case 'r': options.rx_buffer = number(optarg, 1, 65535); break;
      case 'n': options.nv = optarg; break;
      default: usage(option == 'h' ? 0 : 2);
    }
  if (optind != argc || strlen(options.board) > sizeof ((el_hal *)0)->board) usage(2);
}

static void wait_for_parent(void) {
  char ignored[64];
  ssize_t n;
  while ((n = read(STDIN_FILENO, ignored, sizeof ignored)) != 0)
    if (n < 0) pause(); /* no stdin to read (a background job): then only a signal ends us */
}

int main(int argc, char **argv) {
  static el_hal hal;
  parse(argc, argv);
  signal(SIGPIPE, SIG_IGN); /* a client that leaves is no reason to die */
  signal(SIGTTIN, SIG_IGN);
  memcpy(hal.board, options.board, strlen(options.board));
  hal.stack_used = hal_stack_used;
  sim_nv_open(&hal, options.nv);
  sim_meter_open(&hal);
  sim_port_open(&hal, options.tcp, options.rx_buffer, options.baud);
#ifdef EL_PAIRING
  start_core(sim_pair(&hal));
#else
  start_core(&hal);
#endif
  wait_for_parent();
  return 0;
}
