/* Classifies samples from standard input with an exported plan: one label a line. -DLEARNT starts from the state beside it. */
#include <stdio.h>

#include PLAN_HEADER

static _Alignas(8) uint8_t pool[EL_APP_POOL_BYTES];
static int8_t sample[EL_APP_INPUTS];
static el_t el;

static int refusals(void) {
  if (el_open(&el, NULL, el_app_plan, el_app_plan_bytes, pool, sizeof pool - 1, 1) != EL_ERR_MEMORY) return 1;
#ifdef LEARNT
  if (el_start(&el, el_app_state, el_app_state_bytes) != EL_ERR_ARG) return 2; /* not open */
#endif
  if (el_open(&el, NULL, el_app_plan, el_app_plan_bytes, pool, sizeof pool, 1)) return 3;
#ifdef LEARNT
  if (el_start(&el, el_app_state, el_app_state_bytes - 1) != EL_ERR_SIZE) return 4;
#endif
  return 0;
}

int main(void) {
  uint16_t guess;
  int code = refusals();
  if (code) return code;
#ifdef LEARNT
  if (el_app_state_bytes != EL_APP_STATE_BYTES || el_start(&el, el_app_state, el_app_state_bytes)) return 5;
#endif
  while (fread(sample, sizeof sample, 1, stdin) == 1) {
    if (el_infer(&el, sample, &guess) || guess >= EL_APP_CLASSES) return 6;
    printf("%u\n", (unsigned)guess);
  }
  return 0;
}
