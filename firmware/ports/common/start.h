/* The first thing that a board does, whatever its core: memory as C expects it, and a painted stack. */
#ifndef EL_START_RAM_H
#define EL_START_RAM_H

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

extern uint32_t __stack_limit[], __stack_top[]; /* from the linker script */

/* Copies initial values, clears the rest, paints what is free of the stack. Nothing may be static before. */
void start_ram(void);

/* el_hal.stack_used. */
uint32_t hal_stack_used(void *ctx, uint32_t *out_size);

#endif
