/* What all Cortex-M ports share: the exception vectors, the way from reset to main, sleep. */
#ifndef EL_CORTEXM_H
#define EL_CORTEXM_H

#include "start.h"

void Reset_Handler(void);
void Fault_Handler(void);
/* The port's only interrupt, number EL_UART_IRQ of the board file: bytes have come. */
void Uart_IRQHandler(void);

static inline void irq_enable(uint32_t irq) { REG(0xE000E100u + irq / 32 * 4) = 1u << irq % 32; } /* NVIC_ISER */

/* Sleeps unless `waiting`, read with interrupts held back: one that comes after the look still ends the sleep, because
 * WFI wakes for a pending interrupt even while PRIMASK is set. */
#define IDLE_UNLESS(waiting)                       \
  do {                                             \
    __asm volatile("cpsid i" ::: "memory");        \
    if (!(waiting)) __asm volatile("wfi");         \
    __asm volatile("cpsie i" ::: "memory");        \
  } while (0)

#endif
