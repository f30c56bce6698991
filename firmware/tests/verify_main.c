/* Runs a batch of plans, whole or damaged, the way a board would: what the verifier accepts must stay within its memory.
 *
 * verify FILE. The file is a sequence of u32 size, plan bytes. Prints a line per plan: the code of el_open, or 1 if the
 * plan wrote beyond its state or arena. Every plan, pool and sample, and in a second turn state and arena, lies in a block of exactly its
 * size: with sanitizers on the heap, with GUARD_PAGES at the end of a page that the program does not own, or at its start, where the code
 * is as boards run it. The first access beyond ends the program. */
#define _DEFAULT_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef GUARD_PAGES
#include <sys/mman.h>
#endif

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

#ifdef GUARD_PAGES
#define PAGE ((size_t)4096)
#define ALIGN 8u /* so that up to 7 bytes lie between a block's end and the page's: they are painted */
#define PAINT 0x5A

static int at_page_start; /* where blocks lie now */

static size_t pages_of(size_t n) { return (n + PAGE - 1) / PAGE * PAGE + (n == 0 ? PAGE : 0); }

static uint8_t *block(size_t n) {
  size_t room = pages_of(n);
  uint8_t *all = mmap(NULL, room + 2 * PAGE, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0), *pages = all + PAGE;
  if (all == MAP_FAILED || mprotect(pages, room, PROT_READ | PROT_WRITE)) exit(2);
  memset(pages, PAINT, room);
  return at_page_start ? pages : pages + room - (n + ALIGN - 1) / ALIGN * ALIGN;
}

static void release(uint8_t *bytes, size_t n) {
  uint8_t *pages = (uint8_t *)((uintptr_t)bytes & ~(uintptr_t)(PAGE - 1));
  for (uint8_t *p = pages; p < pages + pages_of(n); p++)
    if ((p < bytes || p >= bytes + n) && *p != PAINT) abort();
  munmap(pages - PAGE, pages_of(n) + 2 * PAGE);
}
#else
static uint8_t *block(size_t n) {
  uint8_t *bytes = malloc(n ? n : 1);
  if (!bytes) exit(2);
  return bytes;
}

static void release(uint8_t *bytes, size_t n) {
  (void)n;
  free(bytes);
}
#endif

static void use(el_t *el) {
  uint8_t *sample = block(el_input_bytes(el));
  for (int round = 0; round < ROUNDS; round++) {
    uint16_t guess, last = (uint16_t)(el_classes(el) - 1);
    fill(sample, el_input_bytes(el));
    el_learn(el, sample, round ? last : 0, &guess);
    el_infer(el, sample, &guess);
  }
  release(sample, el_input_bytes(el));
}

/* The link can write any state: it may be nonsense, but not a way out. */
static void use_with_any_state(el_t *el) {
  fill(el->state, el->state_bytes);
  use(el);
}

/* State and arena each in a block of their own: what goes from one into the other is not seen where they are neighbours. */
static void use_apart(el_t *el) {
  uint8_t *state = block(el->state_bytes), *arena = block(el->arena_bytes);
  memcpy(state, el->state, el->state_bytes);
  el->state = state;
  el->arena = arena;
  use(el);
  use_with_any_state(el);
  release(state, el->state_bytes);
  release(arena, el->arena_bytes);
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
    code = within_bounds(&el) ? EL_OK : WROTE_BEYOND;
    use_apart(&el);
#ifdef GUARD_PAGES
    at_page_start = !at_page_start;
    use_apart(&el);
#endif
  }
  release(pool, pool_bytes);
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
    release(plan, n);
  }
  fclose(file);
  return 0;
}
