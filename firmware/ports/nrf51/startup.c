/* Vector table of the nRF51: 32 interrupts, of which the serial port's is used. */
#include "cortexm.h"

void UART0_IRQHandler(void);

__attribute__((section(".vectors"), used)) static const el_vector vectors[16 + 32] = {EL_EXCEPTIONS,
                                                                                     [16 + 2] = UART0_IRQHandler};
