/* Cuts the power at every flash operation of el_save, once and twice, and looks at what el_load brings back: always the old or the new
 * state, whole. Then flash that wears out: pages that fail, bits that stick, bits that turn.
 *
 * power PLAN NV_BYTES PAGE_BYTES ORDER STRIDE. The plan says how large the state is; ORDER (0 forward, 1 backward, 2 shuffled) is in what order
 * the words of one nv_prog get there; of the bits of the flash every STRIDE-th sticks. Prints lines
 * "name: tries, other, gone, damaged"; see tests/power/test_checkpoint.py. The flash has the rules of edgelearn/testing/power_cut.py. */
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "el_bytes.h"
#include "el_core.h"
#include "el_link.h"

#define MOST_FLASH (256u * 1024)
#define MOST_STATE (64u * 1024)
#define WORD 4u
#define HEADER_BYTES 20u /* of a slot */
#define NEVER 0xFFFFFFFFu

enum { NOTHING, HALF, ALL, UNSURE, WAYS }; /* what the operation that was cut has done; UNSURE: all but a bit that each read tells otherwise */
enum { FORWARD, BACKWARD, SHUFFLED };
enum { SOUND, ERASE_FAILS, PROGRAM_FAILS, PROGRAM_IS_LOST, DEFECTS };

static struct {
  uint8_t bytes[MOST_FLASH];
  uint8_t unsure[MOST_FLASH]; /* bits that no one can rely on */
  uint8_t programmed[MOST_FLASH / WORD]; /* since the page was erased */
} flash, saved[2];

static uint32_t nv_bytes, page_bytes, order, noise = 1;
static uint32_t operations, cut_at = NEVER, cut_how;
static uint32_t bad_page = NEVER, defect;
static uint32_t stuck_at = NEVER;
static uint8_t stuck_bits, stuck_value;
static uint32_t wear[MOST_FLASH / 64], rule_breaks;
static jmp_buf dead;

static uint32_t any(void) { return (noise = noise * 1664525u + 1013904223u) >> 8; }

static void stick(void) {
  if (stuck_at != NEVER) flash.bytes[stuck_at] = (uint8_t)((flash.bytes[stuck_at] & ~stuck_bits) | (stuck_value & stuck_bits));
}

/* Counts an operation; how much of it gets done. */
static uint32_t power(void) { return operations++ == cut_at ? cut_how : ALL; }

static void after(void) {
  stick();
  if (operations > cut_at) longjmp(dead, 1);
}

static int nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n) {
  (void)ctx;
  if (off > nv_bytes || n > nv_bytes - off) exit(3);
  for (uint32_t i = 0; i < n; i++) out[i] = (uint8_t)(flash.bytes[off + i] ^ (flash.unsure[off + i] ? any() & flash.unsure[off + i] : 0));
  return EL_OK;
}

/* One of the bits, or none if there are none. */
static uint8_t one_of(uint8_t bits) {
  for (uint32_t left = 8, i = any(); left--; i++)
    if (bits >> i % 8 & 1) return (uint8_t)(1u << i % 8);
  return 0;
}

static void erase_byte(uint32_t at, uint32_t how) {
  uint8_t some = (uint8_t)any();
  if (how == ALL || how == UNSURE) flash.bytes[at] = 0xFF;
  else if (how == HALF) flash.bytes[at] |= some;
  flash.unsure[at] = how == UNSURE ? one_of(0xFF) : how == NOTHING ? flash.unsure[at] : 0;
}

static int nv_erase(void *ctx, uint32_t off) {
  uint32_t how = power();
  (void)ctx;
  if (off % page_bytes || off >= nv_bytes) exit(3);
  wear[off / page_bytes]++;
  if (off / page_bytes == bad_page && defect == ERASE_FAILS) return EL_ERR_NV;
  for (uint32_t i = 0; i < page_bytes; i++) erase_byte(off + i, how);
  if (how == ALL) memset(flash.programmed + off / WORD, 0, page_bytes / WORD);
  after();
  return EL_OK;
}

static void program_word(uint32_t at, const uint8_t *word, uint32_t how) {
  uint16_t some = (uint16_t)any();
  if (flash.programmed[at / WORD]++) rule_breaks++;
  for (uint32_t i = 0; i < WORD; i++) {
    uint8_t before = flash.bytes[at + i], spared = how == NOTHING ? 0xFF : how == HALF ? (uint8_t)(some >> 4 * i) : 0;
    if (word[i] & ~before) rule_breaks++; /* a one where a zero is: only an erase brings it */
    flash.bytes[at + i] = before & (word[i] | spared);
    if (how == UNSURE && i == some % WORD) flash.unsure[at + i] = one_of((uint8_t)(before & ~word[i]));
  }
}

static uint32_t place(uint32_t i, uint32_t n, uint32_t turn) {
  return order == FORWARD ? i : order == BACKWARD ? n - 1 - i : (uint32_t)(((uint64_t)i * 7919 + turn) % n); /* 7919: a prime */
}

static int nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  uint32_t words = n / WORD, turn = any();
  (void)ctx;
  if (off % WORD || n % WORD || off > nv_bytes || n > nv_bytes - off || words % 7919 == 0) exit(words ? 3 : 4);
  for (uint32_t i = 0; i < words; i++) {
    uint32_t at = WORD * place(i, words, turn), how = power();
    int is_bad = (off + at) / page_bytes == bad_page;
    if (is_bad && defect == PROGRAM_FAILS) return EL_ERR_NV;
    if (!is_bad || defect != PROGRAM_IS_LOST) program_word(off + at, bytes + at, how);
    after();
  }
  return EL_OK;
}

/* --- a board and its states: numbered, made from their number ------------------------------------------------------------ */

static el_hal hal = {.board = "sim", .nv_read = nv_read, .nv_erase = nv_erase, .nv_prog = nv_prog};
static el_t el;
static uint32_t slots, slot_bytes;

static uint8_t byte_of(uint32_t number, uint32_t i) {
  uint32_t x = (number + 1) * 2654435761u + i * 40503u;
  x ^= x >> 15;
  x *= 2246822519u;
  return i % 16 == 3 ? 0xFF : i % 16 == 9 ? 0 : (uint8_t)(x >> 24);
}

static void set_state(uint32_t number) {
  for (uint32_t i = 0; i < el.state_bytes; i++) el.state[i] = byte_of(number, i);
}

static int is_state(uint32_t number) {
  for (uint32_t i = 0; i < el.state_bytes; i++)
    if (el.state[i] != byte_of(number, i)) return 0;
  return 1;
}

static void blank(void) {
  memset(&flash, 0, sizeof flash);
  memset(flash.bytes, 0xFF, sizeof flash.bytes);
  stick();
}

/* Saves state `number`, and dies on the way if there is a cut; EL_OK or what el_save said. */
static int save(uint32_t number) {
  operations = 0;
  set_state(number);
  return setjmp(dead) ? EL_ERR_NV : el_save(&el);
}

static int load(void) {
  cut_at = NEVER;
  memset(el.state, 0xEE, el.state_bytes);
  return el_load(&el);
}

/* Saves states 1 to `number`. */
static void history(uint32_t number) {
  blank();
  for (uint32_t i = 1; i <= number; i++)
    if (save(i)) exit(5);
}

static uint32_t operations_of_save(uint32_t number) {
  saved[1] = flash;
  if (save(number)) exit(5);
  flash = saved[1];
  return operations;
}

enum { KEPT, OTHER, GONE, DAMAGED, ENDS }; /* OTHER: whole, but neither of the two */

typedef struct tally {
  uint32_t tries, ends[ENDS];
} tally;

static void print(const char *name, tally t) {
  printf("%s: %u, %u, %u, %u\n", name, t.tries, t.ends[OTHER], t.ends[GONE], t.ends[DAMAGED]);
}

static void count(tally *t, int end) {
  t->tries++;
  t->ends[end]++;
}

static void add(tally *t, tally more) {
  t->tries += more.tries;
  for (int end = 0; end < ENDS; end++) t->ends[end] += more.ends[end];
}

/* What is there after the power came back, of states `old` (0: there was none) and `fresh`; which of them, if it is one. */
static int survivor(uint32_t old, uint32_t fresh, uint32_t *out) {
  int code = load();
  *out = code == EL_OK && is_state(fresh) ? fresh : old;
  if (code != EL_OK) return code == EL_ERR_NV && old == 0 ? KEPT : GONE;
  if (*out && is_state(*out)) return KEPT;
  for (uint32_t number = 1; number < fresh; number++)
    if (is_state(number)) return OTHER;
  return DAMAGED;
}

/* Can the board go on as if nothing had been? */
static int saves(uint32_t number) { return save(number) == EL_OK && load() == EL_OK && is_state(number) ? KEPT : DAMAGED; }


/* --- power cuts ------------------------------------------------------------------------------------------------------------ */

/* At every operation of a save; afterwards the board can save and load as before. */
static tally single(uint32_t number, uint32_t first_way, uint32_t ways) {
  tally t = {0, {0}};
  uint32_t now, n = operations_of_save(number + 1);
  saved[0] = flash;
  for (uint32_t at = 0; at < n; at++)
    for (uint32_t way = first_way; way < ways; way++) {
      flash = saved[0];
      cut_at = at, cut_how = way;
      save(number + 1);
      int end = survivor(number, number + 1, &now);
      count(&t, end == KEPT ? saves(number + 2) : end);
    }
  flash = saved[0];
  return t;
}

static tally all_seconds(uint32_t old, uint32_t fresh, uint32_t first_way, uint32_t ways) {
  static uint8_t before[sizeof flash];
  tally t = {0, {0}};
  uint32_t now, n = operations_of_save(fresh);
  memcpy(before, &flash, sizeof flash);
  for (uint32_t at = 0; at < n; at++)
    for (uint32_t way = first_way; way < ways; way++) {
      memcpy(&flash, before, sizeof flash);
      cut_at = at, cut_how = way;
      save(fresh);
      count(&t, survivor(old, fresh, &now));
    }
  return t;
}

static tally twice(uint32_t number, uint32_t first_way, uint32_t ways) {
  tally t = {0, {0}};
  uint32_t now, n = operations_of_save(number + 1);
  saved[0] = flash;
  for (uint32_t at = 0; at < n; at++)
    for (uint32_t way = first_way; way < ways; way++) {
      flash = saved[0];
      cut_at = at, cut_how = way;
      save(number + 1);
      if (survivor(number, number + 1, &now) != KEPT) exit(6);
      add(&t, all_seconds(now, number + 2, first_way, ways));
    }
  return t;
}

/* From every place of the ring, the empty one first. */
static tally everywhere(void) {
  tally t = {0, {0}};
  for (uint32_t number = 0; number <= slots + 1; number++) {
    history(number);
    add(&t, single(number, NOTHING, UNSURE));
  }
  return t;
}

/* Gives the newest slot's sequence number the value, as if so many saves had been. */
static void renumber(uint32_t slot, uint32_t sequence) {
  uint8_t *header = flash.bytes + slot * slot_bytes;
  el_put32(header + 4, sequence);
  el_put32(header + 16, el_crc32(el_crc32(0, header, 16), header + HEADER_BYTES, el.state_bytes));
}

static tally wrap(void) {
  tally t = {0, {0}};
  for (uint32_t left = 0; left < 2 * slots; left++) {
    history(1);
    renumber(0, 0xFFFFFFFFu - left);
    for (uint32_t number = 2; number <= left + 2; number++) count(&t, saves(number));
    add(&t, single(left + 2, NOTHING, UNSURE));
  }
  return t;
}

/* --- a flash that wears out ------------------------------------------------------------------------------------------------ */

static uint32_t refused;

/* A save that is refused leaves the old state; one that is not has saved. */
static tally live(uint32_t times) {
  tally t = {0, {0}};
  uint32_t old = 0, now;
  for (uint32_t number = 1; number <= times; number++) {
    int ok = save(number) == EL_OK;
    refused += !ok;
    if (ok) old = number;
    count(&t, survivor(old, old, &now));
  }
  return t;
}

static tally bad_pages(void) {
  tally t = {0, {0}};
  for (defect = SOUND + 1; defect < DEFECTS; defect++)
    for (bad_page = 0; bad_page < nv_bytes / page_bytes; bad_page++) {
      blank();
      add(&t, live(3 * slots));
    }
  bad_page = NEVER;
  return t;
}

static tally stuck_bits_everywhere(uint32_t stride) {
  tally t = {0, {0}};
  for (uint32_t bit = 0; bit < 8 * slots * slot_bytes; bit += stride)
    for (uint8_t value = 0; value < 2; value++) {
      stuck_at = bit / 8, stuck_bits = (uint8_t)(1u << bit % 8), stuck_value = value ? 0xFF : 0;
      if (stuck_at % slot_bytes >= HEADER_BYTES + el.state_bytes) continue;
      blank();
      add(&t, live(slots + 1));
    }
  stuck_at = NEVER;
  return t;
}

/* Bits that turn in a state that was saved: the one before is taken, never the damaged one. */
static tally rot(void) {
  tally t = {0, {0}};
  history(slots + 2);
  uint32_t slot = (slots + 1) % slots;
  for (uint32_t bit = 0; bit < 8 * (HEADER_BYTES + el.state_bytes); bit++) {
    uint8_t *byte = flash.bytes + slot * slot_bytes + bit / 8;
    *byte ^= (uint8_t)(1u << bit % 8);
    count(&t, load() == EL_OK && is_state(slots + 1) ? KEPT : DAMAGED);
    *byte ^= (uint8_t)(1u << bit % 8);
  }
  return t;
}

static void print_wear(uint32_t times) {
  uint32_t most = 0, least = NEVER, pages = slots * slot_bytes / page_bytes;
  memset(wear, 0, sizeof wear);
  history(times);
  for (uint32_t i = 0; i < pages; i++) most = wear[i] > most ? wear[i] : most, least = wear[i] < least ? wear[i] : least;
  printf("wear: %u, %u, %u, %u, %u\n", times, pages, slots, least, most);
}

static uint8_t plan[MOST_STATE];
static _Alignas(8) uint8_t pool[2 * MOST_STATE];

static void start(const char *path) {
  FILE *file = fopen(path, "rb");
  size_t n = file ? fread(plan, 1, sizeof plan, file) : 0;
  hal.nv_bytes = nv_bytes, hal.nv_page = page_bytes;
  if (nv_bytes > MOST_FLASH || !n || el_open(&el, &hal, plan, n, pool, sizeof pool, 7)) exit(2);
  fclose(file);
  slot_bytes = (HEADER_BYTES + el.state_bytes + page_bytes - 1) / page_bytes * page_bytes;
  slots = nv_bytes / slot_bytes < 16 ? nv_bytes / slot_bytes : 16;
}

int main(int argc, char **argv) {
  if (argc != 6) return 2;
  nv_bytes = (uint32_t)atoi(argv[2]), page_bytes = (uint32_t)atoi(argv[3]), order = (uint32_t)atoi(argv[4]);
  uint32_t stride = (uint32_t)atoi(argv[5]);
  start(argv[1]);
  print("every place of the ring", everywhere());
  history(slots + 1);
  print("single", single(slots + 1, NOTHING, UNSURE));
  print("double", twice(slots + 1, NOTHING, UNSURE));
  history(slots + 1);
  print("single, unsure", single(slots + 1, UNSURE, WAYS));
  print("double, unsure", twice(slots + 1, UNSURE, WAYS));
  print("wrap", wrap());
  printf("rules: %u\n", rule_breaks);
  print("bad pages", bad_pages());
  print("stuck bits", stuck_bits_everywhere(stride));
  print("turned bits", rot());
  print_wear(1000);
  printf("refused: %u\n", refused);
  return 0;
}
