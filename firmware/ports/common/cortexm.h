/* What all Cortex-M ports share: the exception vectors, the way from reset to main, the painted stack. */
#ifndef EL_CORTEXM_H
#define EL_CORTEXM_H

#include <stdint.h>

#define REG(address) (*(volatile uint32_t *)(uintptr_t)(address))

extern uint32_t __stack_limit[], __stack_top[]; /* from the linker script */

typedef void (*el_vector)(void);

/* Table order: stack, 15 exceptions, then the board's interrupts. */
#define EL_EXCEPTIONS                                                                                               \
  (el_vector)(uintptr_t)__stack_top, Reset_Handler, Fault_Handler, Fault_Handler, Fault_Handler, Fault_Handler,     \
      Fault_Handler, 0, 0, 0, 0, Fault_Handler, Fault_Handler, 0, Fault_Handler, Fault_Handler

void Reset_Handler(void);
void Fault_Handler(void);

/* el_hal.stack_used. */
uint32_t hal_stack_used(void *ctx, uint32_t *out_size);

static inline void irq_enable(uint32_t irq) { REG(0xE000E100u) = 1u << irq; } /* NVIC_ISER0: interrupts 0 to 31 */

/* Sleeps unless `waiting`, read with interrupts held back: one that comes after the look still ends the sleep, because
 * WFI wakes for a pending interrupt even while PRIMASK is set. */
#define IDLE_UNLESS(waiting)                       \
  do {                                             \
    __asm volatile("cpsid i" ::: "memory");        \
    if (!(waiting)) __asm volatile("wfi");         \
    __asm volatile("cpsie i" ::: "memory");        \
  } while (0)

#endif
