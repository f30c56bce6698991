/* Registers: ARMv7-M Architecture Reference Manual, B3.3. Interrupts of the core have the same priority as the serial port's. */
#include "systick.h"

#include "cortexm.h"

#define CTRL REG(0xE000E010u)
#define LOAD REG(0xE000E014u)
#define VALUE REG(0xE000E018u) /* counts down */
#define CTRL_ENABLE 1u
#define CTRL_INT 2u
#define CTRL_CORE_CLOCK 4u
#define ICSR REG(0xE000ED04u)
#define ICSR_SYSTICK_PENDING (1u << 26)

#define TICKS_PER_US (EL_CLOCK / 1000000u)
#define PERIOD_US 10000u
#define PERIOD (PERIOD_US * TICKS_PER_US)
_Static_assert(EL_CLOCK % 1000000u == 0 && PERIOD < 1u << 24, "a clock of whole MHz that the counter's 24 bits can hold");

static volatile uint32_t periods_us;

void SysTick_IRQHandler(void) { periods_us += PERIOD_US; }

void systick_start(void) {
  LOAD = PERIOD - 1u;
  VALUE = 0;
  CTRL = CTRL_CORE_CLOCK | CTRL_INT | CTRL_ENABLE;
}

uint32_t hal_systick_us(void *ctx) {
  uint32_t before, left;
  (void)ctx;
  do { /* again, if a period ended meanwhile */
    before = periods_us;
    left = VALUE;
  } while (before != periods_us || ICSR & ICSR_SYSTICK_PENDING);
  return before + (PERIOD - 1u - left) / TICKS_PER_US;
}
