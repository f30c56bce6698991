/* The board's answers: one handler per message of edgelearn/link/messages.py. docs/link.md says what each means. */
#include <string.h>

#include "el_bytes.h"
#include "el_core.h"
#include "el_link.h"
#include "el_power.h"

#ifndef EL_FIRMWARE
#define EL_FIRMWARE 0x000100u /* major, minor, patch */
#endif

#ifdef EL_NO_F32
#define DTYPE_CAPS EL_CAP_INT8
#else
#define DTYPE_CAPS (EL_CAP_INT8 | EL_CAP_F32)
#endif

#define HEADER_BYTES 4
/* Received bytes taken at a time: they stand on the stack. */
#ifdef EL_SMALL
#define CHUNK 4
#else
#define CHUNK 32
#endif

/* The body of a request: fixed fields, then `n` more bytes. */
typedef struct {
  const uint8_t *body;
  const uint8_t *data;
  uint16_t n;
} request;

/* --- replies ------------------------------------------------------------------------------------------------------ */

static uint8_t *reply_body(el_link *link) { return link->tx + HEADER_BYTES; }

static void reply(el_link *link, uint8_t code, uint16_t n) {
  link->tx[0] = code;
  link->tx[1] = link->rx[1]; /* the seq of the request */
  el_put16(link->tx + 2, n);
  el_frame_send(link, (uint16_t)(n + HEADER_BYTES));
}

static void status(el_link *link, int code, uint32_t detail) {
  uint8_t *body = reply_body(link);
  el_put16(body + EL_STATUS_CODE, (uint16_t)code);
  el_put32(body + EL_STATUS_DETAIL, detail);
  reply(link, EL_MSG_STATUS, EL_STATUS_FIXED);
}

static uint32_t step_now(const el_link *link) { return link->phase == EL_PHASE_READY ? el_step(link->el) : 0; }

/* Says what the board expects next, and what it predicted for the last steps before that. */
static void ack(el_link *link, int code) {
  uint8_t *body = reply_body(link);
  uint32_t step = step_now(link);
  uint32_t from = step > EL_RESULTS ? step - EL_RESULTS : 0;
  uint16_t n = EL_ACK_FIXED;
  el_put32(body + EL_ACK_STEP, step);
  el_put16(body + EL_ACK_OFF, link->part_kind == EL_MSG_SAMPLE ? link->part : 0);
  el_put16(body + EL_ACK_CODE, (uint16_t)code);
  if (from < link->first_guess) from = link->first_guess;
  for (; from < step; from++, n = (uint16_t)(n + 2)) el_put16(body + n, link->guesses[from % EL_RESULTS]);
  reply(link, EL_MSG_ACK, n);
}

static void result(el_link *link, uint32_t id, int code, uint16_t label) {
  uint8_t *body = reply_body(link);
  el_put32(body + EL_RESULT_ID, id);
  el_put16(body + EL_RESULT_OFF, link->part_kind == EL_MSG_INFER && link->infer_id == id ? link->part : 0);
  el_put16(body + EL_RESULT_CODE, (uint16_t)code);
  el_put16(body + EL_RESULT_LABEL, label);
  reply(link, EL_MSG_RESULT, EL_RESULT_FIXED);
}

/* --- who are you? ------------------------------------------------------------------------------------------------- */

static EL_APART void on_hello(el_link *link, const request *q) {
  const el_hal *hal = link->hal;
  uint8_t *body = reply_body(link);
  if (link->boot_id == 0) link->boot_id = el_get32(q->body + EL_HELLO_NONCE) | 1u;
  memset(body, 0, EL_HELLO_R_FIXED);
  el_put16(body + EL_HELLO_R_PROTO, EL_PROTOCOL);
  el_put32(body + EL_HELLO_R_BOOT_ID, link->boot_id);
  memcpy(body + EL_HELLO_R_BOARD, hal->board, sizeof hal->board);
  memcpy(body + EL_HELLO_R_CHIP, hal->chip, sizeof hal->chip);
  el_put32(body + EL_HELLO_R_FIRMWARE, EL_FIRMWARE);
  if (link->phase != EL_PHASE_EMPTY) el_put32(body + EL_HELLO_R_PLAN_HASH, link->plan_hash);
  if (link->phase == EL_PHASE_READY) {
    el_put32(body + EL_HELLO_R_STEP, el_step(link->el));
    el_put32(body + EL_HELLO_R_SEED, el_seed(link->el));
  }
  body[EL_HELLO_R_PHASE] = link->phase;
  body[EL_HELLO_R_CAPS] = (uint8_t)(DTYPE_CAPS | (el_has_nv(hal) ? EL_CAP_NV : 0));
  el_put16(body + EL_HELLO_R_MAX_FRAME, EL_MAX_FRAME);
  el_put16(body + EL_HELLO_R_RX_BUFFER, hal->rx_buffer);
  el_put32(body + EL_HELLO_R_POOL, link->pool_bytes);
  reply(link, EL_MSG_HELLO_R, (uint16_t)(EL_HELLO_R_FIXED + el_pairing_hello(link, body + EL_HELLO_R_FIXED)));
}

/* --- the supply --------------------------------------------------------------------------------------------------- */

#ifdef EL_SMALL
#define moment(link, what) ((void)0)
#define supply(link, q, n) (n)
#else
static void moment(const el_link *link, uint8_t what) {
  if (link->hal->power) link->hal->power->moment(link->hal, what);
}

/* What meter and marker answer, behind `n` bytes of a reply's body; returns its bytes then. */
static uint16_t supply(el_link *link, const request *q, uint16_t n) {
  const uint16_t room = (uint16_t)(EL_MAX_FRAME - HEADER_BYTES - n);
  if (link->hal->power) n = (uint16_t)(n + link->hal->power->asked(link->hal, q->data, q->n, reply_body(link) + n, room));
  return n;
}
#endif

static EL_APART void on_stats(el_link *link, const request *q) {
  const el_hal *hal = link->hal;
  uint8_t *body = reply_body(link);
  el_stats_t stats;
  (void)q;
  memset(&stats, 0, sizeof stats);
  if (link->phase != EL_PHASE_EMPTY) el_stats(link->el, &stats);
  else if (hal->stack_used) stats.stack = hal->stack_used(hal->ctx, &stats.stack_size);
  el_put32(body + EL_STATS_R_STATE, stats.state);
  el_put32(body + EL_STATS_R_ARENA, stats.arena);
  el_put32(body + EL_STATS_R_STACK, stats.stack);
  el_put32(body + EL_STATS_R_STACK_SIZE, stats.stack_size);
  el_put32(body + EL_STATS_R_LINK, (uint32_t)sizeof *link + hal->rx_buffer);
  el_put32(body + EL_STATS_R_PLAN, link->fixed_plan || link->phase == EL_PHASE_EMPTY ? 0 : link->plan_size);
  el_put32(body + EL_STATS_R_SAMPLES, stats.samples);
  el_put32(body + EL_STATS_R_BUSY_US, stats.busy_us);
  el_put32(body + EL_STATS_R_OVERRUNS, hal->overruns ? hal->overruns(hal->ctx) : 0);
  el_put32(body + EL_STATS_R_BAD_FRAMES, link->bad_frames);
  reply(link, EL_MSG_STATS_R, supply(link, q, EL_STATS_R_FIXED));
}

/* --- the plan ----------------------------------------------------------------------------------------------------- */

/* Gives a plan the rest of the pool; el_bind verifies it first. */
static int adopt(el_link *link, EL_PLAN uint8_t *plan, uint32_t n, uint32_t pool_used) {
  int err;
  if (pool_used > link->pool_bytes) return EL_ERR_MEMORY;
  err = el_bind(link->el, link->hal, plan, n, link->pool + pool_used, link->pool_bytes - pool_used);
  if (err) return err;
  link->plan_size = n;
  link->plan_hash = el_plan_hash(plan);
  link->phase = EL_PHASE_PLAN;
  return EL_OK;
}

/* Is it the plan that runs already? */
static int runs(const el_link *link, uint32_t size, uint32_t hash) {
  return link->phase != EL_PHASE_EMPTY && size == link->plan_size && hash == link->plan_hash;
}

#ifdef EL_PLAN_IN_ROM
/* There is no memory that another plan could be put into. */
static EL_APART void on_plan_begin(el_link *link, const request *q) {
  if (runs(link, el_get32(q->body + EL_PLAN_BEGIN_SIZE), el_get32(q->body + EL_PLAN_BEGIN_HASH))) status(link, EL_OK, 1);
  else status(link, EL_ERR_PLAN_FIXED, 0);
}

static EL_APART void on_plan_data(el_link *link, const request *q) {
  (void)q;
  status(link, EL_ERR_PLAN_FIXED, 0);
}

static EL_APART void on_plan_end(el_link *link, const request *q) {
  (void)q;
  status(link, link->phase == EL_PHASE_EMPTY ? EL_ERR_PLAN_FIXED : EL_OK, 0);
}
#else
static EL_APART void on_plan_begin(el_link *link, const request *q) {
  uint32_t size = el_get32(q->body + EL_PLAN_BEGIN_SIZE);
  uint32_t hash = el_get32(q->body + EL_PLAN_BEGIN_HASH);
  if (runs(link, size, hash)) {
    status(link, EL_OK, 1);
    return;
  }
  if (link->fixed_plan || size > link->pool_bytes) {
    status(link, link->fixed_plan ? EL_ERR_PLAN_FIXED : EL_ERR_MEMORY, 0);
    return;
  }
  int err = el_pairing_expects(link, size);
  if (err) {
    status(link, err, 0);
    return;
  }
  link->phase = EL_PHASE_EMPTY;
  link->plan_size = size;
  link->plan_hash = hash;
  link->plan_got = 0;
  status(link, EL_OK, 0);
}

static EL_APART void on_plan_data(el_link *link, const request *q) {
  uint32_t off = el_get32(q->body + EL_PLAN_DATA_OFF);
  int err = EL_OK;
  if (link->phase != EL_PHASE_EMPTY || link->plan_size == 0) err = EL_ERR_PHASE;
  else if (off > link->plan_got || (off == link->plan_got && q->n > link->plan_size - off)) err = EL_ERR_SIZE;
  else if (off == link->plan_got) {
    memcpy(link->pool + off, q->data, q->n);
    link->plan_got += q->n;
  }
  status(link, err, link->plan_got);
}

/* The plan is whole: is it signed, where that counts? */
static int take_plan(el_link *link, uint32_t size) {
  int err = el_pairing_check(link, link->pool, size);
  if (err == EL_OK) err = adopt(link, link->pool, size, (size + 7u) & ~(uint32_t)7);
  return err == EL_OK ? el_pairing_accept(link) : err;
}

static EL_APART void on_plan_end(el_link *link, const request *q) {
  uint32_t size = link->plan_size;
  uint32_t hash = link->plan_hash;
  int err;
  (void)q;
  if (link->phase != EL_PHASE_EMPTY) err = EL_OK; /* asked again: the plan runs already */
  else if (size == 0) err = EL_ERR_PHASE;
  else if (link->plan_got != size) err = EL_ERR_SIZE;
  else err = take_plan(link, size);
  if (err == EL_OK && link->plan_hash != hash) { /* whole, but not the one that was announced */
    link->plan_hash = hash;
    link->phase = EL_PHASE_EMPTY;
    err = EL_ERR_CRC;
  }
  status(link, err, link->plan_got);
}
#endif

/* --- the state ---------------------------------------------------------------------------------------------------- */

/* The state is whole; predictions made with another one are no longer known. */
static void state_ready(el_link *link) {
  link->phase = EL_PHASE_READY;
  link->first_guess = el_step(link->el);
}

static EL_APART void on_init(el_link *link, const request *q) {
  if (link->phase == EL_PHASE_EMPTY) {
    status(link, EL_ERR_PHASE, 0);
    return;
  }
  el_init_state(link->el, el_get32(q->body + EL_INIT_SEED));
  state_ready(link);
  status(link, EL_OK, el_step(link->el));
}

static EL_APART void on_state_read(el_link *link, const request *q) {
  el_t *el = link->el;
  uint8_t *body = reply_body(link);
  uint32_t off = el_get32(q->body + EL_STATE_READ_OFF);
  uint16_t n = el_get16(q->body + EL_STATE_READ_LEN);
  const uint16_t room = EL_MAX_FRAME - HEADER_BYTES - EL_STATE_DATA_FIXED;
  if (link->phase == EL_PHASE_EMPTY || off > el->state_bytes) {
    status(link, link->phase == EL_PHASE_EMPTY ? EL_ERR_PHASE : EL_ERR_SIZE, 0);
    return;
  }
  if (n > room) n = room;
  if (n > el->state_bytes - off) n = (uint16_t)(el->state_bytes - off);
  el_put32(body + EL_STATE_DATA_OFF, off);
  el_put32(body + EL_STATE_DATA_STEP, step_now(link));
  el_turn_state(el);
  memcpy(body + EL_STATE_DATA_FIXED, el->state + off, n);
  el_turn_state(el);
  reply(link, EL_MSG_STATE_DATA, (uint16_t)(EL_STATE_DATA_FIXED + n));
}

static EL_APART void on_state_write(el_link *link, const request *q) {
  el_t *el = link->el;
  uint32_t off = el_get32(q->body + EL_STATE_WRITE_OFF);
  int err = EL_OK;
  if (link->phase == EL_PHASE_EMPTY) err = EL_ERR_PHASE;
  else if (off > el->state_bytes || q->n > el->state_bytes - off) err = EL_ERR_SIZE;
  else {
    link->phase = EL_PHASE_PLAN; /* half old, half new, until state_done */
    el_turn_state(el);
    memcpy(el->state + off, q->data, q->n);
    el_turn_state(el);
  }
  status(link, err, err ? 0 : off + q->n);
}

static uint32_t state_crc(el_t *el) {
  el_turn_state(el);
  uint32_t crc = el_crc32(0, el->state, el->state_bytes);
  el_turn_state(el);
  return crc;
}

static EL_APART void on_state_done(el_link *link, const request *q) {
  int err = EL_OK;
  if (link->phase == EL_PHASE_EMPTY) err = EL_ERR_PHASE;
  else if (state_crc(link->el) != el_get32(q->body + EL_STATE_DONE_CRC)) err = EL_ERR_CRC;
  else if (link->phase != EL_PHASE_READY) state_ready(link);
  status(link, err, step_now(link));
}

static EL_APART void on_save(el_link *link, const request *q) {
  (void)q;
  status(link, link->phase == EL_PHASE_READY ? el_save(link->el) : EL_ERR_PHASE, step_now(link));
}

static EL_APART void on_load(el_link *link, const request *q) {
  int err = link->phase == EL_PHASE_EMPTY ? EL_ERR_PHASE : el_load(link->el);
  (void)q;
  if (err == EL_OK) state_ready(link);
  else if (err == EL_ERR_CRC) link->phase = EL_PHASE_PLAN; /* what was learnt is overwritten: the host must say with what to go on */
  status(link, err, step_now(link));
}

/* --- samples ------------------------------------------------------------------------------------------------------ */

/* Puts one part of a sample into the input buffer. Returns 1 when the sample is whole, 0 when more is to come. */
static EL_APART int stage(el_link *link, uint8_t kind, uint16_t off, const request *q) {
  uint32_t input = el_input_bytes(link->el);
  if (off == 0) link->part = 0;
  else if (link->part_kind != kind || off != link->part) return EL_ERR_STEP;
  link->part_kind = 0;
  if (q->n > input - off) return EL_ERR_SIZE;
  memcpy(el_input(link->el) + off, q->data, q->n);
  link->part = (uint16_t)(off + q->n);
  if (link->part == input) {
    el_turn_input(link->el);
    return 1;
  }
  link->part_kind = kind;
  return 0;
}

static EL_APART int learn(el_link *link, uint16_t label) {
  uint16_t guess = EL_NO_LABEL;
  uint32_t step = el_step(link->el);
  moment(link, EL_MOMENT_BEGIN);
  int err = el_learn_staged(link->el, label, &guess);
  moment(link, EL_MOMENT_END);
  if (err == EL_OK) link->guesses[step % EL_RESULTS] = guess;
  return err;
}

static EL_APART void on_sample(el_link *link, const request *q) {
  uint16_t label = el_get16(q->body + EL_SAMPLE_LABEL);
  int got;
  if (link->phase != EL_PHASE_READY) got = EL_ERR_PHASE;
  else if (el_get32(q->body + EL_SAMPLE_STEP) != el_step(link->el)) got = EL_ERR_STEP;
  else if (label >= el_classes(link->el)) got = EL_ERR_LABEL;
  else got = stage(link, EL_MSG_SAMPLE, el_get16(q->body + EL_SAMPLE_OFF), q);
  if (got > 0) got = learn(link, label);
  else if (got == 0) return; /* a part in the middle is not acknowledged */
  ack(link, got);
}

static EL_APART void on_results(el_link *link, const request *q) {
  (void)q;
  ack(link, link->phase == EL_PHASE_READY ? EL_OK : EL_ERR_PHASE);
}

static EL_APART void on_infer(el_link *link, const request *q) {
  uint32_t id = el_get32(q->body + EL_INFER_ID);
  uint16_t off = el_get16(q->body + EL_INFER_OFF);
  uint16_t label = EL_NO_LABEL;
  int got;
  if (off == 0) link->infer_id = id;
  if (link->phase != EL_PHASE_READY) got = EL_ERR_PHASE;
  else if (id != link->infer_id) got = EL_ERR_STEP;
  else got = stage(link, EL_MSG_INFER, off, q);
  if (got == 0) return;
  if (got > 0) {
    moment(link, EL_MOMENT_BEGIN);
    got = el_infer_staged(link->el, &label);
    moment(link, EL_MOMENT_END);
  }
  result(link, id, got, label);
}

/* --- dispatch ----------------------------------------------------------------------------------------------------- */

/* Unknown optional TLVs are skipped, a required one refuses the message: none is defined yet. */
static int check_tlvs(const uint8_t *tlv, uint16_t n) {
  while (n) {
    if (n < 2 || tlv[1] > n - 2) return EL_ERR_SIZE;
    if (tlv[0] & EL_TLV_REQUIRED) return EL_ERR_VERSION;
    n = (uint16_t)(n - 2 - tlv[1]);
    tlv += 2 + tlv[1];
  }
  return EL_OK;
}

static int split(request *q, uint16_t body_bytes, uint16_t fixed, int tlvs) {
  if (body_bytes < fixed) return EL_ERR_SIZE;
  q->data = q->body + fixed;
  q->n = (uint16_t)(body_bytes - fixed);
  return tlvs ? check_tlvs(q->data, q->n) : EL_OK;
}

/* Whatever else uses the arena overwrites a sample that is half there. */
static int keeps_part(uint8_t code) {
  return code == EL_MSG_SAMPLE || code == EL_MSG_INFER || code == EL_MSG_HELLO || code == EL_MSG_RESULTS;
}

static EL_APART void dispatch(el_link *link, uint16_t frame_bytes) {
#ifdef EL_PAIRING
  int admitted = el_pairing_admit(link, frame_bytes);
  if (admitted < 0) status(link, admitted, 0);
  if (admitted <= 0) return;
  frame_bytes = (uint16_t)admitted;
#endif
  request q = {link->rx + HEADER_BYTES, 0, 0};
  uint16_t n = (uint16_t)(frame_bytes - HEADER_BYTES);
  int err;
  if (!keeps_part(link->rx[0])) link->part_kind = 0;
  switch (link->rx[0]) {
#define HANDLE(NAME, name, tlvs)                 \
  case EL_MSG_##NAME:                            \
    err = split(&q, n, EL_##NAME##_FIXED, tlvs); \
    if (err == EL_OK) on_##name(link, &q);       \
    break;
    EL_REQUESTS(HANDLE)
#undef HANDLE
    case EL_MSG_STATUS: /* our own, echoed by the line: to answer it would never end */
      return;
    default:
      err = EL_ERR_UNKNOWN;
  }
  if (err != EL_OK) status(link, err, 0);
}

uint32_t el_link_poll(el_link *link) {
  uint8_t chunk[CHUNK];
  uint32_t n = (uint32_t)link->hal->rx(link->hal->ctx, chunk, sizeof chunk);
  if (n == 0) moment(link, EL_MOMENT_POLL); /* we would only wait */
  for (uint32_t i = 0; i < n; i++) {
    uint16_t frame_bytes = el_frame_feed(link, chunk[i]);
    if (frame_bytes) dispatch(link, frame_bytes);
  }
  return n;
}

void el_link_init(el_link *link, el_t *el, const el_hal *hal, void *pool, uint32_t pool_bytes, EL_PLAN void *plan,
                  uint32_t plan_bytes) {
  memset(link, 0, sizeof *link);
  link->el = el;
  link->hal = hal;
  link->pool = pool;
  link->pool_bytes = pool_bytes;
  link->fixed_plan = plan != 0;
  if (plan) adopt(link, plan, plan_bytes, 0); /* a refused one shows as phase EMPTY in hello_r */
}
