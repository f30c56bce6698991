/* What a driver needs of an I2C bus: the port's, or Arduino's Wire. */
#ifndef EL_I2C_H
#define EL_I2C_H

#include <stdint.h>

/* 0, or negative: nobody answered, or the bus is stuck. Neither waits longer than a few milliseconds. */
typedef struct el_i2c {
  int (*i2c_write)(void *ctx, uint8_t address, const uint8_t *bytes, uint8_t n);
  /* Writes `reg`, then, after a repeated start, reads n bytes. */
  int (*i2c_read)(void *ctx, uint8_t address, uint8_t reg, uint8_t *out, uint8_t n);
  void *ctx;
} el_i2c;

#endif
