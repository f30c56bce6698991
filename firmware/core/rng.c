/* Random bits as a function of counters; see edgelearn/ir/rng.py. */
#include "el_kernel.h"

uint32_t el_mix(uint32_t v) {
  v ^= v >> 16;
  v *= (uint32_t)0x7FEB352D;
  v ^= v >> 15;
  v *= (uint32_t)0x846CA68B;
  return v ^ v >> 16;
}
