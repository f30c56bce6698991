/* QEMU's machine "virt": a RISC-V core with a 16550 UART and no other chip around it. Registers: National Semiconductor
 * PC16550D data sheet; addresses: QEMU's documentation of the machine and the device tree that it makes. */
#include "port.h"

#include "received.h"
#include "riscv.h"

#define UART(offset) (*(volatile uint8_t *)(uintptr_t)(EL_UART + (offset)))
#define UART_DATA UART(0u)
#define UART_IER UART(1u)
#define UART_FCR UART(2u)
#define UART_LCR UART(3u)
#define UART_LSR UART(5u)
#define IER_RX 1u
#define FCR_CLEARED_FIFOS 7u
#define LCR_8N1 3u
#define LSR_RX_READY 1u
#define LSR_RX_OVERRUN 2u
#define LSR_TX_EMPTY 0x20u

void Uart_IRQHandler(void) {
  for (;;) {
    uint8_t status = UART_LSR;
    if (status & LSR_RX_OVERRUN) ring.overruns++; /* the hardware lost at least one; reading has cleared it */
    if (!(status & LSR_RX_READY)) return;
    ring_put(&ring, UART_DATA);
  }
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (!(UART_LSR & LSR_TX_EMPTY)) continue;
    UART_DATA = *bytes++;
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

/* The speed is left alone: this UART has no wire. */
const el_hal *el_port_open(void) {
  UART_LCR = LCR_8N1;
  UART_FCR = FCR_CLEARED_FIFOS;
  UART_IER = IER_RX;
  irq_enable(EL_UART_IRQ);
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
