/* A core that learns nothing: link and protocol are tested with it, apart from plans and kernels.
 *
 * Its plan is 24 bytes: "FAKE", then input, state and arena bytes, classes, CRC-32. Its state is step, seed and a running CRC
 * of all that it was given to learn, so that a sample that is learnt twice, never, or out of order shows. */
#include <string.h>

#include "el_bytes.h"
#include "el_core.h"
#include "el_link.h"

#define PLAN_BYTES 24u

int el_verify(const uint8_t *plan, uint32_t n, const char *board) {
  (void)board;
  if (n != PLAN_BYTES) return EL_ERR_SIZE;
  if (memcmp(plan, "FAKE", 4)) return EL_ERR_MAGIC;
  return el_crc32(0, plan, n - 4) == el_plan_hash(plan) ? EL_OK : EL_ERR_CRC;
}

uint32_t el_plan_hash(const uint8_t *plan) { return el_get32(plan + 20); }
uint32_t el_plan_state_bytes(const uint8_t *plan) { return el_get32(plan + 8); }
uint32_t el_plan_arena_bytes(const uint8_t *plan) { return el_get32(plan + 12); }
uint16_t el_classes(const el_t *el) { return el_get16(el->plan + 16); }
uint32_t el_input_bytes(const el_t *el) { return el_get32(el->plan + 4); }
uint8_t *el_input(el_t *el) { return el->arena; }
uint32_t el_step(const el_t *el) { return el_get32(el->state); }
uint32_t el_seed(const el_t *el) { return el_get32(el->state + 4); }

int el_bind(el_t *el, const el_hal *hal, const uint8_t *plan, uint32_t n, uint8_t *pool, uint32_t pool_bytes) {
  int err = el_verify(plan, n, hal->board);
  if (err) return err;
  memset(el, 0, sizeof *el);
  el->hal = hal;
  el->plan = plan;
  el->state_bytes = el_plan_state_bytes(plan);
  el->arena_bytes = el_plan_arena_bytes(plan);
  if (el->state_bytes > pool_bytes || el->arena_bytes > pool_bytes - el->state_bytes) return EL_ERR_MEMORY;
  el->state = pool;
  el->arena = pool + el->state_bytes;
  return EL_OK;
}

void el_init_state(el_t *el, uint32_t seed) {
  memset(el->state, 0, el->state_bytes);
  el_put32(el->state + 4, seed);
}

int el_learn_staged(el_t *el, uint16_t label, uint16_t *out_guess) {
  uint32_t sum = el_crc32(el_get32(el->state + 8), el->arena, el_input_bytes(el));
  el_put32(el->state + 8, sum ^ label);
  el_put32(el->state, el_step(el) + 1);
  el->samples++;
  *out_guess = (uint16_t)(el->arena[0] % el_classes(el));
  return EL_OK;
}

int el_infer_staged(el_t *el, uint16_t *out_label) {
  *out_label = (uint16_t)(el->arena[0] % el_classes(el));
  return EL_OK;
}

int el_save(el_t *el) {
  const el_hal *hal = el->hal;
  if (hal->nv_bytes == 0) return EL_ERR_NO_NV;
  for (uint32_t off = 0; off < el->state_bytes; off += hal->nv_page)
    if (hal->nv_erase(hal->ctx, off)) return EL_ERR_NV;
  return hal->nv_prog(hal->ctx, 0, el->state, el->state_bytes);
}

int el_load(el_t *el) {
  const el_hal *hal = el->hal;
  uint8_t seed[4];
  if (hal->nv_bytes == 0) return EL_ERR_NO_NV;
  if (hal->nv_read(hal->ctx, 4, seed, sizeof seed) || el_get32(seed) == 0xFFFFFFFFu) return EL_ERR_NV;
  return hal->nv_read(hal->ctx, 0, el->state, el->state_bytes);
}

int el_stats(el_t *el, el_stats_t *out) {
  memset(out, 0, sizeof *out);
  out->state = el->state_bytes;
  out->arena = el->arena_bytes;
  out->step = el_step(el);
  out->samples = el->samples;
  if (el->hal->stack_used) out->stack = el->hal->stack_used(el->hal->ctx, &out->stack_size);
  return EL_OK;
}

/* --- a board without a line, for ctypes: what the test puts in is received, what is sent piles up ----------------------- */

static uint8_t inbox[65536], outbox[65536], pool[4096];
static size_t in_head, in_tail, out_size;
static el_t the_el;
static el_link the_link;

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  (void)ctx;
  if (n > in_head - in_tail) n = in_head - in_tail;
  memcpy(out, inbox + in_tail, n);
  in_tail += n;
  return n;
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  if (n > sizeof outbox - out_size) return; /* more than a test reads */
  memcpy(outbox + out_size, bytes, n);
  out_size += n;
}

static const el_hal the_hal = {.board = "fake", .rx_buffer = 512, .rx = hal_rx, .tx = hal_tx};

/* A fresh board; `plan` NULL: none is compiled in. */
void fake_start(const uint8_t *plan, uint32_t plan_bytes) {
  in_head = in_tail = out_size = 0;
  memset(&the_el, 0, sizeof the_el);
  el_link_init(&the_link, &the_el, &the_hal, pool, sizeof pool, plan, plan_bytes);
}

/* Receives n bytes and copies all that was sent meanwhile to `out`; returns how much that is. */
uint32_t fake_talk(const uint8_t *bytes, uint32_t n, uint8_t *out) {
  memcpy(inbox, bytes, n);
  in_tail = out_size = 0;
  in_head = n;
  while (el_link_poll(&the_link)) continue;
  memcpy(out, outbox, out_size);
  return (uint32_t)out_size;
}
