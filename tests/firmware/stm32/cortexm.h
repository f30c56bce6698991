/* Takes the place of ports/common/cortexm.h: every access to a register goes past the model of the chip. */
#ifndef EL_CORTEXM_H
#define EL_CORTEXM_H

#include <stdint.h>

volatile uint32_t *model_register(uintptr_t address);

#define REG(address) (*model_register(address))

#endif
