/* MPS2 under QEMU: startup, CMSDK timer 0 as a clock, semihosting for output only. */
#include "bench_board.h"

#include <stddef.h>

int main(void);

extern uint32_t stack_top[], stack_limit[], data_load[], data_start[], data_end[], bss_start[], bss_end[];

#define CPACR (*(volatile uint32_t *)0xE000ED88u)
#define TIMER ((volatile uint32_t *)0x40000000u) /* control, value, reload, interrupt */

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026, EXIT_FAULT = 99 };

static void semihost(uint32_t operation, const void *block) {
  register uint32_t r0 __asm__("r0") = operation;
  register const void *r1 __asm__("r1") = block;
  __asm__ volatile("bkpt 0xab" : "+r"(r0) : "r"(r1) : "memory");
}

static _Noreturn void leave(uint32_t code) {
  const uint32_t block[2] = {APPLICATION_EXIT, code};
  for (;;) semihost(SYS_EXIT_EXTENDED, block);
}

static void fault(void) { leave(EXIT_FAULT); }

void reset(void) {
  CPACR |= 0xFu << 20; /* the FPU first: the compiler may use its registers for copies */
  __asm__ volatile("dsb\n\tisb" ::: "memory");
  const uint32_t *from = data_load;
  for (uint32_t *to = data_start; to < data_end; to++) *to = *from++;
  for (uint32_t *to = bss_start; to < bss_end; to++) *to = 0;
  leave((uint32_t)main());
}

typedef void (*vector)(void);
__attribute__((section(".vectors"), used)) static const vector vectors[16] = {
    (vector)(uintptr_t)stack_top, reset, fault, fault, fault, fault, fault, fault,
    fault, fault, fault, fault, fault, fault, fault, fault};

void board_print(const char *text) { semihost(SYS_WRITE0, text); }

void board_clock_start(void) {
  TIMER[2] = UINT32_MAX;
  TIMER[1] = UINT32_MAX;
  TIMER[0] = 1;
}

uint32_t board_ticks(void) { return UINT32_MAX - TIMER[1]; } /* the timer counts down */

#define PAINT 0xA5A5A5A5u

__attribute__((noinline)) void board_stack_paint(void) {
  uint32_t here;
  __asm__ volatile("mov %0, sp" : "=r"(here));
  for (volatile uint32_t *p = stack_limit; (uintptr_t)p < here; p++) *p = PAINT;
}

uint32_t board_stack_used(void) {
  const uint32_t *p = stack_limit;
  while (p < stack_top && *p == PAINT) p++;
  return (uint32_t)((uintptr_t)stack_top - (uintptr_t)p);
}

void board_loop(void) {
  uint32_t n = BOARD_LOOP_INSTRUCTIONS / 2;
  __asm__ volatile("1: subs %0, #1\n\tbne 1b" : "+r"(n) : : "cc");
}
