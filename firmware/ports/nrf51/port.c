/* nRF51822, wired as on the BBC micro:bit v1. Registers: nRF51 Series Reference Manual 3.0. */
#define EL_RING_BYTES 512

#include "port.h"

#include "cortexm.h"
#include "edgelearn.h"
#include "ring.h"

#define UART_STARTRX REG(0x40002000u)
#define UART_STARTTX REG(0x40002008u)
#define UART_RXDRDY REG(0x40002108u)
#define UART_TXDRDY REG(0x4000211Cu)
#define UART_INTENSET REG(0x40002304u)
#define UART_ENABLE REG(0x40002500u)
#define UART_PSELTXD REG(0x4000250Cu)
#define UART_PSELRXD REG(0x40002514u)
#define UART_RXD REG(0x40002518u)
#define UART_TXD REG(0x4000251Cu)
#define UART_BAUDRATE REG(0x40002524u)
#define UART_IRQ 2u
#define UART_INT_RXDRDY (1u << 2)
#define BAUD_115200 0x01D7E000u
#define PIN_TX 24u
#define PIN_RX 25u

#define GPIO_OUTSET REG(0x50000508u)
#define GPIO_DIRSET REG(0x50000518u)

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

#define FICR_DEVICEID0 REG(0x10000060u)
#define FICR_DEVICEID1 REG(0x10000064u)

#define NV_PAGE 1024u
#define NV_BYTES (16u * NV_PAGE) /* what link.ld leaves at the end of the flash */

extern uint8_t __nv_start[];

static el_ring ring;

void UART0_IRQHandler(void) {
  while (UART_RXDRDY) {
    UART_RXDRDY = 0; /* before the byte is read: reading it may bring the next one up */
    ring_put(&ring, (uint8_t)UART_RXD);
  }
}

static size_t hal_rx(void *ctx, uint8_t *out, size_t n) {
  (void)ctx;
  return ring_take(&ring, out, n);
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    UART_TXDRDY = 0;
    UART_TXD = *bytes++;
    while (!UART_TXDRDY) continue;
  }
}

static uint32_t hal_overruns(void *ctx) {
  (void)ctx;
  return ring.overruns;
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
    .nv_bytes = NV_BYTES,
    .nv_page = NV_PAGE,
    .nv_read = hal_nv_read,
    .nv_erase = hal_nv_erase,
    .nv_prog = hal_nv_prog,
};

static void read_chip_id(uint8_t *out) {
  const uint32_t words[2] = {FICR_DEVICEID0, FICR_DEVICEID1};
  for (unsigned i = 0; i < 8; i++) out[i] = (uint8_t)(words[i / 4] >> 8 * (i % 4));
}

static void open_uart(void) {
  GPIO_OUTSET = 1u << PIN_TX; /* idle is high */
  GPIO_DIRSET = 1u << PIN_TX;
  UART_PSELTXD = PIN_TX;
  UART_PSELRXD = PIN_RX;
  UART_BAUDRATE = BAUD_115200;
  UART_ENABLE = 4;
  UART_RXDRDY = 0;
  UART_INTENSET = UART_INT_RXDRDY;
  UART_STARTTX = 1;
  UART_STARTRX = 1;
  irq_enable(UART_IRQ);
}

/* The crystal: the RC oscillator that runs at reset may be off by more than a UART at 115,200 baud forgives. Waits a bounded time,
 * since an emulator has no crystal to start. */
static void start_crystal(void) {
  CLOCK_HFCLKSTART = 1;
  for (uint32_t patience = CRYSTAL_PATIENCE; !CLOCK_HFCLKSTARTED && patience; patience--) continue;
}

const el_hal *el_port_open(void) {
  start_crystal();
  TIMER0_BITMODE = TIMER_32_BIT;
  TIMER0_PRESCALER = TIMER_1_MHZ;
  TIMER0_START = 1;
  read_chip_id(hal.chip);
  open_uart();
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
