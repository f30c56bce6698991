/* Arm MPS2 and MPS3 with the Cortex-M System Design Kit; the board file says where serial port and FPGA block are. Registers:
 * CMSDK Technical Reference Manual r1p1, chapter 4, and for the microsecond counter the FPGA system block of application
 * note 386. */
#include "port.h"

#include "cortexm.h"
#include "meter.h"
#include "received.h"

#ifndef EL_UART_CLOCK
#define EL_UART_CLOCK EL_CLOCK
#endif

#define UART_DATA REG(EL_UART)
#define UART_STATE REG(EL_UART + 0x4u)
#define UART_CTRL REG(EL_UART + 0x8u)
#define UART_INTCLEAR REG(EL_UART + 0xCu)
#define UART_BAUDDIV REG(EL_UART + 0x10u)
#define STATE_TX_FULL 1u
#define STATE_RX_FULL 2u
#define STATE_RX_OVERRUN 8u
#define CTRL_TX 1u
#define CTRL_RX 2u
#define CTRL_RX_INT 8u
#define INT_RX 2u

#define FPGA_COUNTER REG(EL_FPGA + 0x18u) /* up by one each time the prescaler runs out */
#define FPGA_PRESCALE REG(EL_FPGA + 0x1Cu)

void Uart_IRQHandler(void) {
  UART_INTCLEAR = INT_RX; /* before the byte is read: the next one asks again */
  while (UART_STATE & STATE_RX_FULL) ring_put(&ring, (uint8_t)UART_DATA);
  if (UART_STATE & STATE_RX_OVERRUN) {
    UART_STATE = STATE_RX_OVERRUN; /* the hardware lost at least one */
    ring.overruns++;
  }
}

static void hal_tx(void *ctx, const uint8_t *bytes, size_t n) {
  (void)ctx;
  while (n--) {
    while (UART_STATE & STATE_TX_FULL) continue;
    UART_DATA = *bytes++;
  }
}

static uint32_t hal_now_us(void *ctx) {
  (void)ctx;
  return FPGA_COUNTER;
}

static const el_hal hal = {
    .board = EL_BOARD_ID,
    .rx_buffer = EL_RING_BYTES,
    .rx = hal_rx,
    .tx = hal_tx,
    .overruns = hal_overruns,
    .now_us = hal_now_us,
    .stack_used = hal_stack_used,
#ifdef EL_HAS_POWER
    .power = &power,
#endif
};

const el_hal *el_port_open(void) {
  FPGA_PRESCALE = EL_CLOCK / 1000000u - 1u;
  UART_BAUDDIV = EL_UART_CLOCK / EL_BAUD; /* before anything is enabled */
  UART_CTRL = CTRL_TX | CTRL_RX | CTRL_RX_INT;
  irq_enable(EL_UART_IRQ);
  return &hal;
}

void el_port_idle(void) { IDLE_UNLESS(ring_waiting(&ring)); }
