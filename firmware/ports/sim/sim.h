/* The parts of the sim board; each fills in its own part of the HAL. */
#ifndef EL_SIM_H
#define EL_SIM_H

#include "el_hal.h"

/* Says why on stderr and ends the program. */
void sim_die(const char *what);

/* port.c: opens a pty, or (`tcp` "HOST:PORT") a listening socket, prints where it is and starts to receive. */
void sim_port_open(el_hal *hal, const char *tcp, uint32_t rx_buffer, uint32_t baud);
/* port.c: sleeps until something has been received. */
void sim_rx_wait(void);

/* nv.c: non-volatile memory in `path`; none where it is NULL. */
void sim_nv_open(el_hal *hal, const char *path);
/* nv.c: what has been written is on the disk when this returns. */
void sim_nv_sync(void);

/* meter.c: a meter that is made up, where EDGELEARN_SIM_POWER asks for one. */
void sim_meter_open(el_hal *hal);

#endif
