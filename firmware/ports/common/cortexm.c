/* From reset to main on any Cortex-M. */
#include "cortexm.h"

#ifndef EL_UART_IRQ
#error "the interrupt of its serial port is missing, UART_IRQ=NUMBER"
#endif

int main(void);

typedef void (*vector)(void);

/* For ports without ports/common/systick.c: nothing starts the timer. */
__attribute__((weak, alias("Fault_Handler"))) void SysTick_IRQHandler(void);

/* Stack, 15 exceptions, then the chip's interrupts up to the one that is used. */
__attribute__((section(".vectors"), used)) static const vector vectors[16 + EL_UART_IRQ + 1] = {
    (vector)(uintptr_t)__stack_top,
    Reset_Handler,
    [2] = Fault_Handler, /* NMI, and every kind of fault */
    [3] = Fault_Handler,
    [4] = Fault_Handler,
    [5] = Fault_Handler,
    [6] = Fault_Handler,
    [7] = Fault_Handler, /* SecureFault, where there is one */
    [11] = Fault_Handler,
    [12] = Fault_Handler,
    [14] = Fault_Handler,
    [15] = SysTick_IRQHandler,
    [16 + EL_UART_IRQ] = Uart_IRQHandler,
};

static void enable_fpu(void) {
#ifdef __ARM_FP
  REG(0xE000ED88u) |= 0xFu << 20; /* CPACR: full access to CP10 and CP11 */
  __asm volatile("dsb\n isb");
#endif
}

void Reset_Handler(void) {
  enable_fpu(); /* first: the compiler may use its registers to copy */
  start_ram();
  main();
}

/* A fault restarts the board: the host sees another boot id and replays from its last checkpoint. */
void Fault_Handler(void) {
  REG(0xE000ED0Cu) = 0x05FA0004u; /* AIRCR: SYSRESETREQ */
  for (;;) continue;
}
