/* The HAL of every Arduino core: a Stream, and the core's clock. */
#include "EdgelearnLink.h"

#include <string.h>

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  Stream *line = static_cast<Stream *>(ctx);
  size_t got = 0;
  while (got < n && line->available() > 0) out[got++] = static_cast<uint8_t>(line->read());
  return got;
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) { static_cast<Stream *>(ctx)->write(bytes, n); }

static uint32_t hal_now_us(void *) { return micros(); }

#ifdef __AVR__
/* Between the variables and the stack lies what nobody has used yet: no sketch with this little memory has a heap. */
extern uint8_t __heap_start[];
static const uint8_t paint = 0xA5;
static const uint8_t ownFrame = 32; /* left unpainted: this function is standing on it */

static void paintStack() {
  for (uint8_t *p = __heap_start, *end = reinterpret_cast<uint8_t *>(SP) - ownFrame; p < end; p++) *p = paint;
}

static uint32_t hal_stack_used(void *, uint32_t *size) {
  const uint8_t *p = __heap_start, *top = reinterpret_cast<const uint8_t *>(RAMEND);
  while (p <= top && *p == paint) p++;
  *size = static_cast<uint16_t>(top - __heap_start) + 1u;
  return static_cast<uint16_t>(top - p) + 1u;
}
#endif

EdgelearnLink::EdgelearnLink(Stream &line, const char *board, uint8_t *pool, uint32_t poolBytes, const uint8_t *plan, uint32_t planBytes,
                             uint16_t ahead)
    : line(line), pool(pool), poolBytes(poolBytes), plan(plan), planBytes(planBytes) {
  memset(&hal, 0, sizeof hal);
  strncpy(hal.board, board, sizeof hal.board); /* 16 characters need no zero after them */
  hal.ctx = &line;
  hal.rx_buffer = ahead;
  hal.rx = hal_rx;
  hal.tx = hal_tx;
  hal.now_us = hal_now_us;
}

bool EdgelearnLink::begin() {
#ifdef __AVR__
  paintStack();
  hal.stack_used = hal_stack_used;
#endif
  memset(&el, 0, sizeof el);
  el_link_init(&link, &el, &hal, pool, poolBytes, plan, planBytes);
  return plan == nullptr || el.plan != nullptr;
}

bool EdgelearnLink::poll() { return el_link_poll(&link) != 0; }

el_t *EdgelearnLink::net() { return &el; }
