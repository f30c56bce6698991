/* The state in non-volatile memory: a ring of slots, written in turn, so that a cut leaves the old or the new state whole, and pages wear
 * evenly.
 *
 * A slot is as many pages as it takes: magic, sequence number, plan hash, state bytes, CRC-32 over those and the state; then the state. The
 * header goes in last: a slot whose header does not match its state was never finished. What was written is read back, and a slot that did
 * not keep it is passed over. The sequence number counts the saves: each page was erased about as often as it says, over the slots.
 * tests/power cuts the power at every operation. */
#include <string.h>

#include "el_kernel.h"
#include "el_link.h"

#ifdef EL_SMALL
int el_save(el_t *el) { return el && el->plan ? EL_ERR_NO_NV : EL_ERR_ARG; }

int el_load(el_t *el) { return el_save(el); }
#else

#define MAGIC 0x53534C45u /* "ELSS" */
#define HEADER_BYTES 20u
#define CHUNK 32u
#define MOST_SLOTS 16u /* all are looked at before a save: more would take longer than they spare */

static uint32_t slot_bytes(const el_t *el) {
  uint32_t page = el->hal->nv_page;
  return (HEADER_BYTES + el->state_bytes + page - 1) / page * page;
}

static uint8_t slot_count(const el_t *el) {
  uint32_t n = el->hal->nv_bytes / slot_bytes(el);
  return (uint8_t)(n < MOST_SLOTS ? n : MOST_SLOTS);
}

static int usable(const el_t *el) {
  if (!el || !el->plan) return EL_ERR_ARG;
  if (!el->hal || el->hal->nv_bytes == 0 || el->hal->nv_page == 0) return EL_ERR_NO_NV;
  return slot_count(el) < 2 ? EL_ERR_SIZE : EL_OK;
}

static uint32_t start_of(const el_t *el, uint8_t slot) { return slot * slot_bytes(el); }

static int read_at(const el_t *el, uint32_t at, uint8_t *out, uint32_t n) {
  return el->hal->nv_read(el->hal->ctx, at, out, n) ? EL_ERR_NV : EL_OK;
}

static int is_header(const el_t *el, const uint8_t *header) {
  return el_get32(header) == MAGIC && el_get32(header + 8) == el->plan_hash && el_get32(header + 12) == el->state_bytes;
}

/* Does the state in the slot belong to this header? */
static int matches(const el_t *el, uint8_t slot, const uint8_t *header) {
  uint32_t crc = el_crc32(0, header, HEADER_BYTES - 4), start = start_of(el, slot) + HEADER_BYTES;
  uint8_t chunk[CHUNK];
  for (uint32_t off = 0; off < el->state_bytes; off += CHUNK) {
    uint32_t n = el->state_bytes - off < CHUNK ? el->state_bytes - off : CHUNK;
    if (read_at(el, start + off, chunk, n)) return 0;
    crc = el_crc32(crc, chunk, n);
  }
  return crc == el_get32(header + 16);
}

/* The slot with the newest whole state and its header, or -1. Downwards, so that after the first most are older, and no sum is made. */
static int newest(const el_t *el, uint8_t *out_header) {
  int best = -1;
  uint8_t header[HEADER_BYTES];
  for (uint8_t slot = slot_count(el); slot--;) {
    if (read_at(el, start_of(el, slot), header, HEADER_BYTES) || !is_header(el, header)) continue;
    if (best >= 0 && (int32_t)(el_get32(header + 4) - el_get32(out_header + 4)) <= 0) continue;
    if (!matches(el, slot, header)) continue;
    best = slot;
    memcpy(out_header, header, HEADER_BYTES);
  }
  return best;
}

static int erase(const el_t *el, uint8_t slot) {
  const el_hal *hal = el->hal;
  uint32_t at = start_of(el, slot);
  for (const uint32_t end = at + slot_bytes(el); at < end; at += hal->nv_page)
    if (hal->nv_erase(hal->ctx, at)) return EL_ERR_NV;
  return EL_OK;
}

static int program(const el_t *el, uint32_t at) {
  uint32_t whole = el->state_bytes & ~(uint32_t)3, rest = el->state_bytes - whole;
  uint8_t last[4] = {0xFF, 0xFF, 0xFF, 0xFF};
  if (el->hal->nv_prog(el->hal->ctx, at, el->state, whole)) return EL_ERR_NV;
  memcpy(last, el->state + whole, (size_t)rest);
  return rest && el->hal->nv_prog(el->hal->ctx, at + whole, last, 4) ? EL_ERR_NV : EL_OK;
}

static int write_slot(const el_t *el, uint8_t slot, const uint8_t *header) {
  uint32_t at = start_of(el, slot);
  uint8_t kept[HEADER_BYTES];
  int code = erase(el, slot);
  if (!code) code = program(el, at + HEADER_BYTES);
  if (!code && el->hal->nv_prog(el->hal->ctx, at, header, HEADER_BYTES)) code = EL_ERR_NV;
  if (!code) code = read_at(el, at, kept, HEADER_BYTES);
  return code || (memcmp(kept, header, HEADER_BYTES) == 0 && matches(el, slot, header)) ? code : EL_ERR_NV;
}

static int save(const el_t *el) {
  uint8_t header[HEADER_BYTES], count = slot_count(el);
  int now = newest(el, header);
  el_put32(header, MAGIC);
  el_put32(header + 4, now < 0 ? 0 : el_get32(header + 4) + 1);
  el_put32(header + 8, el->plan_hash);
  el_put32(header + 12, el->state_bytes);
  el_put32(header + 16, el_crc32(el_crc32(0, header, HEADER_BYTES - 4), el->state, el->state_bytes));
  int code = EL_ERR_NV;
  for (int next = now + 1, left = now < 0 ? count : count - 1; code && left--; next++) code = write_slot(el, (uint8_t)(next % count), header);
  return code;
}

int el_save(el_t *el) {
  int code = usable(el);
  if (code) return code;
  el_turn_state(el);
  code = save(el);
  el_turn_state(el);
  return code;
}

/* What was summed is read again, and may come out differently: of cells that a cut left half written nothing is sure. */
int el_load(el_t *el) {
  int code = usable(el);
  if (code) return code;
  uint8_t header[HEADER_BYTES];
  uint32_t seed = el_seed(el);
  for (uint8_t tries = slot_count(el); tries--; code = EL_ERR_CRC) {
    int slot = newest(el, header);
    if (slot < 0) break;
    if (read_at(el, start_of(el, (uint8_t)slot) + HEADER_BYTES, el->state, el->state_bytes)) continue;
    if (el_crc32(el_crc32(0, header, HEADER_BYTES - 4), el->state, el->state_bytes) == el_get32(header + 16)) {
      el_turn_state(el);
      return EL_OK;
    }
  }
  if (!code) return EL_ERR_NV;
  el_init_state(el, seed);
  return code;
}
#endif
