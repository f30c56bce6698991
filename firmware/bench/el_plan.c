/* An edgelearn plan, compiled in, behind the bench's interface. BENCH_F32: the plan computes in float. */
#include <string.h>

#include "bench_data.h"
#include "bench_net.h"
#include "edgelearn.h"

/* Made by the backend plan-c. */
extern const uint8_t el_app_plan[];
extern const uint32_t el_app_plan_bytes;

static el_t el;
static _Alignas(8) uint8_t pool[64 * 1024];

#ifdef BENCH_F32
static float input[BENCH_INPUT];

static void convert(const uint8_t *sample) {
#pragma GCC unroll 8
  for (int i = 0; i < BENCH_INPUT; i++) input[i] = (float)sample[i] / 16.0f;
}
#else
static _Alignas(4) int8_t input[BENCH_INPUT];

/* x/16 at exponent -7 is 8x, and 127 for the 128 of a full pixel: four pixels at a time. */
static void convert(const uint8_t *sample) {
  for (int i = 0; i < BENCH_INPUT; i += 4) {
    uint32_t x;
    memcpy(&x, sample + i, 4);
    x = (x << 3) - ((x >> 4) & 0x01010101u);
    memcpy(input + i, &x, 4);
  }
}
_Static_assert(BENCH_INPUT % 4 == 0, "pixels are converted four at a time");
#endif

int net_init(uint32_t seed) { return el_open(&el, 0, el_app_plan, el_app_plan_bytes, pool, sizeof pool, seed); }

void net_train(const uint8_t *sample, uint16_t label) {
  convert(sample);
  el_learn(&el, input, label, 0);
}

uint16_t net_infer(const uint8_t *sample) {
  uint16_t guess = EL_NO_LABEL;
  convert(sample);
  el_infer(&el, input, &guess);
  return guess;
}

/* What the runtime found touched by scanning, not what the plan says. */
uint32_t net_state_bytes(void) {
  el_stats_t stats;
  return el_stats(&el, &stats) == EL_OK ? stats.state + stats.arena : 0;
}
