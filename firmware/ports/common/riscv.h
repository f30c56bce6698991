/* What the RISC-V ports share: the way from reset to main, interrupts, sleep, the clock. */
#ifndef EL_RISCV_H
#define EL_RISCV_H

#include "start.h"

#define MSTATUS_MIE "8" /* bit 3: interrupts */

/* The port's interrupt: empties the receiver. */
void Uart_IRQHandler(void);

/* Lets one interrupt source of the PLIC through. */
void irq_enable(uint32_t source);

/* el_hal.now_us, from the CLINT's mtime, which counts EL_MTIME_HZ a second. */
uint32_t hal_now_us(void *ctx);

/* Sleeps unless `waiting`, read with interrupts held back: one that comes after the look still ends the sleep, because
 * WFI wakes for a pending interrupt even while they are held back. */
#define IDLE_UNLESS(waiting)                                              \
  do {                                                                    \
    __asm volatile("csrci mstatus, " MSTATUS_MIE ::: "memory");           \
    if (!(waiting)) __asm volatile("wfi");                                \
    __asm volatile("csrsi mstatus, " MSTATUS_MIE ::: "memory");           \
  } while (0)

#endif
