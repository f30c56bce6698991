/* Microseconds from the timer of the core, for chips whose own timers are no better. */
#ifndef EL_SYSTICK_H
#define EL_SYSTICK_H

#include <stdint.h>

/* The core runs at EL_CLOCK by now. */
void systick_start(void);
/* el_hal.now_us. */
uint32_t hal_systick_us(void *ctx);

#endif
