/* The firmware of every microcontroller: plans come over the serial line and live in all the RAM that is left. */
#include "el_link.h"
#include "port.h"

extern uint8_t __pool_start[], __pool_end[]; /* from the linker script */

static el_t el;
static el_link link;

int main(void) {
  const el_hal *hal = el_port_open();
  el_link_init(&link, &el, hal, __pool_start, (uint32_t)(__pool_end - __pool_start), NULL, 0);
  for (;;)
    if (el_link_poll(&link) == 0) el_port_idle();
}
