/* From reset to main on a RISC-V core in machine mode, with SiFive's CLINT and PLIC. Registers: RISC-V Privileged
 * Architecture 1.12, RISC-V PLIC Specification 1.0, SiFive FE310-G000 Manual v3p2, chapters 9 and 10. */
#include "riscv.h"

#include "port.h"

#define MIE_EXTERNAL (1u << 11)
#define MSTATUS_FS_INITIAL (1u << 13)

/* Context 0: machine mode of the first core. */
#define PLIC_PRIORITY(source) REG(EL_PLIC + 4u * (source))
#define PLIC_ENABLE(source) REG(EL_PLIC + 0x2000u + 4u * ((source) / 32))
#define PLIC_THRESHOLD REG(EL_PLIC + 0x200000u)
#define PLIC_CLAIM REG(EL_PLIC + 0x200004u)

#define MTIME_LOW REG(EL_CLINT + 0xBFF8u)
#define MTIME_HIGH REG(EL_CLINT + 0xBFFCu)

int main(void);
void Reset_Handler(void);
void Trap_Vector(void);

/* Also where faults go, whatever is left of the stack: the host sees another boot id and replays from its last
 * checkpoint. */
__attribute__((naked, used, section(".text.start"))) void _start(void) {
  __asm volatile(
      ".option push\n"
      ".option norelax\n" /* gp cannot be found relative to itself */
      "la gp, __global_pointer$\n"
      ".option pop\n"
      "csrw mie, zero\n"
      "la sp, __stack_top\n"
      "j Reset_Handler");
}

/* One vector for everything. A fault may be a stack that grew too far, so it is told from an interrupt without one. */
__attribute__((naked, aligned(4))) void Trap_Vector(void) {
  __asm volatile(
      "csrw mscratch, t0\n"
      "csrr t0, mcause\n" /* negative: an interrupt, and only the PLIC's is enabled */
      "bgez t0, _start\n"
      "csrr t0, mscratch\n"
      "j External_IRQHandler");
}

__attribute__((interrupt("machine"), used)) void External_IRQHandler(void) {
  uint32_t source = PLIC_CLAIM;
  Uart_IRQHandler();
  PLIC_CLAIM = source; /* done: it may ask again */
}

static void enable_fpu(void) {
#ifdef __riscv_flen
  __asm volatile("csrs mstatus, %0\n csrw fcsr, zero" ::"r"(MSTATUS_FS_INITIAL));
#endif
}

__attribute__((used)) void Reset_Handler(void) {
  enable_fpu(); /* first: the compiler may use its registers to copy */
  __asm volatile("csrw mtvec, %0" ::"r"(Trap_Vector));
  start_ram();
  main();
}

void irq_enable(uint32_t source) {
  PLIC_PRIORITY(source) = 1;
  PLIC_THRESHOLD = 0;
  PLIC_ENABLE(source) = 1u << source % 32;
  PLIC_CLAIM = source; /* a fault in the handler left it claimed; if not, this does nothing */
  __asm volatile("csrs mie, %0\n csrsi mstatus, " MSTATUS_MIE ::"r"(MIE_EXTERNAL));
}

static uint64_t mtime(void) {
  uint32_t high, low;
  do {
    high = MTIME_HIGH;
    low = MTIME_LOW;
  } while (high != MTIME_HIGH);
  return (uint64_t)high << 32 | low;
}

_Static_assert(EL_MTIME_HZ % 64 == 0, "1,000,000 / EL_MTIME_HZ is reduced by 64");

uint32_t hal_now_us(void *ctx) {
  (void)ctx;
  return (uint32_t)(mtime() * (1000000u / 64) / (EL_MTIME_HZ / 64));
}
