/* The smallest application that uses the whole life of a network: what a compiled-in image costs is measured on it. */
#include "edgelearn.h"

extern const uint8_t el_app_plan[];
extern const uint32_t el_app_plan_bytes;
extern uint8_t __pool_start[], __pool_end[];

static el_t el;
static const int8_t sample[64];

int main(void) {
  uint16_t guess;
  el_stats_t stats;
  if (el_open(&el, NULL, el_app_plan, el_app_plan_bytes, __pool_start, (size_t)(__pool_end - __pool_start), 1)) return 1;
  for (;;)
    if (el_learn(&el, sample, 0, &guess) || el_infer(&el, sample, &guess) || el_stats(&el, &stats)) return 1;
}
