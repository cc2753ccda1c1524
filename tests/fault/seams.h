#pragma once

#include <stdbool.h>

/* The loop ends as soon as a fault has struck; else it goes on, and the fault lasts a while at
 * most. */
void seams_leave_on_fault(bool leave);
