/* The paired sim board. Its keys come over its standard input: not in its arguments, where everybody reads them. */
#ifndef EL_SIM_PAIR_H
#define EL_SIM_PAIR_H

#include "el_pairing.h"

/* Reads the keys (an el_pairing_keys) and returns the HAL to use; ends the program if there are none. */
el_hal *sim_pair(const el_hal *hal);
el_pairing *sim_pairing(void);

#endif
