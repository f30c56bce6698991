/* What a port gives to the shared main. The board file tells it EL_BOARD_ID, EL_CLOCK, EL_BAUD, EL_NV_BYTES, EL_NV_PAGE and
 * each of `defines`. */
#ifndef EL_PORT_H
#define EL_PORT_H

#include "el_hal.h"

#ifndef EL_BOARD_ID
#error "say which board this image is for: -DEL_BOARD_ID='\"microbit\"'"
#endif

/* Starts clock, serial port and its interrupt; returns the finished HAL. */
const el_hal *el_port_open(void);
/* Sleeps until an interrupt, unless bytes are waiting already. */
void el_port_idle(void);

#endif
