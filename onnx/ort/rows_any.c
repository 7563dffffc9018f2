#define ROWS_RUN rows_run_any
#include "rows_kernel.h"
