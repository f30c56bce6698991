/* Runs a batch of plans, whole or damaged, the way a board would: what the verifier accepts must stay within its memory.
 *
 * verify FILE. The file is a sequence of u32 size, plan bytes. Prints a line per plan: the code of el_open, or 1 if the
 * plan wrote beyond its state or arena. Built with sanitizers, which end the program at the first access that is not
 * allowed: every plan, pool and sample lies in a heap block of exactly its size. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "el_bytes.h"
#include "el_core.h"
#include "el_plan.h"

#define LARGEST_POOL (1u << 20)
#define GAPS 512u /* painted, half of it behind the state, half behind the arena: el_stats sees writes there */
#define ROUNDS 2
#define WROTE_BEYOND 1

static uint32_t noise = 1;

static void fill(uint8_t *bytes, uint32_t n) {
  for (uint32_t i = 0; i < n; i++) bytes[i] = (uint8_t)((noise = noise * 1664525u + 1013904223u) >> 24);
}

static uint8_t *block(size_t n) {
  uint8_t *bytes = malloc(n ? n : 1);
  if (!bytes) exit(2);
  return bytes;
}

static void use(el_t *el) {
  uint8_t *sample = block(el_input_bytes(el));
  for (int round = 0; round < ROUNDS; round++) {
    uint16_t guess, last = (uint16_t)(el_classes(el) - 1);
    fill(sample, el_input_bytes(el));
    el_learn(el, sample, round ? last : 0, &guess);
    el_infer(el, sample, &guess);
  }
  free(sample);
}

/* The link can write any state: it may be nonsense, but not a way out. */
static void use_with_any_state(el_t *el) {
  fill(el->state, el->state_bytes);
  use(el);
}

static int within_bounds(el_t *el) {
  el_stats_t seen;
  return el_stats(el, &seen) == EL_OK && seen.state <= el->state_bytes && seen.arena <= el->arena_bytes;
}

static uint32_t pool_for(const uint8_t *plan, uint32_t n) {
  if (n < EL_HEADER_BYTES) return GAPS;
  uint32_t state = el_plan_state_bytes(plan), arena = el_plan_arena_bytes(plan);
  return state > LARGEST_POOL || arena > LARGEST_POOL ? LARGEST_POOL : ((state + 7) & ~7u) + arena + GAPS;
}

static int try_plan(const uint8_t *plan, uint32_t n) {
  uint32_t pool_bytes = pool_for(plan, n);
  uint8_t *pool = block(pool_bytes);
  el_t el;
  int code = el_open(&el, NULL, plan, n, pool, pool_bytes, 7);
  if (code == EL_OK) {
    use(&el);
    use_with_any_state(&el);
    code = within_bounds(&el) ? EL_OK : WROTE_BEYOND;
  }
  free(pool);
  return code;
}

int main(int argc, char **argv) {
  FILE *file = argc == 2 ? fopen(argv[1], "rb") : NULL;
  uint8_t size[4];
  if (!file) return 2;
  while (fread(size, 1, sizeof size, file) == sizeof size) {
    uint32_t n = el_get32(size);
    uint8_t *plan = block(n);
    if (fread(plan, 1, n, file) != n) return 2;
    printf("%d\n", try_plan(plan, n));
    fflush(stdout);
    free(plan);
  }
  fclose(file);
  return 0;
}
