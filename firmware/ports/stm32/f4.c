/* STM32F4: RM0090, RM0383 and RM0390, chapters on RCC, GPIO and embedded flash. */
#include "chip.h"

#if EL_SERIES == 4
#include "edgelearn.h"

#define RCC_CR REG(0x40023800u)
#define RCC_PLLCFGR REG(0x40023804u)
#define RCC_CFGR REG(0x40023808u)
#define RCC_AHB1ENR REG(0x40023830u)
#define RCC_APB1ENR REG(0x40023840u)
#define RCC_APB2ENR REG(0x40023844u)
#define CR_PLL_ON (1u << 24)
#define CR_PLL_READY (1u << 25)
/* The internal oscillator's 16 MHz over 8, times 168: 336 MHz; the core gets that over 2 or 4. 48 MHz and R as at reset. */
#define PLL_HZ 336000000u
#define PLL_M 8u
#define PLL_N (168u << 6)
#define PLL_P ((PLL_HZ / EL_CLOCK / 2u - 1u) << 16)
#define PLL_QR 0x27000000u
_Static_assert(EL_CLOCK * 2u == PLL_HZ || EL_CLOCK * 4u == PLL_HZ, "168 or 84 MHz: what the PLL makes and needs no other voltage");
#define CFGR_RUN_FROM_PLL 2u
#define CFGR_BUSES_OVER_4 (5u << 10 | 5u << 13)

#define FLASH_ACR REG(0x40023C00u)
#define ACR_WAIT_STATES ((EL_CLOCK - 1u) / 30000000u) /* at 2.7 to 3.6 V */
#define ACR_PREFETCH (1u << 8)
#define ACR_CODE_CACHE (1u << 9)
#define ACR_DATA_CACHE (1u << 10)
#define ACR_DATA_RESET (1u << 12)

#define GPIO_MODER REG(EL_GPIO)
#define GPIO_PUPDR REG(EL_GPIO + 0xCu)
#define GPIO_AFR(pin) REG(EL_GPIO + 0x20u + (pin) / 8u * 4u)
#define MODE_ALTERNATE 2u
#define PULL_UP 1u
#define ALTERNATE_USART 7u /* of USART1 to 3 */
_Static_assert(EL_UART == 0x40011000u || EL_UART == 0x40004400u || EL_UART == 0x40004800u, "UART is USART1, 2 or 3");

void chip_clock(void) {
  FLASH_ACR = ACR_WAIT_STATES | ACR_PREFETCH | ACR_CODE_CACHE | ACR_DATA_CACHE; /* before the clock goes up */
  RCC_PLLCFGR = PLL_QR | PLL_P | PLL_N | PLL_M;
  RCC_CR |= CR_PLL_ON;
  for (uint32_t patience = PATIENCE; !(RCC_CR & CR_PLL_READY) && patience; patience--) continue;
  RCC_CFGR = CFGR_BUSES_OVER_4;
  RCC_CFGR |= CFGR_RUN_FROM_PLL;
}

static void pin_of_usart(uint32_t pin) {
  GPIO_PUPDR = (GPIO_PUPDR & ~(3u << 2 * pin)) | PULL_UP << 2 * pin;
  GPIO_AFR(pin) = (GPIO_AFR(pin) & ~(0xFu << pin % 8u * 4u)) | ALTERNATE_USART << pin % 8u * 4u;
  GPIO_MODER = (GPIO_MODER & ~(3u << 2 * pin)) | MODE_ALTERNATE << 2 * pin;
}

void chip_pins(void) {
  RCC_AHB1ENR |= GATE(EL_GPIO);
  if (EL_UART >= APB2_AT) {
    RCC_APB2ENR |= GATE(EL_UART);
  } else {
    RCC_APB1ENR |= GATE(EL_UART);
  }
  pin_of_usart(EL_RX_PIN);
  pin_of_usart(EL_TX_PIN);
}

uint32_t chip_uart_clock(void) { return EL_CLOCK / 4u; }

#if EL_NV_BYTES
#define FLASH_KEYR REG(0x40023C04u)
#define FLASH_SR REG(0x40023C0Cu)
#define FLASH_CR REG(0x40023C10u)
#define KEY1 0x45670123u
#define KEY2 0xCDEF89ABu
#define SR_ERRORS 0xF2u
#define SR_BUSY (1u << 16)
#define CR_PROGRAM 1u
#define CR_ERASE_SECTOR 2u
#define CR_SECTOR(n) ((n) << 3)
#define CR_BY_32_BITS (2u << 8)
#define CR_START (1u << 16)
#define CR_LOCK (1u << 31)
#define FLASH_AT 0x08000000u
#define SECTOR_BYTES 0x20000u /* of number 5 and all that follow; 0 to 4 are smaller and take as much as one together */
_Static_assert(EL_NV_PAGE == SECTOR_BYTES, "the copies of the state lie in sectors of 128 KB");

extern uint8_t __nv_start[];

static void unlock(void) {
  if (FLASH_CR & CR_LOCK) {
    FLASH_KEYR = KEY1;
    FLASH_KEYR = KEY2;
  }
  FLASH_SR = SR_ERRORS; /* written ones clear */
}

static int finished(void) {
  while (FLASH_SR & SR_BUSY) continue;
  return FLASH_SR & SR_ERRORS ? EL_ERR_NV : EL_OK;
}

/* Erasing changes the flash behind the cache's back; programming does not. */
static void forget_cached_data(void) {
  FLASH_ACR &= ~ACR_DATA_CACHE;
  FLASH_ACR |= ACR_DATA_RESET;
  FLASH_ACR &= ~ACR_DATA_RESET;
  FLASH_ACR |= ACR_DATA_CACHE;
}

/* The core stands still for the second or two that this takes, and what arrives meanwhile is lost: the host sends it again. */
int hal_nv_erase(void *ctx, uint32_t off) {
  uint32_t sector = 4u + ((uint32_t)(uintptr_t)(__nv_start + off) - FLASH_AT) / SECTOR_BYTES;
  (void)ctx;
  unlock();
  FLASH_CR = CR_ERASE_SECTOR | CR_SECTOR(sector) | CR_BY_32_BITS;
  FLASH_CR |= CR_START;
  int code = finished();
  FLASH_CR = CR_LOCK;
  forget_cached_data();
  return code;
}

static uint32_t little_word(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  int code = EL_OK;
  (void)ctx;
  unlock();
  FLASH_CR = CR_PROGRAM | CR_BY_32_BITS;
  for (uint32_t i = 0; i < n && !code; i += 4) {
    REG((uintptr_t)(__nv_start + off + i)) = little_word(bytes + i);
    code = finished();
  }
  FLASH_CR = CR_LOCK;
  return code;
}
#endif
#endif
