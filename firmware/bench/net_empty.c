/* A network that does nothing: its image's size is what the others do not owe to their network. */
#include "bench_data.h"
#include "bench_net.h"

#ifdef BENCH_EXPF
#include <math.h>
static volatile float sink; /* pulls in expf, for images that call it too */
int net_init(uint32_t seed) {
  sink = expf((float)seed);
  return 0;
}
#else
int net_init(uint32_t seed) {
  (void)seed;
  return 0;
}
#endif

void net_train(const uint8_t *sample, uint16_t label) {
  (void)sample;
  (void)label;
}

uint16_t net_infer(const uint8_t *sample) { return sample[0]; }

uint32_t net_state_bytes(void) { return 0; }
