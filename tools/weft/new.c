/* `weft new`: a whole service from a template. */
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "commands.h"
#include "contract.h"
#include "csource.h"
#include "names.h"
#include "project_name.h"
#include "stub.h"
#include "templates.h"

/* ---- From the templates ------------------------------------------------------------------------------------------ */

static void add_filled(pool *p, file_list *files, const template_file *t, const template_word *words)
{
    text path = text_new(p);
    text content = text_new(p);
    template_fill(&path, words, t->path, strlen(t->path));
    template_fill(&content, words, t->data, t->size);
    file_list_add(p, files, path.data, content);
}

static void add_service_template(pool *p, file_list *files, const project_name *name)
{
    const template_word *words = template_words(p, name);
    for (size_t i = 0; i < service_template_count; i++)
        add_filled(p, files, &service_template[i], words);
}

/* ---- From a contract --------------------------------------------------------------------------------------------- */

/* A contract that a service is made for. */
typedef struct given_contract {
    const char *path;       /* as it was given */
    const char *name;       /* as imports name it */
    proto_request *request; /* with what it imports */
    path_list folders;
    path_list copied;       /* the names of the files to copy */
    stub_service *services; /* service_count of them, all with methods */
    size_t service_count;
} given_contract;

static bool is_bundled(const char *name)
{
    return strncmp(name, "google/protobuf/", strlen("google/protobuf/")) == 0 ||
           strncmp(name, "google/rpc/", strlen("google/rpc/")) == 0 || strcmp(name, PROTO_PB_C_OPTIONS) == 0;
}

/* Where a file of the contract lies; NULL if in none of the folders. */
static const char *find_copied(pool *p, const given_contract *c, const char *name)
{
    for (size_t i = 0; i < c->folders.count; i++) {
        const char *path = pool_printf(p, "%s/%s", c->folders.items[i], name);
        if (file_exists(path))
            return path;
    }
    return NULL;
}

/* Whether a name can stand in a CMakeLists.txt and be the name of a header as it is. */
static bool is_plain(const char *name)
{
    return name[strspn(name, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_-+./")] == '\0';
}

static bool is_stem_taken(const void *arg, const char *stem)
{
    const given_contract *c = arg;
    for (size_t i = 0; i < c->service_count; i++)
        if (strcmp(c->services[i].stem, stem) == 0)
            return true;
    return false;
}

/* Health and reflection, which a server has once. */
static bool is_served_by_all(const char *service)
{
    static const char *const packages[] = {"grpc.health.v1.", "grpc.reflection.v1.", "grpc.reflection.v1alpha."};
    for (size_t i = 0; i < sizeof packages / sizeof packages[0]; i++)
        if (strncmp(service, packages[i], strlen(packages[i])) == 0)
            return true;
    return false;
}

static bool list_services(pool *p, given_contract *c, const project_name *name, const char **problem)
{
    const proto_file *file = proto_find_file(c->request, c->name);
    size_t count = 0;
    for (size_t i = 0; i < file->n_service; i++)
        count += file->service[i]->n_method > 0;
    if (count == 0) {
        *problem = pool_printf(p, "%s has no service with a method: there is nothing to serve", c->path);
        return false;
    }
    for (size_t i = 0; i < file->n_service; i++) {
        const char *served = contract_service_name(p, file, file->service[i]);
        if (is_served_by_all(served)) {
            *problem = pool_printf(p, "%s: every program of Weft serves %s already: leave it out", c->path, served);
            return false;
        }
    }
    c->services = pool_alloc(p, count * sizeof *c->services);
    for (size_t i = 0; i < file->n_service; i++) {
        if (file->service[i]->n_method == 0)
            continue;
        /* The names of the only one's files are the project's. */
        const char *stem =
            count == 1 ? pool_printf(p, "%s_service", name->c) : stub_stem(p, file->service[i]->name, is_stem_taken, c);
        c->services[c->service_count++] = (stub_service){c->request, file, file->service[i], stem};
    }
    return true;
}

/* Lists the files that the service needs beside what libweft has. */
static bool list_copied(pool *p, given_contract *c, const char **problem)
{
    for (size_t i = 0; i < c->request->n_proto_file; i++) {
        const char *name = c->request->proto_file[i]->name;
        if (is_bundled(name))
            continue;
        if (!is_plain(name)) {
            *problem = pool_printf(
                p, "%s: a file's name with such a letter cannot stand in a CMakeLists.txt: rename it", name);
            return false;
        }
        if (find_copied(p, c, name) == NULL) {
            *problem = pool_printf(p, "%s, which %s imports, lies in none of the folders: name it by --import-dir",
                                   name, c->path);
            return false;
        }
        path_list_add(p, &c->copied, name);
    }
    return true;
}

/* What protoc says of the contract, and what mends it where protoc does not know. */
static const char *explain(pool *p, const char *path, const char *problem)
{
    text content;
    const char *unread;
    if (strstr(problem, "Expected top-level statement") != NULL && file_read(p, path, &content, &unread) &&
        csource_has_word(content.data, content.size, "edition"))
        return pool_printf(p, "%s\nthis protoc knows no editions: write `syntax = \"proto3\";` instead", problem);
    return contract_import_hint(p, problem, "--import-dir DIR names the folder that imports count from");
}

static bool read_given(const cli_args *args, const project_name *name, given_contract *out, const char **problem)
{
    pool *p = args->pool;
    given_contract c = {.path = cli_value(args, "--proto")};
    path_list names = {NULL, 0, 0};
    const char *folder;
    for (size_t i = 0; (folder = cli_value_at(args, "--import-dir", i)) != NULL; i++)
        path_list_add(p, &c.folders, folder);
    if (!file_exists(c.path)) {
        *problem = pool_printf(p, "%s: there is no such file", c.path);
        return false;
    }
    if (!contract_name(p, &c.folders, c.path, &c.name, problem))
        return false;
    path_list_add(p, &names, c.name);
    if (!contract_read(p, &c.folders, &names, &c.request, problem)) {
        *problem = explain(p, c.path, *problem);
        return false;
    }
    /* A second time, since what it imports becomes C, too. */
    if (!list_copied(p, &c, problem) || !contract_read(p, &c.folders, &c.copied, &c.request, problem) ||
        !list_services(p, &c, name, problem))
        return false;
    *out = c;
    return true;
}

/* The words that a contract's services and files replace, before those of the name. */
static const template_word *contract_words(pool *p, const given_contract *c, const project_name *name)
{
    text protos = text_new(p);
    text sources = text_new(p);
    text tests = text_new(p);
    text includes = text_new(p);
    text calls = text_new(p);
    text_add(&protos, "PROTOS");
    for (size_t i = 0; i < c->copied.count; i++)
        text_printf(&protos, "%sproto/%s", c->copied.count > 1 ? "\n  " : " ", c->copied.items[i]);
    text_add(&tests, "foreach(test");
    for (size_t i = 0; i < c->service_count; i++) {
        const char *stem = c->services[i].stem;
        text_printf(&sources, "%ssrc/%s.c", i > 0 ? "\n  " : "", stem);
        text_printf(&tests, " %s", stem);
        text_printf(&includes, "#include \"%s.h\"\n", stem);
        text_printf(&calls,
                    i == 0 ? "    int rc = %s_register(weft_process_server(process));\n"
                           : "    if (rc == 0)\n        rc = %s_register(weft_process_server(process));\n",
                    stem);
    }
    const template_word words[] = {
        {"PROTOS proto/sample.proto", protos.data},
        {"src/sample_service.c", sources.data},
        {"foreach(test sample_service", tests.data},
        {"#include \"sample_service.h\"\n", includes.data},
        {"    int rc = sample_service_register(weft_process_server(process));\n", calls.data},
        {"sample.SampleService", contract_service_name(p, c->services[0].file, c->services[0].service)},
        {"sample.proto", c->name},
    };
    const template_word *base = template_words(p, name);
    size_t base_count = 1; /* with the NULL at its end */
    while (base[base_count - 1].word != NULL)
        base_count++;
    template_word *list = pool_alloc(p, sizeof words + base_count * sizeof *base);
    memcpy(list, words, sizeof words);
    memcpy(list + sizeof words / sizeof words[0], base, base_count * sizeof *base);
    return list;
}

/* Whether a file of the service's template is none of a service that comes from a contract. */
static bool is_left_out(const char *path)
{
    static const char *const out[] = {"src/", "tests/", "migrations/", "proto/", "deploy/kubernetes/statefulset.yaml"};
    for (size_t i = 0; i < sizeof out / sizeof out[0]; i++)
        if (strncmp(path, out[i], strlen(out[i])) == 0)
            return true;
    for (size_t i = 0; i < contract_template_count; i++)
        if (strcmp(contract_template[i].path, path) == 0)
            return true;
    return false;
}

static bool add_contract_template(pool *p, file_list *files, const given_contract *c, const project_name *name,
                                  const char **problem)
{
    const template_word *words = contract_words(p, c, name);
    for (size_t i = 0; i < service_template_count; i++)
        if (!is_left_out(service_template[i].path))
            add_filled(p, files, &service_template[i], words);
    for (size_t i = 0; i < contract_template_count; i++)
        add_filled(p, files, &contract_template[i], words);
    for (size_t i = 0; i < c->copied.count; i++) {
        text content;
        if (!file_read(p, find_copied(p, c, c->copied.items[i]), &content, problem))
            return false;
        file_list_add(p, files, pool_printf(p, "proto/%s", c->copied.items[i]), content);
    }
    for (size_t i = 0; i < c->service_count; i++) {
        const stub_service *s = &c->services[i];
        file_list_add(p, files, pool_printf(p, "src/%s.h", s->stem), stub_header(p, s));
        file_list_add(p, files, pool_printf(p, "src/%s.c", s->stem), stub_source(p, s));
        file_list_add(p, files, pool_printf(p, "tests/%s_test.c", s->stem), stub_test(p, s));
    }
    return true;
}

/* ---- The command ------------------------------------------------------------------------------------------------- */

/* A word as a shell takes it. */
static const char *quoted(pool *p, const char *s)
{
    if (is_plain(s) && s[0] != '-' && s[0] != '\0')
        return s;
    text out = text_new(p);
    text_add(&out, s[0] == '-' ? "./'" : "'");
    for (const char *c = s; *c != '\0'; c++) {
        if (*c == '\'')
            text_add(&out, "'\\'");
        text_add_bytes(&out, c, 1);
    }
    text_add(&out, "'");
    return out.data;
}

static void report(const cli_args *args, const project_name *name, const char *folder, const file_list *files)
{
    pool *p = args->pool;
    const char *next[] = {
        pool_printf(p, "cd %s", quoted(p, folder)),
        "cmake -G Ninja -B build && cmake --build build && ctest --test-dir build",
        "weft run",
    };
    if (cli_has(args, "--json")) {
        fputs("{\"name\": ", stdout);
        cli_json_string(stdout, name->given);
        printf(", \"c_name\": \"%s\", \"program\": \"%s-service\", \"folder\": ", name->c, name->dashed);
        cli_json_string(stdout, folder);
        fputs(", \"files\": [", stdout);
        for (size_t i = 0; i < files->count; i++) {
            fputs(i > 0 ? ", " : "", stdout);
            cli_json_string(stdout, files->items[i].path);
        }
        fputs("], \"next\": [", stdout);
        for (size_t i = 0; i < 3; i++) {
            fputs(i > 0 ? ", " : "", stdout);
            cli_json_string(stdout, next[i]);
        }
        fputs("]}\n", stdout);
        return;
    }
    printf("%sMade %s%s: %zu files.", cli_style_on(stdout, CLI_GREEN), folder, cli_style_on(stdout, CLI_PLAIN),
           files->count);
    if (strcmp(name->given, name->c) != 0)
        printf(" In C and in its contract it is called %s.", name->c);
    if (strcmp(name->given, name->dashed) != 0)
        printf(" Its program and unit are called %s-service.", name->dashed);
    puts("\n\nNext:");
    for (size_t i = 0; i < 3; i++)
        printf("  %s\n", next[i]);
}

static int run_new(const cli_args *args)
{
    pool *p = args->pool;
    const char *given = args->operands[0];
    const char *folder = cli_value(args, "--dir");
    const char *problem;
    project_name name;
    file_list files = {NULL, 0, 0};
    if (!project_name_parse(p, given, &name, &problem)) {
        cli_error("the name \"%s\" %s", given, problem);
        return CLI_USAGE;
    }
    if (folder == NULL)
        folder = name.given;
    if (folder[0] == '\0')
        return cli_usage(args, "--dir is empty");
    size_t len = strlen(folder);
    while (len > 1 && folder[len - 1] == '/') /* as a shell's completion leaves it */
        len--;
    folder = pool_printf(p, "%.*s", (int)len, folder);
    if (file_exists(folder)) /* before anything is read */
        return cli_error("%s is there already, and nothing is overwritten: choose another name, or another --dir",
                         folder);
    if (cli_has(args, "--proto")) {
        given_contract contract;
        if (!read_given(args, &name, &contract, &problem) ||
            !add_contract_template(p, &files, &contract, &name, &problem))
            return cli_error("%s", problem);
    } else if (cli_has(args, "--import-dir")) {
        return cli_usage(args, "--import-dir belongs to --proto");
    } else {
        add_service_template(p, &files, &name);
    }
    if (!folder_make(p, folder, &files, &problem))
        return cli_error("%s; nothing was left behind", problem);
    report(args, &name, folder, &files);
    return CLI_OK;
}

static const cli_option options[] = {
    {.name = "--dir", .value = "DIR", .doc = "the folder to make; default: NAME"},
    {.name = "--proto", .value = "FILE", .doc = "makes the service for this contract"},
    {.name = "--import-dir",
     .value = "DIR",
     .doc = "where FILE's imports are looked up; default: its folder",
     .many = true},
    {.name = "--json", .doc = "tells what was made as JSON"},
    {.name = NULL},
};

static const cli_example examples[] = {
    {"weft new greeter", "a service that greets, and counts that in SQLite: to be changed into yours"},
    {"weft new orders --proto api/orders.proto", "handlers for every method of a contract that is there"},
    {"weft new orders --import-dir api --proto api/acme/orders/v1/orders.proto", "which imports acme/…"},
    {NULL, NULL},
};

const cli_command new_command = {
    .name = "new",
    .summary = "make a service",
    .synopsis = "NAME [--dir DIR] [--proto FILE [--import-dir DIR]] [--json]",
    .description = "Makes the folder of a whole service: contract, handlers, domain, store, configuration,\n"
                   "tests, CMakeLists.txt, Dockerfile, Kubernetes manifests, a systemd unit, a CI file. It\n"
                   "builds and passes its tests as it is.\n"
                   "\n"
                   "NAME has lower-case letters, digits, '_' and '-' (in C a '-' is a '_'), 40 at most, begins\n"
                   "with a letter, and is no word of C or C++ and no header of the system.\n"
                   "\n"
                   "With --proto, FILE and what it imports are copied, and each of its methods has a handler\n"
                   "that answers UNIMPLEMENTED until you write it, and a test. There is no store then.\n"
                   "\n"
                   "Nothing is overwritten: a folder that is there is refused. The new one appears when all\n"
                   "of it is written.",
    .options = options,
    .examples = examples,
    .min_operands = 1,
    .max_operands = 1,
    .run = run_new,
};
