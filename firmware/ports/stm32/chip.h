/* What differs between the series of STM32: clock tree, pins and flash. f1.c and f4.c; the board file says EL_SERIES. */
#ifndef EL_CHIP_H
#define EL_CHIP_H

#include <stdint.h>

#include "cortexm.h"

_Static_assert(EL_SERIES == 1 || EL_SERIES == 4, "SERIES is 1 or 4");

#define PATIENCE 20000u /* turns of a loop: several ms, where a PLL needs a fraction of one; an emulator may have none */
#define APB2_AT 0x40010000u

/* The clock gate of a peripheral is the bit numbered like its 1 KB block on the bus. */
#define GATE(base) (1u << (((base) & 0x7FFFu) >> 10))

void chip_clock(void); /* the core to EL_CLOCK */
void chip_pins(void);  /* serial port and its pins */
uint32_t chip_uart_clock(void);

/* el_hal.nv_erase and nv_prog. */
int hal_nv_erase(void *ctx, uint32_t off);
int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n);

#endif
