/* An edgelearn plan, compiled in, behind the bench's interface. BENCH_F32: the plan computes in float. */
#include <string.h>

#include "bench_board.h"
#include "bench_data.h"
#include "bench_net.h"
#include "el_core.h"

/* Made by the backend plan-c. */
extern const uint8_t el_app_plan[];
extern const uint32_t el_app_plan_bytes;

#ifdef BENCH_METER
#include "metered.h"
#else
#define BENCH_HAL 0
#define moment(what) ((void)0)
#endif

static el_t el; /* samples are put where they are learnt from, as the link does it */

#ifdef BENCH_F32
static __attribute__((noinline)) void convert(const uint8_t *sample) {
  float *input = (float *)(void *)el_input(&el);
#pragma GCC unroll 8
  for (int i = 0; i < BENCH_INPUT; i++) input[i] = (float)sample[i] * (1.0f / BENCH_FULL);
}
#else
/* What a pixel means at exponent -7, four at a time: x/16 is 8x, x/255 is half of x + 1, and 127 for the 128 of a full pixel. */
static inline uint32_t four_pixels(uint32_t x) {
#if BENCH_FULL == 16
  return (x << 3) - ((x >> 4) & 0x01010101u);
#elif BENCH_FULL == 255
  x = ((x >> 1) & 0x7F7F7F7Fu) + (x & 0x01010101u);
  return x - ((x >> 7) & 0x01010101u);
#else
#error "no way is known from such pixels to int8"
#endif
}

static __attribute__((noinline)) void convert(const uint8_t *sample) {
  uint8_t *input = el_input(&el);
#pragma GCC unroll 8
  for (int i = 0; i < BENCH_INPUT; i += 4) {
    uint32_t x;
    memcpy(&x, sample + i, 4);
    x = four_pixels(x);
    memcpy(input + i, &x, 4);
  }
}
_Static_assert(BENCH_INPUT % 4 == 0, "pixels are converted four at a time");
#endif

int net_init(uint32_t seed) {
  uint32_t bytes;
  uint8_t *pool = board_pool(&bytes);
  return el_open(&el, BENCH_HAL, el_app_plan, el_app_plan_bytes, pool, bytes, seed);
}

void net_train(const uint8_t *sample, uint16_t label) {
  convert(sample);
  moment(EL_MOMENT_BEGIN);
  el_learn_staged(&el, label, 0);
  moment(EL_MOMENT_END);
}

uint16_t net_infer(const uint8_t *sample) {
  uint16_t guess = EL_NO_LABEL;
  convert(sample);
  el_infer_staged(&el, &guess);
  return guess;
}

/* What the runtime found touched by scanning, not what the plan says. */
uint32_t net_state_bytes(void) {
  el_stats_t stats;
  return el_stats(&el, &stats) == EL_OK ? stats.state + stats.arena : 0;
}
