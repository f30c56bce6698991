/* STM32F1: RM0008 and RM0041, chapters on RCC and GPIO; PM0075, flash programming. */
#include "chip.h"

#if EL_SERIES == 1
#include "edgelearn.h"

#define RCC_CR REG(0x40021000u)
#define RCC_CFGR REG(0x40021004u)
#define RCC_APB2ENR REG(0x40021018u)
#define RCC_APB1ENR REG(0x4002101Cu)
#define CR_PLL_ON (1u << 24)
#define CR_PLL_READY (1u << 25)
#define CFGR_PLL_TIMES(n) (((n)-2u) << 18) /* of 4 MHz: half the internal oscillator's 8 */
#define CFGR_RUN_FROM_PLL 2u
#define MAX_CLOCK 24000000u /* without wait states of the flash */
_Static_assert(EL_CLOCK % 4000000u == 0 && EL_CLOCK >= 8000000u && EL_CLOCK <= MAX_CLOCK, "a clock that the PLL can make");

#define GPIO_CR(pin) REG(EL_GPIO + (pin) / 8u * 4u)
#define GPIO_BSRR REG(EL_GPIO + 0x10u)
#define PIN_OUT_OF_PERIPHERAL 0xBu
#define PIN_IN_WITH_PULL 0x8u

void chip_clock(void) {
  RCC_CFGR = CFGR_PLL_TIMES(EL_CLOCK / 4000000u);
  RCC_CR |= CR_PLL_ON;
  for (uint32_t patience = PATIENCE; !(RCC_CR & CR_PLL_READY) && patience; patience--) continue;
  RCC_CFGR |= CFGR_RUN_FROM_PLL;
}

static void pin_mode(uint32_t pin, uint32_t mode) {
  uint32_t shift = pin % 8u * 4u;
  GPIO_CR(pin) = (GPIO_CR(pin) & ~(0xFu << shift)) | mode << shift;
}

void chip_pins(void) {
  RCC_APB2ENR |= GATE(EL_GPIO);
  if (EL_UART >= APB2_AT) {
    RCC_APB2ENR |= GATE(EL_UART);
  } else {
    RCC_APB1ENR |= GATE(EL_UART);
  }
  GPIO_BSRR = 1u << EL_RX_PIN; /* pulled up: an open pin is silent */
  pin_mode(EL_RX_PIN, PIN_IN_WITH_PULL);
  pin_mode(EL_TX_PIN, PIN_OUT_OF_PERIPHERAL);
}

uint32_t chip_uart_clock(void) { return EL_CLOCK; }

#if EL_NV_BYTES
#define FLASH_KEYR REG(0x40022004u)
#define FLASH_SR REG(0x4002200Cu)
#define FLASH_CR REG(0x40022010u)
#define FLASH_AR REG(0x40022014u)
#define KEY1 0x45670123u
#define KEY2 0xCDEF89ABu
#define SR_BUSY 1u
#define SR_ERRORS (1u << 2 | 1u << 4)
#define SR_DONE (1u << 5)
#define CR_PROGRAM 1u
#define CR_ERASE_PAGE 2u
#define CR_START (1u << 6)
#define CR_LOCK (1u << 7)

extern uint8_t __nv_start[];

static void unlock(uint32_t what) {
  if (FLASH_CR & CR_LOCK) {
    FLASH_KEYR = KEY1;
    FLASH_KEYR = KEY2;
  }
  FLASH_SR = SR_ERRORS | SR_DONE; /* written ones clear */
  FLASH_CR = what;
}

static int finished(void) {
  while (FLASH_SR & SR_BUSY) continue;
  return FLASH_SR & SR_ERRORS ? EL_ERR_NV : EL_OK;
}

int hal_nv_erase(void *ctx, uint32_t off) {
  (void)ctx;
  unlock(CR_ERASE_PAGE);
  FLASH_AR = (uint32_t)(uintptr_t)(__nv_start + off);
  FLASH_CR = CR_ERASE_PAGE | CR_START;
  int code = finished();
  FLASH_CR = CR_LOCK;
  return code;
}

/* 16 bits at a time. */
int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  int code = EL_OK;
  (void)ctx;
  unlock(CR_PROGRAM);
  for (uint32_t i = 0; i < n && !code; i += 2) {
    *(volatile uint16_t *)(uintptr_t)(__nv_start + off + i) = (uint16_t)(bytes[i] | bytes[i + 1] << 8);
    code = finished();
  }
  FLASH_CR = CR_LOCK;
  return code;
}
#endif
#endif
