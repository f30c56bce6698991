/* Memory as C expects it, and the painted stack. */
#include "start.h"

#define STACK_PAINT 0xA5A5A5A5u
#define OWN_FRAME_WORDS 16 /* left unpainted: this function is standing on it */

extern uint32_t __data_load[], __data_start[], __data_end[], __bss_start[], __bss_end[];

void start_ram(void) {
  const uint32_t *from = __data_load;
  for (uint32_t *to = __data_start; to < __data_end;) *to++ = *from++;
  for (uint32_t *to = __bss_start; to < __bss_end;) *to++ = 0;
  uint32_t *top = (uint32_t *)__builtin_frame_address(0) - OWN_FRAME_WORDS;
  for (volatile uint32_t *to = __stack_limit; to < top;) *to++ = STACK_PAINT;
}

uint32_t hal_stack_used(void *ctx, uint32_t *out_size) {
  const uint32_t *p = __stack_limit;
  (void)ctx;
  while (p < __stack_top && *p == STACK_PAINT) p++;
  *out_size = (uint32_t)(__stack_top - __stack_limit) * 4u;
  return (uint32_t)(__stack_top - p) * 4u;
}
