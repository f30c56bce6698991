/* Cortex-M in QEMU. Its clock is SysTick, which every one of them has; with `-icount shift=0` it ticks every few dozen instructions. */
#include "bench_board.h"

extern uint32_t stack_top[];

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define SYSTICK ((volatile uint32_t *)0xE000E010u) /* control, reload, value */

enum { ENABLE = 1, INTERRUPT = 2, CORE_CLOCK = 4, PERIOD_BITS = 24 };

static volatile uint32_t periods; /* that are over */

void board_semihost(uint32_t operation, const void *block) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

_Noreturn void board_reset(void) {
#if __ARM_ARCH > 6 /* ARMv6-M has no coprocessors */
  CPACR |= 0xFu << 20; /* the FPU first: the compiler may use its registers for copies */
  __asm__ volatile("dsb\n\tisb" ::: "memory");
#endif
  board_start();
}

/* Once in 16,777,216 ticks; its frame may show in the stack's depth. */
static void period_over(void) { periods++; }

typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    (vector)(uintptr_t)stack_top, board_reset, board_fault, board_fault, board_fault, board_fault, board_fault, board_fault,
    board_fault, board_fault, board_fault, board_fault, board_fault, board_fault, board_fault, period_over};

void board_clock_start(void) {
  SYSTICK[1] = (1u << PERIOD_BITS) - 1;
  SYSTICK[2] = 0;
  SYSTICK[0] = ENABLE | INTERRUPT | CORE_CLOCK;
}

uint32_t board_ticks(void) {
  uint32_t before, value;
  do { /* at 0 the period may be counted already */
    before = periods;
    value = SYSTICK[2];
  } while (!value || before != periods);
  return ((before + 1) << PERIOD_BITS) - value;
}

void board_loop(void) {
  uint32_t n = BOARD_LOOP_INSTRUCTIONS / 2;
  __asm__ volatile(".syntax unified\n1: subs %0, #1\n\tbne 1b" : "+l"(n) : : "cc");
}
