/* The firmware of a paired microcontroller: as ports/common/main.c, but for the keys. */
#include "el_pairing.h"
#include "port.h"

extern uint8_t __pool_start[], __pool_end[]; /* from the linker script */
extern const el_pairing_keys el_own_keys;    /* written for each image: edgelearn/pairing/image.py */

static el_t el;
static el_link link;
static el_pairing pairing;
static el_hal own;

int main(void) {
  el_pairing_start(&pairing, &el_own_keys, el_port_open(), &own, NULL);
  el_link_init(&link, &el, &own, __pool_start, (uint32_t)(__pool_end - __pool_start), NULL, 0);
  link.pairing = &pairing;
  for (;;)
    if (el_link_poll(&link) == 0) el_port_idle();
}
