/* SiFive FE310-G000 with its own UART, wired as on the HiFive1. Registers: SiFive FE310-G000 Manual v3p2, chapters 6
 * (clocks), 17 (GPIO) and 18 (UART); HiFive1 schematics. */
#include "port.h"

#include "received.h"
#include "riscv.h"

#define UART_TXDATA REG(EL_UART + 0x00u)
#define UART_RXDATA REG(EL_UART + 0x04u)
#define UART_TXCTRL REG(EL_UART + 0x08u)
#define UART_RXCTRL REG(EL_UART + 0x0Cu)
#define UART_IE REG(EL_UART + 0x10u)
#define UART_DIV REG(EL_UART + 0x18u)
#define TX_FULL (1u << 31)
#define RX_EMPTY (1u << 31)
#define CTRL_ENABLE 1u
#define IE_RX 2u /* more than RXCTRL's watermark, 0, are waiting */

#define GPIO_IOF_EN REG(0x10012038u)
#define GPIO_IOF_SEL REG(0x1001203Cu)
#define PINS_UART (3u << 16) /* 16 receives, 17 sends */

#define PRCI_HFXOSCCFG REG(0x10008004u)
#define PRCI_PLLCFG REG(0x10008008u)
#define HFXOSC_ENABLE (1u << 30)
#define HFXOSC_READY (1u << 31)
#define PLL_SELECT (1u << 16)
#define PLL_FROM_CRYSTAL (1u << 17)
#define PLL_BYPASS (1u << 18)

/* The UART itself does not say when its eight bytes were too few. */
void Uart_IRQHandler(void) {
  for (;;) {
    uint32_t got = UART_RXDATA; /* one read both asks and takes */
    if (got & RX_EMPTY) return;
    ring_put(&ring, (uint8_t)got);
  }
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (UART_TXDATA & TX_FULL) continue;
    UART_TXDATA = *bytes++;
  }
}

static const el_hal hal = {
    .board = EL_BOARD_ID,
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_now_us,
    .stack_used = hal_stack_used,
};

/* The crystal, past the PLL: the ring oscillator that runs at reset may be off by more than a UART forgives. */
static void start_crystal(void) {
  PRCI_HFXOSCCFG = HFXOSC_ENABLE;
  while (!(PRCI_HFXOSCCFG & HFXOSC_READY)) continue;
  PRCI_PLLCFG = PLL_FROM_CRYSTAL | PLL_BYPASS;
  PRCI_PLLCFG |= PLL_SELECT; /* only now: it has a clock to give */
}

const el_hal *el_port_open(void) {
  start_crystal();
  GPIO_IOF_SEL &= ~PINS_UART;
  GPIO_IOF_EN |= PINS_UART;
  UART_DIV = (EL_CLOCK + EL_BAUD / 2) / EL_BAUD - 1;
  UART_TXCTRL = CTRL_ENABLE;
  UART_RXCTRL = CTRL_ENABLE;
  UART_IE = IE_RX;
  irq_enable(EL_UART_IRQ);
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
