/* Vector table of the CMSDK subsystem: 32 interrupts, of which the first serial port's receiver is used. */
#include "cortexm.h"

void UART0_RX_IRQHandler(void);

__attribute__((section(".vectors"), used)) static const el_vector vectors[16 + 32] = {EL_EXCEPTIONS,
                                                                                     [16 + 0] = UART0_RX_IRQHandler};
