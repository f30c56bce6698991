/* nRF51 and nRF52: the board file says at which pins the serial port is, those of the second port from 32 on. Registers: nRF51
 * Series Reference Manual 3.0; the Product Specifications of nRF52833 and nRF52840 have the same ones, and this UART beside
 * the one with EasyDMA. */
#include "port.h"

#include "cortexm.h"
#include "edgelearn.h"
#include "meter.h"
#include "received.h"
#include "twi.h"

#define UART_STARTRX REG(EL_UART + 0x000u)
#define UART_STARTTX REG(EL_UART + 0x008u)
#define UART_RXDRDY REG(EL_UART + 0x108u)
#define UART_TXDRDY REG(EL_UART + 0x11Cu)
#define UART_INTENSET REG(EL_UART + 0x304u)
#define UART_ENABLE REG(EL_UART + 0x500u)
#define UART_PSELTXD REG(EL_UART + 0x50Cu)
#define UART_PSELRXD REG(EL_UART + 0x514u)
#define UART_RXD REG(EL_UART + 0x518u)
#define UART_TXD REG(EL_UART + 0x51Cu)
#define UART_BAUDRATE REG(EL_UART + 0x524u)
#define UART_INT_RXDRDY (1u << 2)
#define BAUD_115200 0x01D7E000u
_Static_assert(EL_BAUD == 115200, "only this baud rate's factor is written down here");

#define GPIO(pin, offset) REG(0x50000000u + 0x300u * ((pin) / 32) + (offset))
#define GPIO_OUTSET(pin) GPIO(pin, 0x508u)
#define GPIO_OUTCLR(pin) GPIO(pin, 0x50Cu)
#define GPIO_DIRSET(pin) GPIO(pin, 0x518u)
#define GPIO_PIN_CNF(pin) GPIO(pin, 0x700u + 4u * ((pin) % 32))
#define PIN_INPUT_PULLED_UP 0xCu

#define CLOCK_HFCLKSTART REG(0x40000000u)
#define CLOCK_HFCLKSTARTED REG(0x40000100u)
#define CRYSTAL_PATIENCE 20000u /* turns of the loop: several ms, where the crystal needs less than one */
#define TIMER0_START REG(0x40008000u)
#define TIMER0_CAPTURE0 REG(0x40008040u)
#define TIMER0_BITMODE REG(0x40008508u)
#define TIMER0_PRESCALER REG(0x40008510u)
#define TIMER0_CC0 REG(0x40008540u)
#define TIMER_32_BIT 3u
#define TIMER_1_MHZ 4u /* 16 MHz / 2^4 */

#define NVMC_READY REG(0x4001E400u)
#define NVMC_CONFIG REG(0x4001E504u)
#define NVMC_ERASEPAGE REG(0x4001E508u)
#define NVMC_READ 0u
#define NVMC_WRITE 1u
#define NVMC_ERASE 2u

#define NVMC_ICACHECNF REG(0x4001E540u)
#define UICR_APPROTECT REG(0x10001208u)
#define APPROTECT_DISABLE REG(0x40000558u)

#define FICR_DEVICEID0 REG(0x10000060u)
#define FICR_DEVICEID1 REG(0x10000064u)

extern uint8_t __nv_start[]; /* from the linker script */

void Uart_IRQHandler(void) {
  while (UART_RXDRDY) {
    UART_RXDRDY = 0; /* before the byte is read: reading it may bring the next one up */
    ring_put(&ring, (uint8_t)UART_RXD);
  }
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    UART_TXDRDY = 0;
    UART_TXD = *bytes++;
    while (!UART_TXDRDY) continue;
  }
}

static uint32_t hal_now_us(void *ctx) {
  (void)ctx;
  TIMER0_CAPTURE0 = 1;
  return TIMER0_CC0;
}

static int hal_nv_read(void *ctx, uint32_t off, uint8_t *out, uint32_t n) {
  (void)ctx;
  for (uint32_t i = 0; i < n; i++) out[i] = __nv_start[off + i];
  return EL_OK;
}

static void nvmc_mode(uint32_t mode) {
  NVMC_CONFIG = mode;
  while (!NVMC_READY) continue;
}

static int hal_nv_erase(void *ctx, uint32_t off) {
  (void)ctx;
  nvmc_mode(NVMC_ERASE);
  NVMC_ERASEPAGE = (uint32_t)(uintptr_t)(__nv_start + off);
  nvmc_mode(NVMC_READ);
  return EL_OK;
}

static uint32_t little_word(const uint8_t *p) {
  return p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int hal_nv_prog(void *ctx, uint32_t off, const uint8_t *bytes, uint32_t n) {
  (void)ctx;
  nvmc_mode(NVMC_WRITE);
  for (uint32_t i = 0; i < n; i += 4) {
    REG((uintptr_t)(__nv_start + off + i)) = little_word(bytes + i);
    while (!NVMC_READY) continue;
  }
  nvmc_mode(NVMC_READ);
  return EL_OK;
}

static el_hal hal = {
    .board = EL_BOARD_ID,
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_now_us,
    .stack_used = hal_stack_used,
    .nv_bytes = EL_NV_BYTES,
    .nv_page = EL_NV_PAGE,
    .nv_read = hal_nv_read,
    .nv_erase = hal_nv_erase,
    .nv_prog = hal_nv_prog,
};

#ifdef EL_MARKER_PIN
/* An input, as at reset, until somebody asks for it. */
static void meter_marker(void *ctx, int high) {
  (void)ctx;
  if (high) GPIO_OUTSET(EL_MARKER_PIN) = 1u << EL_MARKER_PIN % 32;
  else GPIO_OUTCLR(EL_MARKER_PIN) = 1u << EL_MARKER_PIN % 32;
  GPIO_DIRSET(EL_MARKER_PIN) = 1u << EL_MARKER_PIN % 32;
}
#endif

#ifdef EL_HAS_POWER
static void open_power(void) {
#ifdef EL_HAS_INA
  static const el_i2c bus = {i2c_twi_write, i2c_twi_read, 0};
  twi_open(EL_SCL_PIN, EL_SDA_PIN);
  power_by_ina(&bus);
#endif
#ifdef EL_MARKER_PIN
  power.marker = meter_marker;
#endif
  hal.power = &power;
}
#endif

static void read_chip_id(uint8_t *out) {
  const uint32_t words[2] = {FICR_DEVICEID0, FICR_DEVICEID1};
  for (unsigned i = 0; i < 8; i++) out[i] = (uint8_t)(words[i / 4] >> 8 * (i % 4));
}

static void open_uart(void) {
  GPIO_OUTSET(EL_TX_PIN) = 1u << EL_TX_PIN % 32; /* idle is high */
  GPIO_DIRSET(EL_TX_PIN) = 1u << EL_TX_PIN % 32;
  GPIO_PIN_CNF(EL_RX_PIN) = PIN_INPUT_PULLED_UP;
  UART_PSELTXD = EL_TX_PIN;
  UART_PSELRXD = EL_RX_PIN;
  UART_BAUDRATE = BAUD_115200;
  UART_ENABLE = 4;
  UART_RXDRDY = 0;
  UART_INTENSET = UART_INT_RXDRDY;
  UART_STARTTX = 1;
  UART_STARTRX = 1;
  irq_enable(EL_UART_IRQ);
}

/* The crystal: the RC oscillator that runs at reset may be off by more than a UART at 115,200 baud forgives. Waits a bounded time,
 * since an emulator has no crystal to start. */
static void start_crystal(void) {
  CLOCK_HFCLKSTART = 1;
  for (uint32_t patience = CRYSTAL_PATIENCE; !CLOCK_HFCLKSTARTED && patience; patience--) continue;
}

/* The nRF52's flash is slower than its core. And its newer revisions shut debuggers out from reset on, until the program
 * lets them in: that is left to UICR, as it was. */
static void open_core(void) {
#ifdef EL_NRF52
  NVMC_ICACHECNF = 1;
  APPROTECT_DISABLE = UICR_APPROTECT;
#endif
}

const el_hal *el_port_open(void) {
  open_core();
  start_crystal();
  TIMER0_BITMODE = TIMER_32_BIT;
  TIMER0_PRESCALER = TIMER_1_MHZ;
  TIMER0_START = 1;
  read_chip_id(hal.chip);
#ifdef EL_HAS_POWER
  open_power();
#endif
  open_uart();
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
