/* Numbers leave and reach a machine as little-endian bytes: over the link, in flash, in an exported state. A core of the other byte order,
 * of which we know no board, turns them here; elsewhere this file is empty, and what el_order.h declares does nothing. */
#include "el_kernel.h"

#ifdef EL_BIG_ENDIAN
/* Bytes of the numbers in the word of the state that starts at `off`: those of the first tensor that has a part of it. */
static uint8_t width_at(const el_t *el, uint32_t off) {
  EL_PLAN uint8_t *t = el->plan + EL_HEADER_BYTES + (uint32_t)el->plan[EL_HEADER_N_DROPS] * 4 + (uint32_t)el->plan[EL_HEADER_N_SLOTS] * EL_SLOT_BYTES;
  for (uint16_t i = 0; i < el->plan[EL_HEADER_N_TENSORS]; i++, t += EL_TENSOR_BYTES) {
    uint8_t width = t[EL_TENSOR_DTYPE] == EL_DTYPE_I8 ? 1 : t[EL_TENSOR_DTYPE] == EL_DTYPE_I16 ? 2 : 4;
    uint32_t start = el_plan32(t + EL_TENSOR_OFF);
    if (t[EL_TENSOR_REGION] == EL_REGION_STATE && off >= start && off - start < el_tensor_elements(t) * width) return width;
  }
  return 1;
}

/* The numbers of a word, each the other way round. */
static void turn_word(uint8_t *word, uint8_t width) {
  uint8_t turned[4];
  for (uint8_t i = 0; i < 4; i++) turned[i ^ (width - 1)] = word[i];
  for (uint8_t i = 0; i < 4; i++) word[i] = turned[i];
}

void el_turn_state(el_t *el) {
  uint32_t end = el_plan32(el->plan + EL_HEADER_META); /* what follows is bytes already */
  for (uint32_t off = 0; off < end; off += 4) turn_word(el->state + off, width_at(el, off));
}

void el_turn_input(el_t *el) {
  if (el->plan[EL_HEADER_DTYPE] != EL_PLAN_F32) return;
  for (uint32_t off = 0, n = el_input_bytes(el); off < n; off += 4) turn_word(el_input(el) + off, 4);
}
#endif
