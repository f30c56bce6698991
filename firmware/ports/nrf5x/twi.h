/* The two-wire interface TWI0 (TWI without EasyDMA), as a bus for meters. */
#ifndef EL_TWI_H
#define EL_TWI_H

#include <stdint.h>

/* Both pins get the chip's own pull-ups, of 13 kilohms: enough for short wires, the meter's board has stronger ones. */
void twi_open(uint32_t scl, uint32_t sda);

/* el_i2c.i2c_write and i2c_read. */
int i2c_twi_write(void *ctx, uint8_t address, const uint8_t *bytes, uint8_t n);
int i2c_twi_read(void *ctx, uint8_t address, uint8_t reg, uint8_t *out, uint8_t n);

#endif
