/* The state in non-volatile memory: two slots, written in turn, so that a cut leaves the old or the new one whole.
 *
 * A slot is magic, sequence number, plan hash, state bytes, CRC-32 over those and the state; then the state. The header goes in last: a slot
 * whose header does not match its state was never finished. */
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

static uint32_t slot_off(const el_hal *hal, uint8_t slot) { return slot ? hal->nv_bytes / 2 : 0; }

static int usable(const el_t *el) {
  if (!el || !el->plan) return EL_ERR_ARG;
  if (!el->hal || el->hal->nv_bytes == 0) return EL_ERR_NO_NV;
  return el->state_bytes > el->hal->nv_bytes / 2 - HEADER_BYTES ? EL_ERR_SIZE : EL_OK;
}

static int header_of(const el_t *el, uint8_t slot, uint8_t *out) {
  const el_hal *hal = el->hal;
  if (hal->nv_read(hal->ctx, slot_off(hal, slot), out, HEADER_BYTES)) return 0;
  return el_get32(out) == MAGIC && el_get32(out + 8) == el->plan_hash && el_get32(out + 12) == el->state_bytes;
}

/* CRC over the header's fields and the state as it stands in the slot. */
static uint32_t slot_crc(const el_t *el, uint8_t slot, const uint8_t *header) {
  uint32_t crc = el_crc32(0, header, HEADER_BYTES - 4);
  uint8_t chunk[CHUNK];
  for (uint32_t off = 0; off < el->state_bytes; off += CHUNK) {
    uint32_t n = el->state_bytes - off < CHUNK ? el->state_bytes - off : CHUNK;
    if (el->hal->nv_read(el->hal->ctx, slot_off(el->hal, slot) + HEADER_BYTES + off, chunk, n)) return 0;
    crc = el_crc32(crc, chunk, n);
  }
  return crc;
}

/* The slot with the newest whole state, or -1; its sequence number. */
static int newest(const el_t *el, uint32_t *out_sequence) {
  int best = -1;
  uint8_t header[HEADER_BYTES];
  for (uint8_t slot = 0; slot < 2; slot++) {
    if (!header_of(el, slot, header) || slot_crc(el, slot, header) != el_get32(header + 16)) continue;
    uint32_t sequence = el_get32(header + 4);
    if (best < 0 || (int32_t)(sequence - *out_sequence) > 0) {
      best = slot;
      *out_sequence = sequence;
    }
  }
  return best;
}

static int erase(const el_hal *hal, uint8_t slot) {
  for (uint32_t off = 0; off < hal->nv_bytes / 2; off += hal->nv_page)
    if (hal->nv_erase(hal->ctx, slot_off(hal, slot) + off)) return EL_ERR_NV;
  return EL_OK;
}

static int program(const el_t *el, uint32_t at) {
  uint32_t whole = el->state_bytes & ~(uint32_t)3, rest = el->state_bytes - whole;
  uint8_t last[4] = {0xFF, 0xFF, 0xFF, 0xFF};
  if (el->hal->nv_prog(el->hal->ctx, at, el->state, whole)) return EL_ERR_NV;
  memcpy(last, el->state + whole, (size_t)rest);
  return rest && el->hal->nv_prog(el->hal->ctx, at + whole, last, 4) ? EL_ERR_NV : EL_OK;
}

int el_save(el_t *el) {
  int code = usable(el);
  if (code) return code;
  uint32_t sequence = 0;
  int now = newest(el, &sequence);
  uint8_t slot = now == 0 ? 1 : 0, header[HEADER_BYTES];
  const el_hal *hal = el->hal;
  el_put32(header, MAGIC);
  el_put32(header + 4, now < 0 ? 0 : sequence + 1);
  el_put32(header + 8, el->plan_hash);
  el_put32(header + 12, el->state_bytes);
  el_put32(header + 16, el_crc32(el_crc32(0, header, HEADER_BYTES - 4), el->state, el->state_bytes));
  code = erase(hal, slot);
  if (!code) code = program(el, slot_off(hal, slot) + HEADER_BYTES);
  if (!code && hal->nv_prog(hal->ctx, slot_off(hal, slot), header, HEADER_BYTES)) code = EL_ERR_NV;
  return code;
}

int el_load(el_t *el) {
  int code = usable(el);
  if (code) return code;
  uint32_t sequence = 0;
  int slot = newest(el, &sequence);
  if (slot < 0) return EL_ERR_NV;
  return el->hal->nv_read(el->hal->ctx, slot_off(el->hal, (uint8_t)slot) + HEADER_BYTES, el->state, el->state_bytes) ? EL_ERR_NV : EL_OK;
}
#endif
