/* Random bits as a function of counters; see edgelearn/ir/rng.py. */
#include "el_kernel.h"

uint32_t el_mix(uint32_t v) {
  v ^= v >> 16;
  v *= (uint32_t)0x7FEB352D;
  v ^= v >> 15;
  v *= (uint32_t)0x846CA68B;
  return v ^ v >> 16;
}

int32_t el_normal_unit(uint32_t start, uint32_t i) {
  uint32_t a = el_mix(start + 2 * i * EL_RNG_COLUMN), b = el_mix(start + (2 * i + 1) * EL_RNG_COLUMN);
  return (int32_t)((a & 0xFFFF) + (a >> 16) + (b & 0xFFFF) + (b >> 16)) - EL_NORMAL_MAX;
}
