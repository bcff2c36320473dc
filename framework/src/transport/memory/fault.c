/* fault.c: faults that a test plants. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/options.h"
#include "transport/memory/memory.h"

struct fault {
    weft__list_node node;
    weft_test_point point;
    weft_test_fault_kind kind;
    int64_t after;
    int64_t times; /* -1: for ever */
    int error;
};

int weft_test_inject(weft_engine *engine, const weft_test_fault *fault)
{
    weft__memory *memory = weft__memory_from(engine);
    weft_test_fault f;
    memset(&f, 0, sizeof f);
    if (memory == NULL || fault == NULL)
        return -EINVAL;
    int rc = weft__options_copy(&f, sizeof f, fault);
    if (rc < 0)
        return rc;
    if ((int)f.point < WEFT_TEST_CONNECT || (int)f.point > WEFT_TEST_FINISH || (int)f.kind < WEFT_TEST_REFUSE ||
        (int)f.kind > WEFT_TEST_SWALLOW || f.after < 0 || f.times < -1 || f.error > 0)
        return -EINVAL;
    struct fault *planted = malloc(sizeof *planted);
    if (planted == NULL)
        return -ENOMEM;
    *planted = (struct fault){
        .point = f.point,
        .kind = f.kind,
        .after = f.after,
        .times = f.times != 0 ? f.times : 1,
        .error = f.error != 0 ? f.error : -ENOMEM,
    };
    weft__memory_lock(memory);
    weft__list_push_back(&memory->faults, &planted->node);
    weft__memory_unlock(memory);
    return 0;
}

/* Every fault of the point counts a pass down, until one strikes. */
int weft__memory_strike(weft__memory *memory, weft_test_point point, weft_test_fault_kind *kind)
{
    *kind = (weft_test_fault_kind)0;
    for (weft__list_node *node = weft__list_first(&memory->faults); node != NULL;
         node = weft__list_next(&memory->faults, node)) {
        struct fault *fault = WEFT__CONTAINER_OF(node, struct fault, node);
        if (fault->point != point)
            continue;
        if (fault->after > 0) {
            fault->after--;
            continue;
        }
        *kind = fault->kind;
        int error = fault->kind == WEFT_TEST_REFUSE ? fault->error : 0;
        if (fault->times > 0 && --fault->times == 0) {
            weft__list_remove(&fault->node);
            free(fault);
        }
        return error;
    }
    return 0;
}

void weft__memory_free_faults(weft__memory *memory)
{
    for (weft__list_node *node = weft__list_pop_front(&memory->faults); node != NULL;
         node = weft__list_pop_front(&memory->faults))
        free(WEFT__CONTAINER_OF(node, struct fault, node));
}
