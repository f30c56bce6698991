/* The flash behind the RP2040, for two copies of the state. */
#ifndef EL_RP2040_NV_H
#define EL_RP2040_NV_H

#include <stdint.h>

/* See el_hal.h. */
int hal_nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n);
int hal_nv_erase(void *ctx, uint32_t off);
int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n);

#endif
