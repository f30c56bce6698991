/* RISC-V in QEMU. With `-icount shift=0` the core's own counter of instructions is exact. */
#include "bench_board.h"

/* RAM may be anywhere; the FPU, where there is one, is switched on; any trap is a fault. */
__attribute__((naked, used, section(".vectors"))) void board_reset(void) {
  __asm__ volatile(
      "la sp, stack_top\n\t"
      "la t0, board_trap\n\t"
      "csrw mtvec, t0\n\t"
      "li t0, 0x6000\n\t"
      "csrs mstatus, t0\n\t"
      "j board_start");
}

__attribute__((aligned(4), used)) static void board_trap(void) { board_fault(); }

/* QEMU knows a semihosting call by these three instructions, none compressed, in one row. */
__attribute__((naked, noinline, aligned(16))) void board_semihost(uint32_t operation, const void *block) {
  (void)operation, (void)block; /* in a0 and a1 already */
  __asm__ volatile(
      ".option push\n\t.option norvc\n\t"
      "slli x0, x0, 0x1f\n\tebreak\n\tsrai x0, x0, 7\n\t"
      "ret\n\t.option pop");
}

void board_clock_start(void) {}

uint32_t board_ticks(void) {
  uint32_t n;
  __asm__ volatile("rdinstret %0" : "=r"(n));
  return n;
}

void board_loop(void) {
  uint32_t n = BOARD_LOOP_INSTRUCTIONS / 2;
  __asm__ volatile("1: addi %0, %0, -1\n\tbnez %0, 1b" : "+r"(n));
}
