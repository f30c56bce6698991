/* Fuzzes the board's end of the link, with the whole core behind it and flash beneath. The input is a list of chunks: a byte that says how, a
 * length, bytes. Raw chunks go on the line as they are; of others a frame is made, with a right length, CRC and encoding, so that the messages
 * themselves are reached; and of others still a plan's CRC is made right. A restart may be that of a board with a plan compiled in, or of one
 * that has no clock and no flash. After each chunk: what the board said are whole frames, and while
 * a plan is bound, it is the one that was verified. */
#include "el_bytes.h"
#include "el_core.h"
#include "el_plan.h"
#include "el_link.h"
#include "fuzz.h"

#define POOL_BYTES 6144u
#define NV_BYTES 8192u
#define NV_PAGE 1024u
#define WIRE_BYTES 1024u
#define MOST_OUT 8192u
#define MOST_COST 100000u /* of a plan, in values per op: larger ones would only be slow */

enum { RAW, FRAME, PLAN, RESTART, FIXED, HOWS };

static uint8_t *pool;
static uint8_t nv[NV_BYTES], out[MOST_OUT];
static uint32_t out_n, in_n;
static const uint8_t *in;
static el_t el;
static el_link board, host; /* `host` only decodes what the board sends, and encodes */
static uint8_t wire[WIRE_BYTES];
static uint32_t wire_n;
static uint8_t fixed[2048];
static uint32_t fixed_n;

static size_t rx(void *ctx, uint8_t *to, size_t n) {
  (void)ctx;
  if (n > in_n) n = in_n;
  memcpy(to, in, n);
  in += n;
  in_n -= (uint32_t)n;
  return n;
}

static void tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  if (n > sizeof out - out_n) out_n = 0; /* nobody reads so much: the frame is lost, which is checked elsewhere */
  memcpy(out + out_n, bytes, n);
  out_n += (uint32_t)n;
}

static void to_wire(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  memcpy(wire + wire_n, bytes, n);
  wire_n += (uint32_t)n;
}

static uint32_t now_us(void *ctx) {
  static uint32_t now;
  (void)ctx;
  return now += 17;
}

static uint32_t stack_used(void *ctx, uint32_t *out_size) {
  (void)ctx;
  *out_size = 1024;
  return 300;
}

static uint32_t overruns(void *ctx) {
  (void)ctx;
  return 5;
}

static int nv_read(void *ctx, uint32_t off, uint8_t *to, uint32_t n) {
  (void)ctx;
  fuzz_demand(off <= NV_BYTES && n <= NV_BYTES - off, "the flash is read inside");
  memcpy(to, nv + off, n);
  return EL_OK;
}

static int nv_erase(void *ctx, uint32_t off) {
  (void)ctx;
  fuzz_demand(off < NV_BYTES && off % NV_PAGE == 0, "a page is erased");
  memset(nv + off, 0xFF, NV_PAGE);
  return EL_OK;
}

static int nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  (void)ctx;
  fuzz_demand(off % 4 == 0 && n % 4 == 0 && off <= NV_BYTES && n <= NV_BYTES - off, "words are programmed inside");
  for (uint32_t i = 0; i < n; i++) nv[off + i] &= bytes[i];
  return EL_OK;
}

static const el_hal hal = {.board = "sim", .rx_buffer = 512, .rx = rx, .tx = tx, .now_us = now_us, .nv_bytes = NV_BYTES, .nv_page = NV_PAGE,
                           .nv_read = nv_read, .nv_erase = nv_erase, .nv_prog = nv_prog};
/* Another kind of board, with a name that fills its field. */
static const el_hal bare = {.board = {'s', 'i', 'x', 't', 'e', 'e', 'n', ' ', 'l', 'e', 't', 't', 'e', 'r', 's', '.'}, .rx_buffer = 64,
                            .rx = rx, .tx = tx, .stack_used = stack_used, .overruns = overruns};
static const el_hal encoder = {.tx = to_wire};

/* Could running this plan take long? Its tensors are as large as its memory may be, and its ops as many as fit in it. */
static int is_slow(void) {
  uint32_t ops = (uint32_t)el_get16(el.plan + EL_HEADER_N_INFER) + el_get16(el.plan + EL_HEADER_N_LEARN);
  return ops * (el.state_bytes + el.arena_bytes) > MOST_COST;
}

static void check_answers(void) {
  for (uint32_t i = 0; i < out_n; i++) {
    uint16_t n = el_frame_feed(&host, out[i]);
    if (n) fuzz_demand(el_get16(host.rx + 2) == n - 4 && host.rx[0] & 0x80, "an answer is a frame of the board's");
  }
  out_n = 0;
}

static void check_board(void) {
  fuzz_demand(board.rx_len <= sizeof board.rx, "the frame buffer holds what is in it");
  if (board.phase == EL_PHASE_EMPTY) return;
  const uint8_t *plan = board.fixed_plan ? fixed : pool;
  fuzz_demand(el.plan == plan && el_verify(el.plan, board.plan_size, board.hal->board) == EL_OK, "the plan that runs is the one that was verified");
  fuzz_demand(el.state >= pool + (board.fixed_plan ? 0 : board.plan_size) && el.arena >= el.state + el.state_bytes, "plan, state, arena");
  fuzz_demand(el.arena + el.arena_bytes <= pool + POOL_BYTES, "in the pool");
}

static void receive(const uint8_t *bytes, uint32_t n) {
  in = bytes;
  in_n = n;
  while (in_n && !(board.phase != EL_PHASE_EMPTY && is_slow())) el_link_poll(&board);
  check_answers();
  check_board();
}

/* type, seq, body; the length is put between. */
static void receive_frame(const uint8_t *bytes, uint32_t n) {
  if (n < 2 || n > EL_MAX_FRAME - 2u) return;
  host.tx[0] = bytes[0];
  host.tx[1] = bytes[1];
  el_put16(host.tx + 2, (uint16_t)(n - 2));
  memcpy(host.tx + 4, bytes + 2, n - 2);
  wire_n = 0;
  el_frame_send(&host, (uint16_t)(n + 2));
  receive(wire, wire_n);
}

static void receive_message(uint8_t code, const uint8_t *body, uint32_t n) {
  uint8_t message[EL_MAX_FRAME];
  message[0] = code;
  message[1] = 1;
  memcpy(message + 2, body, n);
  receive_frame(message, n + 2);
}

static uint32_t sealed(uint8_t *plan, const uint8_t *bytes, uint32_t n) {
  memcpy(plan, bytes, n);
  if (n < EL_HEADER_BYTES + 4) return n;
  el_put32(plan + EL_HEADER_TOTAL_BYTES, n);
  el_put32(plan + n - 4, el_crc32(0, plan, n - 4));
  return n;
}

/* A whole plan and a first state. */
static void receive_plan(const uint8_t *bytes, uint32_t n) {
  uint8_t body[8], part[EL_MAX_FRAME - 8], plan[sizeof fixed];
  if (n < EL_HEADER_BYTES + 4 || n > sizeof plan) return;
  sealed(plan, bytes, n);
  el_put32(body, n);
  memcpy(body + 4, plan + n - 4, 4);
  receive_message(EL_MSG_PLAN_BEGIN, body, 8);
  for (uint32_t off = 0, more; off < n; off += more) {
    more = n - off < 256 ? n - off : 256;
    el_put32(part, off);
    memcpy(part + 4, plan + off, more);
    receive_message(EL_MSG_PLAN_DATA, part, more + 4);
  }
  receive_message(EL_MSG_PLAN_END, body, 0);
  receive_message(EL_MSG_INIT, body, 4);
}

/* The pool keeps what was in it, as RAM does. */
static void restart(const el_hal *as, const uint8_t *plan, uint32_t n) {
  memset(&el, 0, sizeof el);
  el_link_init(&board, &el, as, pool, POOL_BYTES, plan, n);
}

static void restart_fixed(const uint8_t *bytes, uint32_t n) {
  fixed_n = n < sizeof fixed ? sealed(fixed, bytes, n) : 0;
  restart(&hal, fixed, fixed_n);
  check_board();
}

static void take(uint8_t how, const uint8_t *bytes, uint32_t n) {
  switch (how % HOWS) {
    case RAW: receive(bytes, n); break;
    case FRAME: receive_frame(bytes, n); break;
    case PLAN: receive_plan(bytes, n); break;
    case FIXED: restart_fixed(bytes, n); break;
    default: restart(n & 1 ? &bare : &hal, NULL, 0); break;
  }
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  pool = fuzz_block(POOL_BYTES);
  memset(pool, 0, POOL_BYTES);
  memset(nv, 0xFF, sizeof nv);
  memset(&host, 0, sizeof host);
  host.hal = &encoder;
  restart(&hal, NULL, 0);
  while (n >= 3) {
    uint32_t more = el_get16(bytes + 1);
    uint8_t how = bytes[0];
    bytes += 3;
    n -= 3;
    if (more > n) more = (uint32_t)n;
    take(how, bytes, more);
    bytes += more;
    n -= more;
  }
  free(pool);
  return 0;
}
