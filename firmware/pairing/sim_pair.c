#define _XOPEN_SOURCE 700

#include "sim_pair.h"

#include <fcntl.h>
#include <unistd.h>

#include "sim.h"

static el_pairing pairing;
static el_pairing_keys keys;
static el_hal own;

static void fill(int file, void *out, size_t n, const char *what) {
  for (uint8_t *at = out; n;) {
    ssize_t got = read(file, at, n);
    if (got <= 0) sim_die(what);
    at += got;
    n -= (size_t)got;
  }
}

el_hal *sim_pair(const el_hal *hal) {
  uint8_t entropy[EL_PAIR_NONCE_BYTES];
  int source = open("/dev/urandom", O_RDONLY);
  if (source < 0) sim_die("el-sim: /dev/urandom");
  fill(source, entropy, sizeof entropy, "el-sim: /dev/urandom");
  close(source);
  fill(STDIN_FILENO, &keys, sizeof keys, "el-sim: keys on standard input");
  el_pairing_start(&pairing, &keys, hal, &own, entropy);
  return &own;
}

el_pairing *sim_pairing(void) { return &pairing; }
