/* What all boards of the bench share: memory at the start, the stack, and QEMU's semihosting, for output only. */
#include "bench_board.h"

int main(void);

extern uint32_t stack_top[], stack_limit[], data_load[], data_start[], data_end[], bss_start[], bss_end[];
extern uint8_t pool_start[], pool_end[];

enum { SYS_WRITE0 = 0x04, SYS_EXIT_EXTENDED = 0x20, APPLICATION_EXIT = 0x20026, EXIT_FAULT = 99 };

static _Noreturn void leave(uint32_t code) {
  const uint32_t block[2] = {APPLICATION_EXIT, code};
  for (;;) board_semihost(SYS_EXIT_EXTENDED, block);
}

void board_fault(void) { leave(EXIT_FAULT); }

void board_start(void) {
  const uint32_t *from = data_load;
  for (uint32_t *to = data_start; to < data_end; to++) *to = *from++;
  for (uint32_t *to = bss_start; to < bss_end; to++) *to = 0;
  leave((uint32_t)main());
}

void board_print(const char *text) { board_semihost(SYS_WRITE0, text); }

uint8_t *board_pool(uint32_t *out_bytes) {
  *out_bytes = (uint32_t)(pool_end - pool_start);
  return pool_start;
}

#ifdef __riscv
#define BOARD_MOVE "mv"
#else
#define BOARD_MOVE "mov"
#endif
#define PAINT 0xA5A5A5A5u

__attribute__((noinline)) void board_stack_paint(void) {
  uintptr_t here;
  __asm__ volatile(BOARD_MOVE " %0, sp" : "=r"(here));
  for (volatile uint32_t *p = stack_limit; (uintptr_t)p < here; p++) *p = PAINT;
}

uint32_t board_stack_used(void) {
  const uint32_t *p = stack_limit;
  while (p < stack_top && *p == PAINT) p++;
  return (uint32_t)((uintptr_t)stack_top - (uintptr_t)p);
}
