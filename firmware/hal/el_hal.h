/* What the runtime may ask of a board. A port fills in one of these; a NULL function is a thing the board cannot do. */
#ifndef EL_HAL_H
#define EL_HAL_H

#include <stddef.h>
#include <stdint.h>

#include "edgelearn.h" /* EL_ROM: constants that stay in flash */

#define el_rom_u8(p) (*(EL_ROM uint8_t *)(p))
#define el_rom_u16(p) (*(EL_ROM uint16_t *)(p))

/* EL_SMALL: for boards where bytes of RAM count for more than bytes of code and time. They keep no state of their own. */
typedef struct el_hal {
  void *ctx;          /* handed to every call */
  char board[16];     /* id of boards/<id>.toml, zero padded */
  uint8_t chip[8];    /* serial number of this very chip, zero where it has none */
  uint16_t rx_buffer; /* bytes of the receive ring: what the host may send ahead */

  /* Takes up to n received bytes; 0 when there are none now. */
  size_t (*rx)(void *ctx, uint8_t *out, size_t n);
  /* Sends all n bytes, waiting where it must. */
  void (*tx)(void *ctx, const uint8_t *bytes, size_t n);
  /* Received bytes lost so far because the ring was full. */
  uint32_t (*overruns)(void *ctx);

  /* Monotonic microseconds, wrapping; NULL where there is no clock. */
  uint32_t (*now_us)(void *ctx);
  /* Stack: highest number of bytes ever used, found by scanning paint, and its size; NULL where unknown. */
  uint32_t (*stack_used)(void *ctx, uint32_t *out_size);

#ifndef EL_SMALL
  /* Non-volatile memory for two to sixteen copies of the state; nv_bytes 0 where there is none. Erased bytes read 0xFF. */
  uint32_t nv_bytes;
  uint32_t nv_page; /* bytes that are erased at once; nv_bytes is a multiple of twice this */
  int (*nv_read)(void *ctx, uint32_t off, uint8_t *out, uint32_t n);
  int (*nv_erase)(void *ctx, uint32_t off); /* the page that starts there */
  int (*nv_prog)(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n); /* off and n: multiples of 4 */

  struct el_power *power; /* core/el_power.h: a meter in the supply, a pin for one on the bench; NULL: neither */
#endif
} el_hal;

#endif
