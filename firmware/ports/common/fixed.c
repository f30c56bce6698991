/* The firmware of a board whose plan is compiled in: the host trains it over the serial line like any other, but cannot send it another plan.
 * `app_plan.h` and `app_plan.c` are what the backend plan-c makes of a network called "app". */
#include "app_plan.h"
#include "el_link.h"
#include "port.h"

extern uint8_t __pool_start[], __pool_end[]; /* from the linker script */

static el_t el;
static el_link link;

int main(void) {
  const el_hal *hal = el_port_open();
  el_link_init(&link, &el, hal, __pool_start, (uint32_t)(__pool_end - __pool_start), el_app_plan, el_app_plan_bytes);
  for (;;)
    if (el_link_poll(&link) == 0) el_port_idle();
}
