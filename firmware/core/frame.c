/* Frames on the line: COBS, ended by a zero byte, CRC-32 inside. Decoded as the bytes arrive and encoded as they leave,
 * so that one buffer each way is enough. */
#include "el_bytes.h"
#include "el_link.h"

#define CRC_BYTES 4
#define HEADER_BYTES 4 /* type, seq, length */
#define COBS_FULL 0xFF /* a block of 254 bytes that no zero follows */

/* One entry per nibble: 64 bytes of flash instead of 1 KB, for half the speed. */
static EL_ROM uint32_t crc_table[16] = {
    0x00000000, 0x1db71064, 0x3b6e20c8, 0x26d930ac, 0x76dc4190, 0x6b6b51f4, 0x4db26158, 0x5005713c,
    0xedb88320, 0xf00f9344, 0xd6d6a3e8, 0xcb61b38c, 0x9b64c2b0, 0x86d3d2d4, 0xa00ae278, 0xbdbdf21c,
};

uint32_t el_crc32(uint32_t crc, const uint8_t *bytes, uint32_t n) {
  crc = ~crc;
  while (n--) {
    crc ^= *bytes++;
    crc = crc >> 4 ^ crc_table[crc & 15];
    crc = crc >> 4 ^ crc_table[crc & 15];
  }
  return ~crc;
}

static void keep(el_link *link, uint8_t byte) {
  if (link->rx_len < sizeof link->rx) link->rx[link->rx_len++] = byte;
  else link->rx_bad = 1;
}

/* What stands between two zero bytes is a frame, nothing at all (the host's extra zeros), or damaged. */
static uint16_t finish(el_link *link) {
  uint16_t n = link->rx_len;
  uint8_t empty = link->rx_code == 0;
  uint8_t whole = !link->rx_bad && link->rx_left == 0 && n >= HEADER_BYTES + CRC_BYTES;
  link->rx_code = link->rx_left = link->rx_bad = 0;
  link->rx_len = 0;
  if (empty) return 0;
  n = (uint16_t)(n - CRC_BYTES);
  if (whole && el_get16(link->rx + 2) == n - HEADER_BYTES && el_get32(link->rx + n) == el_crc32(0, link->rx, n)) return n;
  link->bad_frames++;
  return 0;
}

uint16_t el_frame_feed(el_link *link, uint8_t byte) {
  if (byte == 0) return finish(link);
  if (link->rx_left) {
    link->rx_left--;
    keep(link, byte);
    return 0;
  }
  /* A block begins. The one before it stood for its bytes and a zero, unless it was a full one. */
  if (link->rx_code != 0 && link->rx_code != COBS_FULL) keep(link, 0);
  link->rx_code = byte;
  link->rx_left = (uint8_t)(byte - 1);
  return 0;
}

/* Bytes before the next zero, at most a full block. */
static uint8_t run_length(const uint8_t *bytes, uint16_t n) {
  uint8_t run = 0;
  while (run < COBS_FULL - 1 && run < n && bytes[run]) run++;
  return run;
}

void el_frame_send(el_link *link, uint16_t n) {
  const el_hal *hal = link->hal;
  uint8_t code;
  uint16_t at = 0;
  el_put32(link->tx + n, el_crc32(0, link->tx, n));
  n = (uint16_t)(n + CRC_BYTES);
  do { /* a zero is imagined after the last byte, so that every block but a full one ends at one */
    uint8_t run = run_length(link->tx + at, (uint16_t)(n - at));
    code = (uint8_t)(run + 1);
    hal->tx(hal->ctx, &code, 1);
    if (run) hal->tx(hal->ctx, link->tx + at, run);
    at = (uint16_t)(at + run + (code != COBS_FULL));
  } while (at < n || (at == n && code != COBS_FULL));
  code = 0;
  hal->tx(hal->ctx, &code, 1);
}
