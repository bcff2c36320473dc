/* WatchOrder and Track, called as clients call them, over the memory engine. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sqlite3.h>

#include "rig.h"
#include "support/kept_log.h"

typedef order_OrderService_WatchOrder_client watcher;
typedef order_OrderService_Track_client tracker;

#define PENDING   ORDER__ORDER_STATUS__ORDER_STATUS_PENDING
#define CANCELLED ORDER__ORDER_STATUS__ORDER_STATUS_CANCELLED

/* More changes than are kept, of one order that does not matter. */
static const char many_sql[] = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 3000)"
                               " INSERT INTO order_changes (order_id, status)"
                               " SELECT (SELECT min(id) FROM orders), 1 FROM n";

/* ---- WatchOrder -------------------------------------------------------------------------------------------------- */

static watcher *watch(char *id)
{
    Order__WatchOrderRequest request = ORDER__WATCH_ORDER_REQUEST__INIT;
    watcher *stream = NULL;
    request.id = id;
    assert_int_equal(order_OrderService_WatchOrder(&stream, rig.channel, NULL, &request), 0);
    return stream;
}

static void assert_next(watcher *stream, const char *id, Order__OrderStatus status)
{
    Order__WatchOrderResponse *message;
    assert_int_equal(order_OrderService_WatchOrder_client_recv(stream, &message), 1);
    assert_string_equal(message->order->id, id);
    assert_int_equal(message->order->status, status);
    assert_int_equal(message->order->n_items, 2);
    assert_int_equal(message->order->total_amount->minor_units, 3000);
}

/* Nothing more comes, but the status. */
static void assert_ends(watcher *stream, weft_code code, const char *text)
{
    Order__WatchOrderResponse *message;
    assert_int_equal(order_OrderService_WatchOrder_client_recv(stream, &message), 0);
    assert_status(order_OrderService_WatchOrder_client_finish(stream, rig.arena), code, text);
}

static void leave(watcher *stream)
{
    weft_stream_cancel(WEFT_STREAM(stream));
    assert_int_equal(order_OrderService_WatchOrder_client_finish(stream, rig.arena).code, WEFT_CANCELLED);
}

static void a_watch_tells_what_an_order_is_and_what_it_becomes_and_ends(void **state)
{
    (void)state;
    char *id = create_order("1");
    char *other = create_order("2");
    watcher *stream = watch(id);
    watcher *second = watch(id);
    assert_next(stream, id, PENDING);
    assert_next(second, id, PENDING);
    assert_status(cancel(other, NULL), WEFT_OK, "");
    assert_status(cancel(id, NULL), WEFT_OK, "");
    assert_next(stream, id, CANCELLED);
    assert_ends(stream, WEFT_OK, "");
    assert_next(second, id, CANCELLED);
    assert_ends(second, WEFT_OK, "");
}

static void a_cancelled_order_is_told_and_that_is_all(void **state)
{
    (void)state;
    char *id = create_order("1");
    assert_status(cancel(id, NULL), WEFT_OK, "");
    for (int i = 0; i < 2; i++) {
        watcher *stream = watch(id);
        assert_next(stream, id, CANCELLED);
        assert_ends(stream, WEFT_OK, "");
    }
}

static void an_order_that_does_not_exist_cannot_be_watched(void **state)
{
    (void)state;
    assert_ends(watch(NOBODY), WEFT_NOT_FOUND, "order " NOBODY " does not exist");
    assert_ends(watch("no-uuid"), WEFT_NOT_FOUND, "order no-uuid does not exist");
}

static void a_change_by_another_connection_is_told(void **state)
{
    (void)state;
    struct order_store *other = rig_open_store(5000, 0);
    struct order order;
    char *id = create_order("1");
    watcher *stream = watch(id);
    assert_next(stream, id, PENDING);
    assert_int_equal(order_store_cancel(other, id, rig.arena, &order), 0);
    assert_next(stream, id, CANCELLED);
    assert_ends(stream, WEFT_OK, "");
    order_store_destroy(other);
}

static void changes_of_before_the_start_are_not_told_again(void **state)
{
    (void)state;
    char *id = create_order("1");
    rig_stop();
    rig_start(5000, 0);
    watcher *stream = watch(id);
    assert_next(stream, id, PENDING);
    assert_status(cancel(id, NULL), WEFT_OK, "");
    assert_next(stream, id, CANCELLED);
    assert_ends(stream, WEFT_OK, "");
}

/* Each watch begins somewhere between an order's creation and its end; none may miss or double anything. */
static void watches_that_begin_while_orders_change_miss_nothing(void **state)
{
    (void)state;
    char *ids[50];
    watcher *streams[50];
    char key[16];
    for (int i = 0; i < 50; i++) {
        snprintf(key, sizeof key, "%d", i);
        ids[i] = create_order(key);
        streams[i] = watch(ids[i]);
        if (i > 0)
            assert_status(cancel(ids[i - 1], NULL), WEFT_OK, "");
    }
    assert_status(cancel(ids[49], NULL), WEFT_OK, "");
    for (int i = 0; i < 50; i++) {
        Order__WatchOrderResponse *message;
        assert_int_equal(order_OrderService_WatchOrder_client_recv(streams[i], &message), 1);
        if (message->order->status == PENDING) /* else the order was cancelled before the watch began */
            assert_next(streams[i], ids[i], CANCELLED);
        assert_ends(streams[i], WEFT_OK, "");
    }
}

/* A store whose changes are read as `outcomes` say, one after the other, as soon as somebody watches. */
static const int outcomes[] = {-EBADMSG, -EBADMSG, -EBADMSG, -EIO, 0, -EIO, -EIO};
static size_t looked;

static int position_0(struct order_store *store, int64_t *out)
{
    (void)store;
    *out = 0;
    return 0;
}

static int look(struct order_store *store, int64_t after, size_t limit, weft_arena *arena, struct order_change **out,
                size_t *count)
{
    (void)store, (void)after, (void)limit, (void)arena;
    *out = NULL;
    *count = 0;
    return outcomes[looked++];
}

static int look_often(struct order_store *store, int (*told)(void *arg), void *arg)
{
    (void)store;
    for (looked = 0; looked < sizeof outcomes / sizeof outcomes[0];)
        (void)told(arg);
    return 0;
}

static void look_no_more(struct order_store *store)
{
    (void)store;
}

static void changes_that_cannot_be_read_for_long_fill_no_log(void **state)
{
    (void)state;
    static const struct order_store_vtable vtable = {
        .position = position_0, .changes = look, .watch = look_often, .unwatch = look_no_more};
    struct order_store store = {&vtable};
    struct order_changes *changes = NULL;
    struct kept_log kept;
    kept_log_open(&kept);
    assert_int_equal(order_changes_start(&changes, &store, rig.engine, kept.log), 0);
    order_changes_stop(changes);
    assert_int_equal(kept_log_count(&kept, "cannot read the changes of orders"),
                     3); /* -EBADMSG, -EIO, and -EIO after it went well */
}

static void watches_hold_no_worker(void **state)
{
    (void)state;
    enum {
        WATCHES = 200 /* more than a server has workers here */
    };
    watcher *streams[WATCHES];
    char *id = create_order("1");
    for (int i = 0; i < WATCHES; i++) {
        streams[i] = watch(id);
        assert_next(streams[i], id, PENDING);
    }
    assert_status(cancel(id, NULL), WEFT_OK, "");
    for (int i = 0; i < WATCHES; i++) {
        assert_next(streams[i], id, CANCELLED);
        assert_ends(streams[i], WEFT_OK, "");
    }
}

static void a_watch_that_has_missed_changes_is_out_of_range(void **state)
{
    (void)state;
    char *id = create_order("1");
    watcher *stream = watch(id);
    assert_next(stream, id, PENDING);
    /* All at once, and only the last 10 are left: as if this process had slept meanwhile. */
    char sql[sizeof many_sql + 128];
    snprintf(sql, sizeof sql, "BEGIN IMMEDIATE; %s; DELETE FROM order_changes WHERE position < 2990; COMMIT", many_sql);
    rig_sql(sql);
    assert_ends(stream, WEFT_OUT_OF_RANGE,
                "changes were missed that are not kept any more: read the present state again and follow from there");
    stream = watch(id);
    assert_next(stream, id, PENDING);
    leave(stream);
}

static void a_server_that_stops_ends_watches_with_unavailable(void **state)
{
    (void)state;
    char *id = create_order("1");
    watcher *stream = watch(id);
    tracker *track = NULL;
    Order__TrackRequest request = ORDER__TRACK_REQUEST__INIT;
    Order__TrackResponse *response;
    request.id = id;
    assert_next(stream, id, PENDING);
    assert_int_equal(order_OrderService_Track(&track, rig.channel, NULL), 0);
    assert_int_equal(order_OrderService_Track_client_send(track, &request), 0);
    assert_int_equal(order_OrderService_Track_client_recv(track, &response), 1);
    assert_int_equal(weft_server_stop(rig.server, 3600000), 0); /* does not take an hour of the test's time */
    assert_ends(stream, WEFT_UNAVAILABLE, "the server is shutting down");
    assert_int_equal(order_OrderService_Track_client_recv(track, &response), 0);
    assert_status(order_OrderService_Track_client_finish(track, rig.arena), WEFT_UNAVAILABLE,
                  "the server is shutting down");
}

/* ---- Track ------------------------------------------------------------------------------------------------------- */

static tracker *track(void)
{
    tracker *stream = NULL;
    assert_int_equal(order_OrderService_Track(&stream, rig.channel, NULL), 0);
    return stream;
}

static void ask(tracker *stream, char *id)
{
    Order__TrackRequest request = ORDER__TRACK_REQUEST__INIT;
    request.id = id;
    assert_int_equal(order_OrderService_Track_client_send(stream, &request), 0);
}

static const Order__TrackResponse *next(tracker *stream)
{
    Order__TrackResponse *message;
    assert_int_equal(order_OrderService_Track_client_recv(stream, &message), 1);
    return message;
}

static void assert_told(tracker *stream, const char *id, Order__OrderStatus status)
{
    const Order__TrackResponse *message = next(stream);
    assert_int_equal(message->event_case, ORDER__TRACK_RESPONSE__EVENT_ORDER);
    assert_string_equal(message->order->id, id);
    assert_int_equal(message->order->status, status);
    assert_int_equal(message->order->n_items, 2);
}

static void assert_unknown(tracker *stream, const char *id)
{
    const Order__TrackResponse *message = next(stream);
    assert_int_equal(message->event_case, ORDER__TRACK_RESPONSE__EVENT_UNKNOWN_ID);
    assert_string_equal(message->unknown_id, id);
}

static void assert_track_ends(tracker *stream, weft_code code)
{
    Order__TrackResponse *message;
    assert_int_equal(order_OrderService_Track_client_recv(stream, &message), 0);
    weft_status status = order_OrderService_Track_client_finish(stream, rig.arena);
    if (status.code != code)
        fail_msg("%s \"%s\"", weft_code_name(status.code), status.message);
}

static void orders_are_tracked_as_they_are_asked_for(void **state)
{
    (void)state;
    char *first = create_order("1");
    char *second = create_order("2");
    tracker *stream = track();
    ask(stream, first);
    assert_told(stream, first, PENDING);
    ask(stream, second);
    assert_told(stream, second, PENDING);
    ask(stream, first); /* again: it is followed once */
    ask(stream, NOBODY);
    assert_unknown(stream, NOBODY); /* so that was before the cancel */
    assert_status(cancel(first, NULL), WEFT_OK, "");
    assert_told(stream, first, CANCELLED);
    ask(stream, first); /* which cannot change any more: what it is */
    assert_told(stream, first, CANCELLED);
    assert_int_equal(order_OrderService_Track_client_close_send(stream), 0);
    assert_status(cancel(second, NULL), WEFT_OK, "");
    assert_told(stream, second, CANCELLED);
    assert_track_ends(stream, WEFT_OK);
}

static void an_unknown_order_is_told_and_holds_nothing_up(void **state)
{
    (void)state;
    char *id = create_order("1");
    tracker *stream = track();
    ask(stream, NOBODY);
    assert_unknown(stream, NOBODY);
    ask(stream, "no-uuid");
    assert_unknown(stream, "no-uuid");
    ask(stream, "");
    assert_unknown(stream, "");
    ask(stream, NOBODY);
    assert_unknown(stream, NOBODY);
    ask(stream, id);
    assert_told(stream, id, PENDING);
    assert_status(cancel(id, NULL), WEFT_OK, "");
    assert_told(stream, id, CANCELLED);
    assert_int_equal(order_OrderService_Track_client_close_send(stream), 0);
    assert_track_ends(stream, WEFT_OK);
}

/* It is kept while its stream lasts, so it must not be large. */
static void what_is_too_long_for_an_id_ends_the_stream(void **state)
{
    (void)state;
    char large[2048];
    memset(large, 'x', sizeof large - 1);
    large[sizeof large - 1] = '\0';
    tracker *stream = track();
    ask(stream, large);
    assert_track_ends(stream, WEFT_RESOURCE_EXHAUSTED);
}

static void a_stream_on_which_nothing_can_change_ends_with_its_caller(void **state)
{
    (void)state;
    tracker *stream = track();
    assert_int_equal(order_OrderService_Track_client_close_send(stream), 0);
    assert_track_ends(stream, WEFT_OK);
    stream = track();
    ask(stream, NOBODY);
    assert_int_equal(order_OrderService_Track_client_close_send(stream), 0);
    assert_unknown(stream, NOBODY);
    assert_track_ends(stream, WEFT_OK);
}

static void more_than_100_orders_at_a_time_are_too_many(void **state)
{
    (void)state;
    char key[16];
    tracker *stream = track();
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof key, "%d", i);
        char *id = create_order(key);
        ask(stream, id);
        assert_told(stream, id, PENDING);
    }
    ask(stream, create_order("one more"));
    assert_track_ends(stream, WEFT_RESOURCE_EXHAUSTED);
}

/* Its worker is free again: a server has fewer here than there are such streams. */
static void an_error_of_the_store_ends_the_stream_that_asked_and_no_other(void **state)
{
    (void)state;
    static const struct {
        int error;
        weft_code code;
        const char *message;
    } cases[] = {
        {-EBUSY, WEFT_UNAVAILABLE, "the database is locked; try again"},
        {-EROFS, WEFT_UNAVAILABLE, "the database cannot be written"},
        {-ENOSPC, WEFT_RESOURCE_EXHAUSTED, "the disk is full"},
        {-ENOMEM, WEFT_RESOURCE_EXHAUSTED, "out of memory"},
        {-EIO, WEFT_INTERNAL, "internal error"},
    };
    Order__TrackResponse *message;
    char *id = create_order("1");
    char *second = create_order("2");
    tracker *other = track();
    ask(other, id);
    assert_told(other, id, PENDING);
    for (int i = 0; i < 200; i++) {
        size_t n = (size_t)i % (sizeof cases / sizeof cases[0]);
        tracker *stream = track();
        ask(stream, id);
        assert_told(stream, id, PENDING);
        atomic_store(&store_get_answer, cases[n].error);
        ask(stream, second);
        assert_int_equal(order_OrderService_Track_client_recv(stream, &message), 0);
        assert_status(order_OrderService_Track_client_finish(stream, rig.arena), cases[n].code, cases[n].message);
        assert_status(get(id, NULL), cases[n].code, cases[n].message);
        atomic_store(&store_get_answer, 0);
    }
    ask(other, second);
    assert_told(other, second, PENDING);
    assert_status(cancel(id, NULL), WEFT_OK, "");
    assert_told(other, id, CANCELLED);
    assert_status(cancel(second, NULL), WEFT_OK, "");
    assert_told(other, second, CANCELLED);
    assert_int_equal(order_OrderService_Track_client_close_send(other), 0);
    assert_track_ends(other, WEFT_OK);
}

static void a_tracked_change_by_another_connection_is_told(void **state)
{
    (void)state;
    struct order_store *other = rig_open_store(5000, 0);
    struct order order;
    char *id = create_order("1");
    tracker *stream = track();
    ask(stream, id);
    assert_int_equal(order_OrderService_Track_client_close_send(stream), 0);
    assert_told(stream, id, PENDING);
    assert_int_equal(order_store_cancel(other, id, rig.arena, &order), 0);
    assert_told(stream, id, CANCELLED);
    assert_track_ends(stream, WEFT_OK);
    order_store_destroy(other);
}

int main(void)
{
#define TEST(name) cmocka_unit_test_setup_teardown(name, rig_make, rig_drop)
    const struct CMUnitTest tests[] = {
        TEST(a_watch_tells_what_an_order_is_and_what_it_becomes_and_ends),
        TEST(a_cancelled_order_is_told_and_that_is_all),
        TEST(an_order_that_does_not_exist_cannot_be_watched),
        TEST(a_change_by_another_connection_is_told),
        TEST(changes_of_before_the_start_are_not_told_again),
        TEST(watches_that_begin_while_orders_change_miss_nothing),
        TEST(changes_that_cannot_be_read_for_long_fill_no_log),
        TEST(watches_hold_no_worker),
        TEST(a_watch_that_has_missed_changes_is_out_of_range),
        TEST(a_server_that_stops_ends_watches_with_unavailable),
        TEST(orders_are_tracked_as_they_are_asked_for),
        TEST(an_unknown_order_is_told_and_holds_nothing_up),
        TEST(what_is_too_long_for_an_id_ends_the_stream),
        TEST(a_stream_on_which_nothing_can_change_ends_with_its_caller),
        TEST(more_than_100_orders_at_a_time_are_too_many),
        TEST(an_error_of_the_store_ends_the_stream_that_asked_and_no_other),
        TEST(a_tracked_change_by_another_connection_is_told),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
