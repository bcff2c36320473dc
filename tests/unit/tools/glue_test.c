/* What protoc-gen-weft generates: its tables say what the proto says, and its functions call what they should. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "glue.weft.h"
#include "google/protobuf/descriptor.pb-c.h"
#include "google/protobuf/timestamp.weft.h"
#include "google/rpc/status.weft.h"

static void the_service_lists_its_methods_in_order(void **state)
{
    (void)state;
    const weft_service *service = &weftless_glue_Notes_service;
    assert_int_equal(service->struct_size, sizeof *service);
    assert_string_equal(service->name, "weftless.glue.Notes");
    assert_ptr_equal(service->file, &glue_proto_file);
    assert_int_equal(service->method_count, 4);
    static const char *const names[] = {"Add", "register", "Watch", "Last"};
    static const char *const paths[] = {"/weftless.glue.Notes/Add", "/weftless.glue.Notes/register",
                                        "/weftless.glue.Notes/Watch", "/weftless.glue.Notes/Last"};
    for (size_t i = 0; i < 4; i++) {
        const weft_method *method = service->methods[i];
        assert_int_equal(method->struct_size, sizeof *method);
        assert_string_equal(method->name, names[i]);
        assert_string_equal(method->path, paths[i]);
        assert_int_equal(method->kind, i == 2 ? WEFT_SERVER_STREAM : WEFT_UNARY);
        assert_ptr_equal(method->request, &weftless__glue__note__descriptor);
        assert_ptr_equal(method->response, &weftless__glue__note__descriptor);
    }
}

/* Which handler ran, with what. */
struct ran {
    const char *handler;
    weft_call *call;
    const Weftless__Glue__Note *request;
    Weftless__Glue__Note *response;
};

static weft_code add(weft_call *call, const Weftless__Glue__Note *request, Weftless__Glue__Note *response, void *self)
{
    *(struct ran *)self = (struct ran){"Add", call, request, response};
    return WEFT_NOT_FOUND;
}

static weft_code last(weft_call *call, const Weftless__Glue__Note *request, Weftless__Glue__Note *response, void *self)
{
    *(struct ran *)self = (struct ran){"Last", call, request, response};
    return WEFT_DATA_LOSS;
}

static void a_thunk_calls_its_own_handler(void **state)
{
    (void)state;
    const weftless_glue_Notes_ops ops = {.Add = add, .Last = last};
    Weftless__Glue__Note request = WEFTLESS__GLUE__NOTE__INIT;
    Weftless__Glue__Note response = WEFTLESS__GLUE__NOTE__INIT;
    int call; /* an address will do */
    struct ran ran = {0};
    const weft_method *method = &weftless_glue_Notes_Add_method;
    assert_int_equal(method->handler((weft_call *)&call, (const ProtobufCMessage *)&request,
                                     (ProtobufCMessage *)&response, &ops, &ran),
                     WEFT_NOT_FOUND);
    assert_string_equal(ran.handler, "Add");
    assert_ptr_equal(ran.call, &call);
    assert_ptr_equal(ran.request, &request);
    assert_ptr_equal(ran.response, &response);
    method = &weftless_glue_Notes_Last_method;
    assert_int_equal(method->handler((weft_call *)&call, (const ProtobufCMessage *)&request,
                                     (ProtobufCMessage *)&response, &ops, &ran),
                     WEFT_DATA_LOSS);
    assert_string_equal(ran.handler, "Last");
}

static void offsets_lead_to_the_handlers(void **state)
{
    (void)state;
    assert_int_equal(weftless_glue_Notes_Add_method.ops_offset, offsetof(weftless_glue_Notes_ops, Add));
    assert_int_equal(weftless_glue_Notes_register__method.ops_offset, offsetof(weftless_glue_Notes_ops, register_));
    assert_int_equal(weftless_glue_Notes_Last_method.ops_offset, offsetof(weftless_glue_Notes_ops, Last));
    assert_int_equal(weftless_glue_Notes_Watch_method.ops_offset, offsetof(weftless_glue_Notes_ops, Watch));
}

static Google__Protobuf__FileDescriptorProto *unpacked(const weft_file *file)
{
    Google__Protobuf__FileDescriptorProto *descriptor =
        google__protobuf__file_descriptor_proto__unpack(NULL, file->descriptor_size, file->descriptor);
    assert_non_null(descriptor);
    return descriptor;
}

/* Checks a file and all that it imports. */
static void check_file(const weft_file *file, size_t depth)
{
    assert_in_range(depth, 0, 10);
    assert_int_equal(file->struct_size, sizeof *file);
    Google__Protobuf__FileDescriptorProto *descriptor = unpacked(file);
    assert_string_equal(descriptor->name, file->name);
    assert_null(descriptor->source_code_info);
    assert_int_equal(descriptor->n_dependency, file->import_count);
    for (size_t i = 0; i < file->import_count; i++) {
        assert_string_equal(descriptor->dependency[i], file->imports[i]->name);
        check_file(file->imports[i], depth + 1);
    }
    google__protobuf__file_descriptor_proto__free_unpacked(descriptor, NULL);
}

static void the_file_and_its_imports_carry_their_descriptors(void **state)
{
    (void)state;
    check_file(&glue_proto_file, 0);
    assert_int_equal(glue_proto_file.import_count, 2);
    assert_ptr_equal(glue_proto_file.imports[0], &google__protobuf__timestamp_proto_file);
    assert_ptr_equal(glue_proto_file.imports[1], &google__rpc__status_proto_file);
    Google__Protobuf__FileDescriptorProto *descriptor = unpacked(&glue_proto_file);
    assert_string_equal(descriptor->package, "weftless.glue");
    assert_int_equal(descriptor->n_message_type, 1);
    assert_string_equal(descriptor->message_type[0]->field[2]->name, "base");
    assert_int_equal(descriptor->n_service, 1);
    assert_int_equal(descriptor->service[0]->n_method, 4);
    assert_true(descriptor->service[0]->method[2]->server_streaming);
    google__protobuf__file_descriptor_proto__free_unpacked(descriptor, NULL);
}

static void optional_fields_tell_absent_from_zero(void **state)
{
    (void)state;
    Weftless__Glue__Note note = WEFTLESS__GLUE__NOTE__INIT;
    uint8_t bytes[16];
    assert_int_equal(weftless__glue__note__pack(&note, bytes), 0);
    note._stars_case = WEFTLESS__GLUE__NOTE___STARS_STARS;
    note.stars = 0;
    note.base = 1;
    assert_int_equal(weftless__glue__note__pack(&note, bytes), 4);
    assert_memory_equal(bytes, "\x10\x00\x18\x01", 4);
    Weftless__Glue__Note *back = weftless__glue__note__unpack(NULL, 4, bytes);
    assert_non_null(back);
    assert_int_equal(back->_stars_case, WEFTLESS__GLUE__NOTE___STARS_STARS);
    assert_int_equal(back->_text_case, WEFTLESS__GLUE__NOTE___TEXT__NOT_SET);
    assert_int_equal(back->base, 1);
    weftless__glue__note__free_unpacked(back, NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_service_lists_its_methods_in_order),
        cmocka_unit_test(a_thunk_calls_its_own_handler),
        cmocka_unit_test(offsets_lead_to_the_handlers),
        cmocka_unit_test(the_file_and_its_imports_carry_their_descriptors),
        cmocka_unit_test(optional_fields_tell_absent_from_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
