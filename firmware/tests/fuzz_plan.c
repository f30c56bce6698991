/* Fuzzes the plan verifier. The input is a plan; its size and CRC are made right first, so that the rest of the verifier is reached.
 * What it accepts is run, with state and arena each in a block of its own. */
#include "el_bytes.h"
#include "el_core.h"
#include "el_plan.h"
#include "el_link.h"
#include "fuzz.h"

#define LARGEST (1u << 16) /* of state and arena: larger ones would only be slow */
#define MOST_OPS 64u       /* the same */
#define LOWEST_CODE EL_ERR_PLAN_FIXED

static void seal(uint8_t *plan, uint32_t n) {
  if (n < EL_HEADER_BYTES + 4) return;
  el_put32(plan + EL_HEADER_TOTAL_BYTES, n);
  el_put32(plan + n - 4, el_crc32(0, plan, n - 4));
}

static int is_quick(const uint8_t *plan) {
  return el_plan_state_bytes(plan) <= LARGEST && el_plan_arena_bytes(plan) <= LARGEST &&
         el_get16(plan + EL_HEADER_N_INFER) <= MOST_OPS && el_get16(plan + EL_HEADER_N_LEARN) <= MOST_OPS;
}

static void use(el_t *el, uint8_t fill) {
  uint32_t n = el_input_bytes(el);
  uint8_t *sample = fuzz_block(n);
  uint16_t guess;
  memset(sample, fill, n);
  fuzz_demand(el_learn(el, sample, 0, &guess) == EL_OK, "a verified plan learns");
  fuzz_demand(el_infer(el, sample, &guess) == EL_OK, "a verified plan infers");
  free(sample);
}

/* First with the state that the plan makes, then with one that it would not. */
static void run(el_t *el, uint8_t fill) {
  uint8_t *state = fuzz_block(el->state_bytes), *arena = fuzz_block(el->arena_bytes);
  el->state = state;
  el->arena = arena;
  el_init_state(el, fill);
  memset(arena, fill, el->arena_bytes);
  use(el, fill);
  for (uint32_t i = 0; i < el->state_bytes; i++) state[i] = (uint8_t)(i * 37u ^ fill);
  use(el, (uint8_t)~fill);
  free(state);
  free(arena);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t n) {
  uint8_t *plan = fuzz_block(n);
  el_t el;
  if (n > LARGEST) return 0;
  memcpy(plan, bytes, n);
  seal(plan, (uint32_t)n);
  int code = el_verify(plan, (uint32_t)n, NULL);
  fuzz_demand(code <= EL_OK && code >= LOWEST_CODE && code != EL_ERR_CRC, "a code of its own");
  if (code == EL_OK && is_quick(plan)) {
    uint32_t pool_bytes = ((el_plan_state_bytes(plan) + 7) & ~7u) + el_plan_arena_bytes(plan) + 8;
    uint8_t *pool = fuzz_block(pool_bytes);
    fuzz_demand(el_open(&el, NULL, plan, n, pool, pool_bytes, 3) == EL_OK, "a verified plan is taken");
    run(&el, n ? bytes[n - 1] : 0);
    free(pool);
  }
  free(plan);
  return 0;
}
