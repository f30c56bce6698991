/* A paired board in the process of a test: its line is a buffer, its flash an array that can fail. tests/pairing drives it. */
#include <string.h>

#include "el_bytes.h"
#include "el_pairing.h"

#define POOL_BYTES 4096u
#define PAGE 256u
#define NV_BYTES (4 * PAGE)

static struct {
  el_t el;
  el_link link;
  el_pairing pairing;
  el_hal hal, own;
  el_pairing_keys keys;
  const uint8_t *in;
  uint32_t left;
  uint8_t *out;
  uint32_t sent;
  int32_t life; /* operations that the flash still does; below 0: as many as you like */
  int off;      /* has the power failed? */
} board;
static uint8_t pool[POOL_BYTES], flash[NV_BYTES];

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  (void)ctx;
  if (n > board.left) n = board.left;
  memcpy(out, board.in, n);
  board.in += n;
  board.left -= (uint32_t)n;
  return n;
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  memcpy(board.out + board.sent, bytes, n);
  board.sent += (uint32_t)n;
}

/* Of `n` bytes, how many does the next operation still do? Half in the one in which the power fails, and none after it. */
static uint32_t still(uint32_t n) {
  if (board.life < 0) return n;
  if (board.off) return 0;
  if (board.life-- > 0) return n;
  board.life = 0;
  board.off = 1;
  return n / 2;
}

static int hal_nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n) {
  (void)ctx;
  memcpy(out, flash + off, n);
  return 0;
}

static int hal_nv_erase(void *ctx, uint32_t off) {
  uint32_t whole = still(PAGE);
  (void)ctx;
  memset(flash + off, 0xFF, whole);
  return whole == PAGE ? 0 : -1;
}

static int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  uint32_t whole = still(n);
  (void)ctx;
  for (uint32_t i = 0; i < whole; i++) flash[off + i] &= bytes[i];
  return whole == n ? 0 : -1;
}

/* Starts it. `memory`: has it flash, and what is in it stays? `entropy` may be NULL. */
void pairing_boot(const uint8_t *keys, int memory, const uint8_t *entropy) {
  memset(&board, 0, sizeof board);
  memset(pool, 0xA5, sizeof pool);
  memcpy(&board.keys, keys, sizeof board.keys);
  memcpy(board.hal.board, "sim", 3);
  board.hal.rx_buffer = 4096;
  board.hal.rx = hal_rx;
  board.hal.tx = hal_tx;
  if (memory) {
    board.hal.nv_bytes = NV_BYTES;
    board.hal.nv_page = PAGE;
    board.hal.nv_read = hal_nv_read;
    board.hal.nv_erase = hal_nv_erase;
    board.hal.nv_prog = hal_nv_prog;
  }
  board.life = -1;
  el_pairing_start(&board.pairing, &board.keys, &board.hal, &board.own, entropy);
  el_link_init(&board.link, &board.el, &board.own, pool, sizeof pool, NULL, 0);
  board.link.pairing = &board.pairing;
}

void pairing_wipe_flash(void) { memset(flash, 0xFF, sizeof flash); }
void pairing_limit_flash(int32_t operations) {
  board.life = operations;
  board.off = 0;
}
uint32_t pairing_own_flash(void) { return board.own.nv_bytes; }
uint32_t pairing_sequence(void) { return board.pairing.counter.sequence; }
uint32_t pairing_floor(void) { return board.pairing.counter.floor; }
int pairing_raise(uint32_t floor) { return el_counter_raise(&board.pairing.counter, floor); }

/* Puts bytes on its line; returns how many it answered with. */
uint32_t pairing_talk(const uint8_t *bytes, uint32_t n, uint8_t *out) {
  board.in = bytes;
  board.left = n;
  board.out = out;
  board.sent = 0;
  while (el_link_poll(&board.link)) continue;
  return board.sent;
}

/* Changes when anything does that an order could change: the pool, and what the link and the counters remember. */
uint32_t pairing_fingerprint(void) {
  const el_link *link = &board.link;
  uint32_t what[] = {link->phase,     link->plan_size, link->plan_hash, link->plan_got, link->infer_id, link->part,
                     link->part_kind, link->first_guess, board.pairing.counter.sequence, board.pairing.counter.floor,
                     board.pairing.is_signed};
  uint32_t crc = el_crc32(0, pool, sizeof pool);
  crc = el_crc32(crc, flash, sizeof flash);
  return el_crc32(crc, (const uint8_t *)what, sizeof what);
}
