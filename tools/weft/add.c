/* `weft add` and `weft gen`: a project grows. */
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "commands.h"
#include "names.h"
#include "project.h"

/* ---- weft add ---------------------------------------------------------------------------------------------------- */

/* Fills in the types that the command line does not name. */
static proto_new_method new_method(const cli_args *args, const char *name)
{
    const char *request = cli_value(args, "--request");
    const char *response = cli_value(args, "--response");
    return (proto_new_method){
        .name = name,
        .request = request != NULL ? request : pool_printf(args->pool, "%sRequest", name),
        .response = response != NULL ? response : pool_printf(args->pool, "%sResponse", name),
        .stream_request = cli_has(args, "--stream-request"),
        .stream_response = cli_has(args, "--stream-response"),
    };
}

/* A type as a proto names one: identifiers between dots, of which there may be one before the first. */
static bool is_type(pool *p, const char *name)
{
    if (*name == '.')
        name++;
    for (;;) {
        size_t length = strcspn(name, ".");
        if (!proto_is_identifier(pool_printf(p, "%.*s", (int)length, name)))
            return false;
        if (name[length] == '\0')
            return true;
        name += length + 1;
    }
}

static int check_method(const cli_args *args, const proto_new_method *method)
{
    if (!proto_is_identifier(method->name))
        return cli_usage(args, "%s is no name for a method: [SERVICE/]METHOD, letters, digits and '_', a letter first",
                         method->name);
    const char *types[] = {method->request, method->response};
    for (size_t i = 0; i < 2; i++)
        if (!is_type(args->pool, types[i]))
            return cli_usage(args, "%s is no name of a message", types[i]);
    return CLI_OK;
}

/* Writes what was prepared, and tells. */
static int finish(const cli_args *args, project *pr, const path_list *methods)
{
    const char *problem;
    path_list leftovers = {NULL, 0, 0};
    project_list_leftovers(pr, &leftovers);
    if (!project_write(pr, &problem))
        return cli_error("%s", problem);
    project_report(pr, args, methods, &leftovers);
    return CLI_OK;
}

static int add_method(const cli_args *args, const char *name)
{
    const char *problem;
    const char *slash = strrchr(name, '/');
    const char *service_name = slash != NULL ? pool_printf(args->pool, "%.*s", (int)(slash - name), name) : NULL;
    proto_new_method method = new_method(args, slash != NULL ? slash + 1 : name);
    project pr;
    project_service service;
    path_list added = {NULL, 0, 0};
    int code = check_method(args, &method);
    if (code != CLI_OK)
        return code;
    if (!project_open(args->pool, &pr, &problem) || !project_find_service(&pr, service_name, &service, &problem) ||
        !project_add_method(&pr, &service, &method, &problem) ||
        !project_add_handlers(&pr, &service, method.name, &added, &problem))
        return cli_error("%s", problem);
    return finish(args, &pr, &added);
}

/* The .proto that a service is added to: the one that is named, or the only one that has services. */
static const char *choose_proto(const cli_args *args, project *pr, const char **problem)
{
    const char *wanted = cli_value(args, "--proto");
    const char *only = NULL;
    for (size_t i = 0; i < pr->request->n_proto_file; i++) {
        const proto_file *file = pr->request->proto_file[i];
        if (!project_is_own(pr, file))
            continue;
        if (wanted != NULL &&
            (strcmp(wanted, file->name) == 0 || strcmp(wanted, pool_printf(args->pool, "proto/%s", file->name)) == 0))
            return file->name;
        if (wanted == NULL && file->n_service > 0) {
            if (only != NULL) {
                *problem =
                    pool_printf(args->pool, "%s and %s both have services: say which by --proto", only, file->name);
                return NULL;
            }
            only = file->name;
        }
    }
    if (only == NULL)
        *problem = wanted != NULL ? pool_printf(args->pool, "there is no %s below proto/", wanted)
                                  : "no .proto file has a service: say which one gets it by --proto";
    return only;
}

static int add_service(const cli_args *args, const char *name)
{
    const char *problem;
    const char *method_name = cli_value(args, "--method");
    path_list added = {NULL, 0, 0};
    project pr;
    if (!proto_is_identifier(name) || name[0] < 'A' || name[0] > 'Z')
        return cli_usage(args, "%s is no name for a service: letters, digits and '_', an upper-case letter first",
                         name);
    proto_new_method method =
        new_method(args, method_name != NULL ? method_name : pool_printf(args->pool, "Get%s", name));
    int code = check_method(args, &method);
    if (code != CLI_OK)
        return code;
    if (!project_open(args->pool, &pr, &problem))
        return cli_error("%s", problem);
    const char *proto = choose_proto(args, &pr, &problem);
    if (proto == NULL || !project_add_service(&pr, proto, name, &method, &problem))
        return cli_error("%s", problem);
    project_service service;
    if (!project_find_service(&pr, name, &service, &problem) ||
        !project_add_handlers(&pr, &service, NULL, &added, &problem))
        return cli_error("%s", problem);
    return finish(args, &pr, &added);
}

static int run_add(const cli_args *args)
{
    const char *what = args->operands[0];
    if (strcmp(what, "method") == 0 && (cli_has(args, "--method") || cli_has(args, "--proto")))
        return cli_usage(args, "--method and --proto belong to `weft add service`");
    if (strcmp(what, "method") == 0)
        return add_method(args, args->operands[1]);
    if (strcmp(what, "service") == 0)
        return add_service(args, args->operands[1]);
    return cli_usage(args, "what is a %s? `weft add method` or `weft add service`", what);
}

static const cli_option add_options[] = {
    {.name = "--stream-request", .doc = "callers send many messages"},
    {.name = "--stream-response", .doc = "the service sends many messages"},
    {.name = "--request", .value = "MESSAGE", .doc = "what is sent; default: METHODRequest"},
    {.name = "--response", .value = "MESSAGE", .doc = "what is answered; default: METHODResponse"},
    {.name = "--method", .value = "METHOD", .doc = "a new service's first method; default: GetNAME"},
    {.name = "--proto", .value = "FILE", .doc = "where a new service goes, if several files have services"},
    {.name = "--json", .doc = "tells what was written as JSON"},
    {.name = NULL},
};

static const cli_example add_examples[] = {
    {"weft add method Goodbye", "to the only service"},
    {"weft add method greeter.GreeterService/Watch --stream-response", "an answer of many messages"},
    {"weft add service Admin --method Reload", "src/admin_service.c, registered in src/main.c"},
    {NULL, NULL},
};

const cli_command add_command = {
    .name = "add",
    .summary = "add a method or a service to a project",
    .synopsis = "method [SERVICE/]METHOD [--stream-request] [--stream-response] [--request MESSAGE]\n"
                "service NAME [--method METHOD] [--proto FILE]",
    .description = "In the folder of a project. Adds to its .proto, and a handler that answers UNIMPLEMENTED\n"
                   "until you write it. All else stays as it is, to the byte.\n"
                   "\n"
                   "A method goes to the end of its service, messages that are not there yet to the end of\n"
                   "the file; a message with a dot in its name must be there. The handler stands above the\n"
                   "table of handlers, `static const …_ops … = {`, and has a line at its end.\n"
                   "\n"
                   "A service gets files of its own in src/ and tests/, a line in CMakeLists.txt, and is\n"
                   "registered in src/main.c.\n"
                   "\n"
                   "protoc reads the contract before and after. When it does not like it, or a place is not\n"
                   "found, nothing is changed.",
    .options = add_options,
    .examples = add_examples,
    .words = "method service",
    .min_operands = 2,
    .max_operands = 2,
    .run = run_add,
};

/* ---- weft gen ---------------------------------------------------------------------------------------------------- */

/* Adds the handlers that are missing. */
static int gen_handlers(const cli_args *args)
{
    const char *problem;
    project pr;
    path_list added = {NULL, 0, 0};
    if (!project_open(args->pool, &pr, &problem))
        return cli_error("%s", problem);
    for (size_t i = 0; i < pr.request->n_proto_file; i++) {
        project_service service = {.file = pr.request->proto_file[i]};
        if (!project_is_own(&pr, service.file))
            continue;
        for (service.index = 0; service.index < service.file->n_service; service.index++)
            if (!project_add_handlers(&pr, &service, NULL, &added, &problem))
                return cli_error("%s", problem);
    }
    return finish(args, &pr, &added);
}

/* Writes the generated code. */
static int gen_code(const cli_args *args, const char *out)
{
    pool *p = args->pool;
    const char *problem;
    path_list folders = {NULL, 0, 0};
    path_list paths = {NULL, 0, 0};
    path_list names = {NULL, 0, 0};
    const char *folder;
    for (size_t i = 0; (folder = cli_value_at(args, "--import-dir", i)) != NULL; i++)
        path_list_add(p, &folders, folder);
    for (size_t i = 0; i < args->operand_count; i++)
        path_list_add(p, &paths, args->operands[i]);
    if (paths.count == 0) {
        path_list_add(p, &folders, "proto");
        if (!path_list_find(p, &paths, "proto", ".proto", &problem))
            return cli_error("%s", problem);
    }
    if (paths.count == 0)
        return cli_error("there is no .proto file below proto/");
    for (size_t i = 0; i < paths.count; i++) {
        const char *name;
        if (!contract_name(p, &folders, paths.items[i], &name, &problem))
            return cli_error("%s", problem);
        path_list_add(p, &names, name);
    }
    bool made = mkdir(out, 0777) == 0;
    if (!made && !file_is_folder(out))
        return cli_error("%s: cannot be made: %s", out, strerror(errno));
    if (!contract_generate(p, &folders, &names, out, &problem)) {
        if (made)
            (void)rmdir(out); /* protoc leaves it empty then */
        return cli_error("%s",
                         contract_import_hint(p, problem, "--import-dir DIR names the folder that imports count from"));
    }
    for (size_t i = 0; i < names.count && !cli_has(args, "--json"); i++)
        printf("%s/%s.{pb-c,weft}.{h,c}\n", out, name_stem(p, names.items[i]));
    if (cli_has(args, "--json")) {
        static const char *const endings[] = {".pb-c.h", ".pb-c.c", ".weft.h", ".weft.c"};
        fputs("{\"files\": [", stdout);
        for (size_t i = 0; i < 4 * names.count; i++) {
            fputs(i > 0 ? ", " : "", stdout);
            cli_json_string(stdout, pool_printf(p, "%s/%s%s", out, name_stem(p, names.items[i / 4]), endings[i % 4]));
        }
        fputs("]}\n", stdout);
    }
    return CLI_OK;
}

static int run_gen(const cli_args *args)
{
    const char *out = cli_value(args, "--out");
    if (out != NULL)
        return gen_code(args, out);
    if (args->operand_count > 0 || cli_has(args, "--import-dir"))
        return cli_usage(args, "say where the code goes: --out DIR");
    return gen_handlers(args);
}

static const cli_option gen_options[] = {
    {.name = "--out", .value = "DIR", .doc = "writes the generated code there"},
    {.name = "--import-dir", .value = "DIR", .doc = "with --out: where imports are looked up", .many = true},
    {.name = "--json", .doc = "tells what was written as JSON"},
    {.name = NULL},
};

static const cli_example gen_examples[] = {
    {"weft gen", "after you have changed proto/greeter.proto: handlers for what is new"},
    {"weft gen --out gen", "the code of all contracts of the project, for a tree that keeps it"},
    {"weft gen --out gen --import-dir api api/acme/v1/greeter.proto", "gen/acme/v1/greeter.weft.h and so on"},
    {NULL, NULL},
};

const cli_command gen_command = {
    .name = "gen",
    .summary = "add the handlers that a changed contract wants, or write its code",
    .synopsis = "[--json]\n--out DIR [--import-dir DIR] [PROTO…]",
    .description = "Without --out, in the folder of a project: adds a handler for each method of its contract\n"
                   "that has none, as `weft add method` does, and leaves all else as it is. It tells which\n"
                   "handlers have lost their method, and which files of proto/ CMakeLists.txt does not name.\n"
                   "Where a method is of another kind now, the compiler names its handler.\n"
                   "\n"
                   "With --out: writes the C that protoc-gen-weft makes of contracts, those of proto/ if none\n"
                   "is named. A project does not need it: its build generates into the build folder.",
    .options = gen_options,
    .examples = gen_examples,
    .max_operands = SIZE_MAX,
    .run = run_gen,
};
