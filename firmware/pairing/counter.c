/* Two pages of records, written one after the other. When one page is full the other is erased: a power cut leaves the newest record, or
 * the one before it. A record that a cut has left half written does not match its sum, and its place is passed over. */
#include <string.h>

#include "el_bytes.h"
#include "el_pairing.h"

#define MAGIC 0x43504C45u /* "ELPC" */
#define RECORD 16u        /* magic, sequence, floor, CRC-32 */

static int read_record(const el_counter *c, uint32_t at, uint8_t *out) {
  return c->hal->nv_read(c->hal->ctx, c->pages + at, out, RECORD) ? EL_ERR_NV : EL_OK;
}

static int is_record(const uint8_t *r) { return el_get32(r) == MAGIC && el_get32(r + 12) == el_crc32(0, r, 12); }

static int is_erased(const el_counter *c, uint32_t at) {
  uint8_t r[RECORD];
  if (read_record(c, at, r)) return 0;
  for (uint32_t i = 0; i < RECORD; i++)
    if (r[i] != 0xFF) return 0;
  return 1;
}

void el_counter_open(el_counter *c, const el_hal *hal, el_hal *own) {
  uint8_t r[RECORD];
  *own = *hal;
  c->hal = hal;
  c->kept = hal->nv_bytes != 0 && hal->nv_page >= RECORD;
  if (!c->kept) return;
  own->nv_bytes -= 2 * hal->nv_page;
  c->pages = own->nv_bytes;
  for (uint32_t at = 0; at + RECORD <= 2 * hal->nv_page; at += RECORD) {
    if (read_record(c, at, r) || !is_record(r) || (c->found && el_get32(r + 4) <= c->sequence)) continue;
    c->found = 1;
    c->at = at;
    c->sequence = el_get32(r + 4);
    c->floor = el_get32(r + 8);
  }
}

/* Writes it there and reads it back. */
static int put(const el_counter *c, uint32_t at, const uint8_t *record) {
  uint8_t kept[RECORD];
  if (!is_erased(c, at) || c->hal->nv_prog(c->hal->ctx, c->pages + at, record, RECORD) || read_record(c, at, kept)) return EL_ERR_NV;
  return memcmp(kept, record, RECORD) ? EL_ERR_NV : EL_OK;
}

/* Into the first place from `at` on, within its page, that takes it. */
static int put_from(el_counter *c, uint32_t at, const uint8_t *record) {
  for (const uint32_t end = (at / c->hal->nv_page + 1) * c->hal->nv_page; at + RECORD <= end; at += RECORD)
    if (put(c, at, record) == EL_OK) {
      c->at = at;
      return EL_OK;
    }
  return EL_ERR_NV;
}

static int put_anywhere(el_counter *c, const uint8_t *record) {
  uint32_t page = c->hal->nv_page, other = c->found && c->at < page ? page : 0;
  uint32_t after = c->at + RECORD;
  if (c->found && after % page && put_from(c, after, record) == EL_OK) return EL_OK;
  if (c->hal->nv_erase(c->hal->ctx, c->pages + other)) return EL_ERR_NV;
  return put_from(c, other, record);
}

int el_counter_raise(el_counter *c, uint32_t floor) {
  uint8_t record[RECORD];
  if (c->sequence == 0xFFFFFFFFu) return EL_ERR_NV;
  el_put32(record, MAGIC);
  el_put32(record + 4, c->sequence + 1);
  el_put32(record + 8, floor);
  el_put32(record + 12, el_crc32(0, record, 12));
  if (c->kept && put_anywhere(c, record)) return EL_ERR_NV;
  c->found = c->kept;
  c->sequence++;
  c->floor = floor;
  return EL_OK;
}
