/* The core as a library for this computer: loops over samples, so that Python calls C once per batch and not once per sample. */
#include <string.h>

#include "el_core.h"
#include "el_link.h"

size_t el_host_context_bytes(void) { return sizeof(el_t); }
size_t el_host_link_bytes(void) { return sizeof(el_link); }

/* Learns x[order[0..n)]; guesses may be NULL. Stops at the first error. */
int el_host_learn(el_t *el, const uint8_t *x, const uint16_t *y, const uint32_t *order, uint32_t n, uint16_t *guesses) {
  uint32_t stride = el_input_bytes(el);
  for (uint32_t i = 0; i < n; i++) {
    uint16_t guess;
    int code = el_learn(el, x + (size_t)order[i] * stride, y[order[i]], &guess);
    if (code) return code;
    if (guesses) guesses[i] = guess;
  }
  return EL_OK;
}

int el_host_infer(el_t *el, const uint8_t *x, uint32_t n, uint16_t *labels) {
  uint32_t stride = el_input_bytes(el);
  for (uint32_t i = 0; i < n; i++) {
    int code = el_infer(el, x + (size_t)i * stride, &labels[i]);
    if (code) return code;
  }
  return EL_OK;
}

void el_host_read_state(el_t *el, uint8_t *out) {
  el_turn_state(el);
  memcpy(out, el->state, el->state_bytes);
  el_turn_state(el);
}

void el_host_write_state(el_t *el, const uint8_t *bytes) {
  memcpy(el->state, bytes, el->state_bytes);
  el_turn_state(el);
}
