/* base/epoch.h */
#define _GNU_SOURCE /* threads are kept on a CPU each */
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "base/epoch.h"
#include "base/event.h"
#include "base/list.h"
#include "support/alloc_fault.h"

enum {
    READERS = 4,
    READS = 50000,
    SWAPS = 2000,
    STATIC_SLOTS = 128, /* in epoch.c */
    LIMBO = 16,         /* at most, in epoch.c */
    MANY_SWAPS = 2000000,
    MARKS = 1024, /* far more than can be in limbo */
    WORDS = 8
};

struct thing {
    weft__epoch_item retired;
    uint64_t words[WORDS]; /* all the same */
};

static atomic_int living;

static struct thing *new_thing(uint64_t number)
{
    struct thing *thing = calloc(1, sizeof *thing);
    assert_non_null(thing);
    for (size_t i = 0; i < WORDS; i++)
        thing->words[i] = number;
    atomic_fetch_add(&living, 1);
    return thing;
}

static void free_thing(weft__epoch_item *item)
{
    struct thing *thing = WEFT__CONTAINER_OF(item, struct thing, retired);
    for (size_t i = 0; i < WORDS; i++)
        thing->words[i] = UINT64_MAX - i; /* a reader that still looks sees that */
    free(thing);
    atomic_fetch_sub(&living, 1);
}

static void what_nobody_reads_is_freed_at_once(void **state)
{
    weft__epoch epoch;
    (void)state;
    weft__epoch_init(&epoch);
    for (int i = 0; i < 100; i++) {
        weft__epoch_retire(&epoch, &new_thing(1)->retired, free_thing);
        assert_int_equal(atomic_load(&living), 0);
    }
    weft__epoch_fini(&epoch);
}

static void what_is_read_stays_until_the_reader_leaves(void **state)
{
    weft__epoch epoch;
    (void)state;
    weft__epoch_init(&epoch);
    weft__epoch_slot *slot = weft__epoch_enter();
    struct thing *thing = new_thing(1);
    weft__epoch_retire(&epoch, &thing->retired, free_thing);
    weft__epoch_retire(&epoch, &new_thing(2)->retired, free_thing);
    assert_int_equal(atomic_load(&living), 2);
    assert_int_equal(thing->words[0], 1);
    weft__epoch_leave(slot);
    weft__epoch_retire(&epoch, &new_thing(3)->retired, free_thing);
    assert_int_equal(atomic_load(&living), 0);
    weft__epoch_fini(&epoch);
}

static void who_came_later_does_not_hold_up_what_was_replaced_before(void **state)
{
    weft__epoch epoch;
    (void)state;
    weft__epoch_init(&epoch);
    weft__epoch_slot *slot = weft__epoch_enter();
    weft__epoch_retire(&epoch, &new_thing(1)->retired, free_thing);
    weft__epoch_leave(slot);
    slot = weft__epoch_enter();
    weft__epoch_retire(&epoch, &new_thing(2)->retired, free_thing);
    assert_int_equal(atomic_load(&living), 1); /* the second */
    weft__epoch_leave(slot);
    weft__epoch_fini(&epoch);
    assert_int_equal(atomic_load(&living), 0);
}

struct reader {
    pthread_t thread;
    weft__event entered;
    weft__event leave;
};

static void *read_until_told(void *arg)
{
    struct reader *reader = arg;
    weft__epoch_slot *slot = weft__epoch_enter();
    weft__event_post(&reader->entered);
    weft__event_wait(&reader->leave, INT64_MAX);
    weft__epoch_leave(slot);
    return slot;
}

static void *retire_too_many(void *arg)
{
    for (int i = 0; i < LIMBO + 1; i++)
        weft__epoch_retire(arg, &new_thing(1)->retired, free_thing);
    return NULL;
}

static void a_writer_far_ahead_waits_for_its_readers(void **state)
{
    weft__epoch epoch;
    struct reader reader;
    pthread_t reads, writes;
    (void)state;
    weft__epoch_init(&epoch);
    assert_int_equal(weft__event_init(&reader.entered), 0);
    assert_int_equal(weft__event_init(&reader.leave), 0);
    assert_int_equal(pthread_create(&reads, NULL, read_until_told, &reader), 0);
    weft__event_wait(&reader.entered, INT64_MAX);
    assert_int_equal(pthread_create(&writes, NULL, retire_too_many, &epoch), 0);
    while (atomic_load(&living) <= LIMBO) /* it gets as far as the bound, and waits in the next one */
        (void)sched_yield();
    assert_int_equal(atomic_load(&living), LIMBO + 1);
    weft__event_post(&reader.leave);
    pthread_join(writes, NULL);
    pthread_join(reads, NULL);
    assert_int_equal(atomic_load(&living), 0);
    weft__epoch_fini(&epoch);
    weft__event_fini(&reader.entered);
    weft__event_fini(&reader.leave);
}

static void *enter_and_leave(void *arg)
{
    weft__epoch_slot *slot = weft__epoch_enter();
    (void)arg;
    weft__epoch_leave(slot);
    return slot;
}

static void a_thread_that_ends_gives_its_slot_to_the_next(void **state)
{
    pthread_t thread;
    void *first = NULL;
    (void)state;
    assert_int_equal(pthread_create(&thread, NULL, enter_and_leave, NULL), 0);
    pthread_join(thread, &first);
    for (int i = 0; i < 20; i++) {
        void *slot = NULL;
        long before = weft_test_alloc_count();
        assert_int_equal(pthread_create(&thread, NULL, enter_and_leave, NULL), 0);
        pthread_join(thread, &slot);
        assert_ptr_equal(slot, first);
        assert_int_equal(weft_test_alloc_count(), before);
    }
}

static void a_thread_allocates_once_at_most(void **state)
{
    (void)state;
    weft__epoch_leave(weft__epoch_enter());
    long before = weft_test_alloc_count();
    for (int i = 0; i < 1000; i++)
        weft__epoch_leave(weft__epoch_enter());
    assert_int_equal(weft_test_alloc_count(), before);
}

static void start_reader(struct reader *reader)
{
    assert_int_equal(weft__event_init(&reader->entered), 0);
    assert_int_equal(weft__event_init(&reader->leave), 0);
    assert_int_equal(pthread_create(&reader->thread, NULL, read_until_told, reader), 0);
    weft__event_wait(&reader->entered, INT64_MAX);
}

static void *end_reader(struct reader *reader)
{
    void *slot = NULL;
    weft__event_post(&reader->leave);
    pthread_join(reader->thread, &slot);
    weft__event_fini(&reader->entered);
    weft__event_fini(&reader->leave);
    return slot;
}

static void without_memory_a_thread_waits_for_a_spare_slot(void **state)
{
    static struct reader readers[STATIC_SLOTS];
    pthread_t other;
    void *second = NULL;
    (void)state;
    for (int i = 0; i < STATIC_SLOTS; i++) /* the main thread has one, too */
        start_reader(&readers[i]);
    weft_test_alloc_fail_from(1);
    assert_int_equal(pthread_create(&other, NULL, enter_and_leave, NULL), 0);
    while (!weft_test_alloc_failed())
        (void)sched_yield();
    void *first = end_reader(&readers[0]);
    pthread_join(other, &second);
    weft_test_alloc_fail_at(0);
    assert_non_null(first);
    assert_ptr_equal(second, first);
    for (int i = 1; i < STATIC_SLOTS; i++)
        (void)end_reader(&readers[i]);
}

static _Atomic(struct thing *) current;
static atomic_int torn;

static void *read_many(void *arg)
{
    uint64_t last = 0;
    for (int i = 0; i < READS; i++) {
        weft__epoch_slot *slot = weft__epoch_enter();
        const struct thing *thing = atomic_load(&current);
        uint64_t number = thing->words[0];
        for (size_t k = 1; k < WORDS; k++)
            if (thing->words[k] != number)
                atomic_fetch_add(&torn, 1);
        if (number < last)
            atomic_fetch_add(&torn, 1);
        last = number;
        weft__epoch_leave(slot);
    }
    return arg;
}

static void readers_see_whole_things_while_writers_replace_them(void **state)
{
    weft__epoch epoch;
    pthread_t threads[READERS];
    (void)state;
    weft__epoch_init(&epoch);
    atomic_store(&current, new_thing(1));
    for (int i = 0; i < READERS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, read_many, NULL), 0);
    for (uint64_t i = 2; i < SWAPS; i++) {
        struct thing *old = atomic_exchange(&current, new_thing(i));
        weft__epoch_retire(&epoch, &old->retired, free_thing);
        assert_in_range(atomic_load(&living), 1, LIMBO + 2);
    }
    for (int i = 0; i < READERS; i++)
        pthread_join(threads[i], NULL);
    free_thing(&atomic_load(&current)->retired);
    weft__epoch_fini(&epoch);
    assert_int_equal(atomic_load(&torn), 0);
    assert_int_equal(atomic_load(&living), 0);
}

/* What is never freed, but says whether it could be. */
struct mark {
    weft__epoch_item retired;
    atomic_bool released;
};

static struct mark marks[MARKS];
static _Atomic(struct mark *) current_mark;
static atomic_bool stop;
static atomic_long reads;

static void release_mark(weft__epoch_item *item)
{
    struct mark *mark = WEFT__CONTAINER_OF(item, struct mark, retired);
    atomic_store_explicit(&mark->released, true, memory_order_relaxed);
}

/* A kernel may leave both threads on one CPU, where each sees the other's writes in order. */
static void stay_on_cpu(int number)
{
    cpu_set_t allowed, one;
    CPU_ZERO(&one);
    if (sched_getaffinity(0, sizeof allowed, &allowed) < 0)
        return;
    for (size_t cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET(cpu, &allowed) || number-- > 0)
            continue;
        CPU_SET(cpu, &one);
        (void)pthread_setaffinity_np(pthread_self(), sizeof one, &one);
        return;
    }
}

static void *look_for_released(void *arg)
{
    stay_on_cpu(0);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        weft__epoch_slot *slot = weft__epoch_enter();
        const struct mark *mark = atomic_load(&current_mark);
        for (int i = 0; i < 6; i++)
            if (atomic_load_explicit(&mark->released, memory_order_relaxed))
                atomic_fetch_add(&torn, 1);
        weft__epoch_leave(slot);
        atomic_fetch_add_explicit(&reads, 1, memory_order_relaxed);
    }
    return arg;
}

static void *swap_marks(void *arg)
{
    stay_on_cpu(1);
    for (int i = 1; i <= MANY_SWAPS; i++) {
        struct mark *next = &marks[i % MARKS];
        atomic_store(&next->released, false);
        struct mark *old = atomic_exchange(&current_mark, next);
        weft__epoch_retire(arg, &old->retired, release_mark);
    }
    return arg;
}

/* ThreadSanitizer does not see stores that another CPU sees late; this does, most of the time. */
static void a_reader_on_another_cpu_is_seen_in_time(void **state)
{
    weft__epoch epoch;
    pthread_t reader, writer;
    (void)state;
    weft__epoch_init(&epoch);
    atomic_store(&torn, 0);
    atomic_store(&current_mark, &marks[0]);
    assert_int_equal(pthread_create(&reader, NULL, look_for_released, NULL), 0);
    while (atomic_load(&reads) == 0)
        (void)sched_yield();
    assert_int_equal(pthread_create(&writer, NULL, swap_marks, &epoch), 0);
    pthread_join(writer, NULL);
    atomic_store(&stop, true);
    pthread_join(reader, NULL);
    weft__epoch_fini(&epoch);
    assert_int_equal(atomic_load(&torn), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_nobody_reads_is_freed_at_once),
        cmocka_unit_test(what_is_read_stays_until_the_reader_leaves),
        cmocka_unit_test(who_came_later_does_not_hold_up_what_was_replaced_before),
        cmocka_unit_test(a_writer_far_ahead_waits_for_its_readers),
        cmocka_unit_test(a_thread_that_ends_gives_its_slot_to_the_next),
        cmocka_unit_test(a_thread_allocates_once_at_most),
        cmocka_unit_test(without_memory_a_thread_waits_for_a_spare_slot),
        cmocka_unit_test(readers_see_whole_things_while_writers_replace_them),
        cmocka_unit_test(a_reader_on_another_cpu_is_seen_in_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
