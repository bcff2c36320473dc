/* base/queue.h */
#include <errno.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "base/event.h"
#include "base/list.h"
#include "base/queue.h"
#include "base/thread.h"

#define PRODUCERS    3
#define CONSUMERS    4
#define PER_PRODUCER 2000

struct item {
    weft__queue_node node;
    int producer;
    int number;
    atomic_int taken;
};

static void nodes_come_out_in_the_order_they_went_in(void **state)
{
    (void)state;
    weft__queue queue;
    struct item items[3] = {{.number = 0}, {.number = 1}, {.number = 2}};

    assert_int_equal(weft__queue_init(&queue, SIZE_MAX), 0);
    assert_null(weft__queue_try_pop(&queue));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 3; i++)
            assert_int_equal(weft__queue_push(&queue, &items[i].node), 0);
        assert_int_equal(weft__queue_len(&queue), 3);
        for (int i = 0; i < 3; i++)
            assert_ptr_equal(weft__queue_try_pop(&queue), &items[i].node);
        assert_null(weft__queue_try_pop(&queue));
    }
    weft__queue_fini(&queue);
}

static void a_full_queue_takes_no_more(void **state)
{
    (void)state;
    weft__queue queue;
    struct item items[3] = {{.number = 0}};

    assert_int_equal(weft__queue_init(&queue, 2), 0);
    assert_int_equal(weft__queue_push(&queue, &items[0].node), 0);
    assert_int_equal(weft__queue_push(&queue, &items[1].node), 0);
    assert_int_equal(weft__queue_push(&queue, &items[2].node), -EAGAIN);
    assert_int_equal(weft__queue_len(&queue), 2);
    assert_ptr_equal(weft__queue_try_pop(&queue), &items[0].node);
    assert_int_equal(weft__queue_push(&queue, &items[2].node), 0);
    assert_ptr_equal(weft__queue_try_pop(&queue), &items[1].node);
    assert_ptr_equal(weft__queue_try_pop(&queue), &items[2].node);
    weft__queue_fini(&queue);
}

static void a_closed_queue_gives_what_it_has_and_takes_no_more(void **state)
{
    (void)state;
    weft__queue queue;
    weft__queue_consumer consumer;
    struct item items[2] = {{.number = 0}};

    assert_int_equal(weft__queue_init(&queue, SIZE_MAX), 0);
    weft__queue_consumer_init(&consumer);
    assert_int_equal(weft__queue_push(&queue, &items[0].node), 0);
    weft__queue_close(&queue);
    weft__queue_close(&queue);
    assert_int_equal(weft__queue_push(&queue, &items[1].node), -ESHUTDOWN);
    assert_ptr_equal(weft__queue_pop(&queue, &consumer), &items[0].node);
    assert_null(weft__queue_pop(&queue, &consumer));
    assert_null(weft__queue_pop(&queue, &consumer));
    weft__queue_consumer_fini(&consumer);
    weft__queue_fini(&queue);
}

/* What the threads of the tests below share. */
struct crowd {
    weft__queue queue;
    struct item items[PRODUCERS][PER_PRODUCER];
    atomic_int next_producer;
    atomic_int taken;
    atomic_bool out_of_order;
};

static void *produce(void *arg)
{
    struct crowd *crowd = arg;
    int producer = atomic_fetch_add(&crowd->next_producer, 1);

    for (int i = 0; i < PER_PRODUCER; i++) {
        struct item *item = &crowd->items[producer][i];
        item->producer = producer;
        item->number = i;
        while (weft__queue_push(&crowd->queue, &item->node) == -EAGAIN)
            sched_yield();
    }
    return NULL;
}

static void *consume(void *arg)
{
    struct crowd *crowd = arg;
    weft__queue_consumer consumer;
    weft__queue_node *node;
    int last[PRODUCERS] = {-1, -1, -1};

    weft__queue_consumer_init(&consumer);
    while ((node = weft__queue_pop(&crowd->queue, &consumer)) != NULL) {
        struct item *item = WEFT__CONTAINER_OF(node, struct item, node);
        if (item->number <= last[item->producer])
            atomic_store(&crowd->out_of_order, true);
        last[item->producer] = item->number;
        atomic_fetch_add(&item->taken, 1);
        atomic_fetch_add(&crowd->taken, 1);
    }
    weft__queue_consumer_fini(&consumer);
    return NULL;
}

static void every_node_reaches_one_consumer_whoever_pushes_and_pops(void **state)
{
    (void)state;
    struct crowd *crowd = calloc(1, sizeof *crowd);
    pthread_t producers[PRODUCERS], consumers[CONSUMERS];

    assert_non_null(crowd);
    assert_int_equal(weft__queue_init(&crowd->queue, 64), 0); /* small: producers find it full, consumers empty */
    for (int i = 0; i < CONSUMERS; i++)
        assert_int_equal(weft__thread_start(&consumers[i], 0, "consumer", consume, crowd), 0);
    for (int i = 0; i < PRODUCERS; i++)
        assert_int_equal(weft__thread_start(&producers[i], 0, "producer", produce, crowd), 0);
    for (int i = 0; i < PRODUCERS; i++)
        pthread_join(producers[i], NULL);
    weft__queue_close(&crowd->queue);
    for (int i = 0; i < CONSUMERS; i++)
        pthread_join(consumers[i], NULL);

    assert_int_equal(crowd->taken, PRODUCERS * PER_PRODUCER);
    for (int i = 0; i < PRODUCERS; i++) {
        for (int j = 0; j < PER_PRODUCER; j++)
            assert_int_equal(crowd->items[i][j].taken, 1);
    }
    assert_false(crowd->out_of_order);
    weft__queue_fini(&crowd->queue);
    free(crowd);
}

/* A consumer that takes one node and then stays away until it is let go, like a handler that blocks. */
struct stuck {
    weft__queue *queue;
    weft__event took;
    weft__event let_go;
};

static void *take_one_and_stay(void *arg)
{
    struct stuck *stuck = arg;
    weft__queue_consumer consumer;

    weft__queue_consumer_init(&consumer);
    weft__queue_node *node = weft__queue_pop(stuck->queue, &consumer);
    weft__event_post(&stuck->took);
    weft__event_wait(&stuck->let_go, INT64_MAX);
    weft__queue_consumer_fini(&consumer);
    return node;
}

static void consumers_that_stay_away_do_not_keep_nodes_from_the_others(void **state)
{
    (void)state;
    weft__queue queue;
    struct stuck stuck[CONSUMERS];
    struct item items[CONSUMERS] = {{.number = 0}};
    pthread_t threads[CONSUMERS];

    assert_int_equal(weft__queue_init(&queue, SIZE_MAX), 0);
    for (int i = 0; i < CONSUMERS; i++) {
        stuck[i].queue = &queue;
        assert_int_equal(weft__event_init(&stuck[i].took), 0);
        assert_int_equal(weft__event_init(&stuck[i].let_go), 0);
        assert_int_equal(weft__thread_start(&threads[i], 0, "stuck", take_one_and_stay, &stuck[i]), 0);
    }
    for (int i = 0; i < CONSUMERS; i++) /* a burst: few wake-ups, but each node must find its consumer */
        assert_int_equal(weft__queue_push(&queue, &items[i].node), 0);
    for (int i = 0; i < CONSUMERS; i++)
        assert_int_equal(weft__event_wait(&stuck[i].took, INT64_MAX), 0);
    for (int i = 0; i < CONSUMERS; i++) {
        void *node = NULL;
        weft__event_post(&stuck[i].let_go);
        pthread_join(threads[i], &node);
        assert_non_null(node);
        weft__event_fini(&stuck[i].took);
        weft__event_fini(&stuck[i].let_go);
    }
    weft__queue_fini(&queue);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nodes_come_out_in_the_order_they_went_in),
        cmocka_unit_test(a_full_queue_takes_no_more),
        cmocka_unit_test(a_closed_queue_gives_what_it_has_and_takes_no_more),
        cmocka_unit_test(every_node_reaches_one_consumer_whoever_pushes_and_pops),
        cmocka_unit_test(consumers_that_stay_away_do_not_keep_nodes_from_the_others),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
