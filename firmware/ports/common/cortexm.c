/* From reset to main on any Cortex-M. */
#include "cortexm.h"

#define STACK_PAINT 0xA5A5A5A5u
#define OWN_FRAME_WORDS 16 /* left unpainted: this function is standing on it */

extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];

int main(void);

static void enable_fpu(void) {
#ifdef __ARM_FP
  REG(0xE000ED88u) |= 0xFu << 20; /* CPACR: full access to CP10 and CP11 */
  __asm volatile("dsb\n isb");
#endif
}

void Reset_Handler(void) {
  const uint32_t *from = __data_load;
  enable_fpu(); /* first: the compiler may use its registers to copy */
  for (uint32_t *to = __data_start; to < __data_end;) *to++ = *from++;
  for (uint32_t *to = __bss_start; to < __bss_end;) *to++ = 0;
  uint32_t *top = (uint32_t *)__builtin_frame_address(0) - OWN_FRAME_WORDS;
  for (volatile uint32_t *to = __stack_limit; to < top;) *to++ = STACK_PAINT;
  main();
}

/* A fault restarts the board: the host sees another boot id and replays from its last checkpoint. */
void Fault_Handler(void) {
  REG(0xE000ED0Cu) = 0x05FA0004u; /* AIRCR: SYSRESETREQ */
  for (;;) continue;
}

uint32_t hal_stack_used(void *ctx, uint32_t *out_size) {
  const uint32_t *p = __stack_limit;
  (void)ctx;
  while (p < __stack_top && *p == STACK_PAINT) p++;
  *out_size = (uint32_t)(__stack_top - __stack_limit) * 4u;
  return (uint32_t)(__stack_top - p) * 4u;
}
