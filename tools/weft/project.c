/* Design notes. A change is first made to texts in memory; a file that is changed twice is read once. The contract as
 * it would be is read by protoc from a temporary folder that lies before proto/ in its search path. Only then is
 * anything written, by files_change().
 *
 * Two that change a project at once would each write without what the other added. So the folder is locked from
 * project_open() on. Editors know no lock: files that are not what was read any more are not written. */
#include "project.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <unistd.h>

#include "csource.h"
#include "names.h"

#define PROTO_FOLDER  "proto"
#define SOURCE_FOLDER "src"
#define TEST_FOLDER   "tests"
#define BUILD_FILE    "CMakeLists.txt"
#define MAIN_FILE     "src/main.c"

/* ---- Texts ------------------------------------------------------------------------------------------------------- */

/* The content of a file, as it shall be. */
static bool project_read(project *pr, const char *path, text *out, const char **problem)
{
    for (size_t i = 0; i < pr->changed.count; i++) {
        const disk_file *f = &pr->changed.items[i];
        if (strcmp(f->path, path) == 0) {
            *out = text_new(pr->pool);
            text_add_bytes(out, f->data, f->size);
            return true;
        }
    }
    stamp_list_add(pr->pool, &pr->read, path);
    return file_read(pr->pool, path, out, problem);
}

static void project_change(project *pr, const char *path, text content)
{
    for (size_t i = 0; i < pr->changed.count; i++) {
        disk_file *f = &pr->changed.items[i];
        if (strcmp(f->path, path) == 0) {
            f->data = content.data;
            f->size = content.size;
            return;
        }
    }
    file_list_add(pr->pool, &pr->changed, path, content);
}

/* Inserts a text with the line ends that the content has. */
static void insert(text *content, size_t at, const char *added)
{
    text result = text_new(content->pool);
    const char *first = strchr(content->data, '\n');
    bool crlf = first != NULL && first > content->data && first[-1] == '\r';
    text_add_bytes(&result, content->data, at);
    for (const char *c = added; *c != '\0'; c++) {
        if (crlf && *c == '\n')
            text_add(&result, "\r");
        text_add_bytes(&result, c, 1);
    }
    text_add_bytes(&result, content->data + at, content->size - at);
    *content = result;
}

/* ---- Opening ----------------------------------------------------------------------------------------------------- */

/* Has protoc read the contract as it shall be. */
static bool read_contract(project *pr, const char **problem)
{
    pool *p = pr->pool;
    file_list changed = {NULL, 0, 0};
    path_list folders = {NULL, 0, 0};
    const size_t prefix = strlen(PROTO_FOLDER "/");
    for (size_t i = 0; i < pr->changed.count; i++) {
        disk_file f = pr->changed.items[i];
        if (strncmp(f.path, PROTO_FOLDER "/", prefix) == 0)
            file_list_add(p, &changed, f.path + prefix, (text){.data = (char *)f.data, .size = f.size});
    }
    if (changed.count == 0)
        return contract_read(p, &pr->folders, &pr->protos, &pr->request, problem);
    const char *tmp = getenv("TMPDIR");
    char *scratch = pool_printf(p, "%s/weft-XXXXXX", tmp != NULL && tmp[0] != '\0' ? tmp : "/tmp");
    if (mkdtemp(scratch) == NULL) {
        *problem = pool_printf(p, "cannot make a temporary folder in %s", path_folder(p, scratch));
        return false;
    }
    const char *folder = pool_printf(p, "%s/proto", scratch);
    bool read = folder_make(p, folder, &changed, problem);
    if (read) {
        path_list_add(p, &folders, folder);
        for (size_t i = 0; i < pr->folders.count; i++)
            path_list_add(p, &folders, pr->folders.items[i]);
        read = contract_read(p, &folders, &pr->protos, &pr->request, problem);
        folder_remove(p, folder, &changed);
    }
    rmdir(scratch);
    return read;
}

/* Waits for its turn. Where the file system has no locks, the stamps are all there is. @return the lock, or -1. */
static int lock_folder(void)
{
    int fd = open(".", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    while (fd >= 0 && flock(fd, LOCK_EX) < 0 && errno == EINTR)
        ;
    return fd;
}

static void unlock_folder(project *pr)
{
    if (pr->lock >= 0)
        close(pr->lock);
    pr->lock = -1;
}

static bool read_folder(project *pr, const char **problem)
{
    pool *p = pr->pool;
    path_list paths = {NULL, 0, 0};
    path_list_add(p, &pr->folders, PROTO_FOLDER);
    if (!path_list_find(p, &paths, PROTO_FOLDER, ".proto", problem) ||
        !path_list_find(p, &pr->sources, SOURCE_FOLDER, ".c", problem))
        return false;
    for (size_t i = 0; i < paths.count; i++) {
        stamp_list_add(p, &pr->read, paths.items[i]);
        path_list_add(p, &pr->protos, paths.items[i] + strlen(PROTO_FOLDER "/"));
    }
    if (pr->protos.count == 0) {
        *problem = "there is no .proto file below " PROTO_FOLDER "/";
        return false;
    }
    if (read_contract(pr, problem))
        return true;
    *problem =
        contract_import_hint(p, *problem, "copy what is imported into " PROTO_FOLDER "/, with the folders of its name");
    return false;
}

bool project_open(pool *p, project *out, const char **problem)
{
    project pr = {.pool = p};
    if (!file_exists(BUILD_FILE) || !file_is_folder(PROTO_FOLDER) || !file_is_folder(SOURCE_FOLDER)) {
        *problem = "this is no folder of a project: there is no " BUILD_FILE ", " PROTO_FOLDER "/ or " SOURCE_FOLDER
                   "/; go to the one that `weft new` made";
        return false;
    }
    pr.lock = lock_folder();
    if (!read_folder(&pr, problem)) {
        unlock_folder(&pr);
        return false;
    }
    *out = pr;
    return true;
}

bool project_is_own(const project *pr, const proto_file *file)
{
    for (size_t i = 0; i < pr->protos.count; i++)
        if (strcmp(pr->protos.items[i], file->name) == 0)
            return true;
    return false;
}

/* The file of the contract by its name, after it was read again. */
static proto_file *find_file(const project *pr, const char *name)
{
    for (size_t i = 0; i < pr->request->n_proto_file; i++)
        if (strcmp(pr->request->proto_file[i]->name, name) == 0)
            return pr->request->proto_file[i];
    return NULL;
}

bool project_find_service(project *pr, const char *name, project_service *out, const char **problem)
{
    pool *p = pr->pool;
    text all = text_new(p);
    size_t found = 0;
    for (size_t i = 0; i < pr->request->n_proto_file; i++) {
        proto_file *file = pr->request->proto_file[i];
        for (size_t j = 0; j < file->n_service && project_is_own(pr, file); j++) {
            const char *full = contract_service_name(p, file, file->service[j]);
            text_printf(&all, "%s%s", all.size > 0 ? ", " : "", full);
            if (name == NULL || strcmp(name, full) == 0 || strcmp(name, file->service[j]->name) == 0) {
                found++;
                *out = (project_service){file, j};
            }
        }
    }
    if (found == 1)
        return true;
    if (all.size == 0)
        *problem = "the contract has no service yet: weft add service";
    else if (found == 0)
        *problem = pool_printf(p, "there is no service %s; there is: %s", name, all.data);
    else if (name == NULL)
        *problem = pool_printf(p, "say of which service, as SERVICE/METHOD; there are: %s", all.data);
    else
        *problem = pool_printf(p, "%s may be any of several services; there are: %s", name, all.data);
    return false;
}

/* ---- The contract ------------------------------------------------------------------------------------------------ */

static const char *proto_path(pool *p, const char *name)
{
    return pool_printf(p, "%s/%s", PROTO_FOLDER, name);
}

/* Whether the file's package has a message of that name, in whatever file that it sees. */
static bool has_message(const project *pr, const proto_file *file, const char *name)
{
    const char *package = proto_package(file);
    return proto_find_type(pr->request,
                           pool_printf(pr->pool, ".%s%s%s", package, package[0] != '\0' ? "." : "", name)) != NULL;
}

/* Adds the messages that a method names and that are not there. */
static void add_messages(const project *pr, const proto_file *file, text *content, const proto_new_method *method)
{
    if (strchr(method->request, '.') == NULL && !has_message(pr, file, method->request))
        proto_add_message(content, method->request);
    if (strchr(method->response, '.') == NULL && !has_message(pr, file, method->response) &&
        strcmp(method->response, method->request) != 0)
        proto_add_message(content, method->response);
}

/* Reads the contract as it shall be; what protoc says of it is the fault of what was to be added. */
static bool read_changed(project *pr, const char *name, const char **problem)
{
    if (read_contract(pr, problem))
        return true;
    const char *how = "";
    if (strstr(*problem, " is not defined.") != NULL)
        how = "\nimport the file that defines it, first";
    else if (strstr(*problem, " is not a message type.") != NULL) /* within a service, names of methods come first */
        how = "\nif a method has the name of the message, too, write it with its package, as .acme.v1.Order";
    *problem =
        pool_printf(pr->pool, "%s would not be valid any more:\n%s%s", proto_path(pr->pool, name), *problem, how);
    return false;
}

bool project_add_method(project *pr, const project_service *to, const proto_new_method *method, const char **problem)
{
    pool *p = pr->pool;
    const proto_service *service = to->file->service[to->index];
    const char *path = proto_path(p, to->file->name);
    text content;
    text changed = text_new(p);
    for (size_t i = 0; i < service->n_method; i++)
        if (strcmp(service->method[i]->name, method->name) == 0) {
            *problem = pool_printf(p, "%s has a method %s already", service->name, method->name);
            return false;
        }
    if (!project_read(pr, path, &content, problem))
        return false;
    if (!proto_add_method(&changed, &content, to->file, to->index, method)) {
        *problem = pool_printf(p,
                               "%s: the end of service %s is not where protoc sees it: add `rpc %s` by hand, then run "
                               "weft gen",
                               path, service->name, method->name);
        return false;
    }
    add_messages(pr, to->file, &changed, method);
    project_change(pr, path, changed);
    return read_changed(pr, to->file->name, problem);
}

bool project_add_service(project *pr, const char *proto, const char *name, const proto_new_method *method,
                         const char **problem)
{
    const char *path = proto_path(pr->pool, proto);
    const proto_file *file = find_file(pr, proto);
    text content;
    if (!project_read(pr, path, &content, problem))
        return false;
    for (size_t i = 0; i < file->n_service; i++)
        if (strcmp(file->service[i]->name, name) == 0) {
            *problem = pool_printf(pr->pool, "%s has a service %s already", path, name);
            return false;
        }
    proto_add_service(&content, name, method);
    add_messages(pr, file, &content, method);
    project_change(pr, path, content);
    return read_changed(pr, proto, problem);
}

/* ---- Handlers ---------------------------------------------------------------------------------------------------- */

/* Finds the table of a service's handlers. @return how many files have one; `content` is the first's, or -1. */
static int find_table(project *pr, const char *type, const char **path, text *content, csource_table *table,
                      const char **problem)
{
    int found = 0;
    for (size_t i = 0; i < pr->sources.count; i++) {
        text candidate;
        csource_table at;
        if (!project_read(pr, pr->sources.items[i], &candidate, problem))
            return -1;
        size_t count = csource_find_table(candidate.data, candidate.size, type, &at);
        if (count > 1) {
            *problem = pool_printf(pr->pool, "%s has more than one `%s … = {…}`: add the handler by hand",
                                   pr->sources.items[i], type);
            return -1;
        }
        if (count == 1 && found++ == 0) {
            *path = pr->sources.items[i];
            *content = candidate;
            *table = at;
        }
    }
    return found;
}

/* Whether some source mentions the table's type, so that there is a table which is not found. */
static bool is_mentioned(project *pr, const char *type, const char **path)
{
    const char *problem;
    for (size_t i = 0; i < pr->sources.count; i++) {
        text content;
        *path = pr->sources.items[i];
        if (project_read(pr, *path, &content, &problem) && csource_has_word(content.data, content.size, type))
            return true;
    }
    return false;
}

/* Adds `.Method = function,` at the end of a table. */
static void add_entry(text *content, const csource_table *table, const char *member, const char *function)
{
    pool *p = content->pool;
    const char *line = content->data + table->close;
    while (line > content->data && (line[-1] == ' ' || line[-1] == '\t'))
        line--;
    bool own_line = line > content->data && line[-1] == '\n';
    if (!own_line) {
        insert(content, table->last,
               pool_printf(p, "%s.%s = %s", table->comma ? table->last == table->open + 1 ? "" : " " : ", ", member,
                           function));
        return;
    }
    /* As far in as the entry before it. */
    const char *entry = content->data + table->last;
    while (entry > content->data && entry[-1] != '\n')
        entry--;
    size_t blanks = strspn(entry, " \t");
    bool follows = table->last > table->open + 1 && entry[blanks] == '.';
    const char *indent = follows ? pool_printf(p, "%.*s", (int)blanks, entry) : "    ";
    insert(content, (size_t)(line - content->data), pool_printf(p, "%s.%s = %s,\n", indent, member, function));
    if (!table->comma)
        insert(content, table->last, ",");
}

/* Adds the handlers that a table lacks. */
static bool fill_table(project *pr, const stub_service *s, const char *only, const char *path, text content,
                       const char *type, path_list *added, const char **problem)
{
    pool *p = pr->pool;
    bool changed = false;
    for (size_t i = 0; i < s->service->n_method; i++) {
        const proto_method *method = s->service->method[i];
        const char *member = name_method(p, method->name);
        csource_table table;
        if (only != NULL && strcmp(only, method->name) != 0)
            continue;
        if (csource_find_table(content.data, content.size, type, &table) != 1) {
            *problem = pool_printf(p, "%s: lost sight of the table of %s", path, s->service->name);
            return false;
        }
        if (csource_has_entry(content.data, &table, member))
            continue;
        text stub = text_new(p);
        const char *function = stub_function(p, method->name, content.data, content.size);
        stub_add_handler(&stub, s, method, function);
        add_entry(&content, &table, member, function); /* first the place that lies behind */
        insert(&content, table.declaration, stub.data);
        path_list_add(p, added, pool_printf(p, "%s/%s", s->service->name, method->name));
        changed = true;
    }
    if (changed)
        project_change(pr, path, content);
    return true;
}

/* ---- Files of a service ------------------------------------------------------------------------------------------ */

/* "admin_service" of src/admin_service.c. */
static const char *stem_of(pool *p, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;
    return pool_printf(p, "%.*s", (int)(strlen(name) - strlen(".c")), name);
}

/* The first argument of a call, which is the server. */
static const char *first_argument(pool *p, const text *content, const csource_call *call)
{
    size_t depth = 0;
    size_t length = 0;
    for (; length < call->arguments_size; length++) {
        char c = content->data[call->arguments + length];
        depth += c == '(' ? 1 : 0;
        depth -= c == ')' ? 1 : 0;
        if (c == ',' && depth == 0)
            break;
    }
    return pool_printf(p, "%.*s", (int)length, content->data + call->arguments);
}

/* Adds `rc = STEM_register(server)` behind the call that registers a service which is there, and the #include. */
static bool register_in_main(project *pr, const char *known, const char *stem, const char **problem)
{
    pool *p = pr->pool;
    text content;
    csource_call call;
    if (!project_read(pr, MAIN_FILE, &content, problem))
        return false;
    const char *function = pool_printf(p, "%s_register", known);
    size_t included = csource_find_include(content.data, content.size, pool_printf(p, "%s.h", known));
    if (csource_find_call(content.data, content.size, function, &call) != 1 || included > call.line) {
        *problem = pool_printf(p,
                               MAIN_FILE " has no `#include \"%s.h\"` and `rc = %s(…);` beside which %s_register() "
                                         "could be called: write these lines first",
                               known, function, stem);
        return false;
    }
    const char *result = pool_printf(p, "%.*s", (int)call.result_size, content.data + call.result);
    int indent = (int)strspn(content.data + call.line, " ");
    const char *server = first_argument(p, &content, &call);
    insert(&content, call.end,
           pool_printf(p, "\n%*sif (%s == 0)\n%*s    %s = %s_register(%s);", indent, "", result, indent, "", result,
                       stem, server));
    insert(&content, included, pool_printf(p, "\n#include \"%s.h\"", stem)); /* which lies before the call */
    project_change(pr, MAIN_FILE, content);
    return true;
}

/* Finds a text in a CMakeLists.txt, but none behind a '#' of its line, which is a comment. NULL: there is none. */
static const char *find_in_build(const char *content, const char *wanted)
{
    const char *line = content;
    for (const char *at = content; (at = strstr(at, wanted)) != NULL; at++) {
        for (const char *end; (end = memchr(line, '\n', (size_t)(at - line))) != NULL;)
            line = end + 1;
        if (memchr(line, '#', (size_t)(at - line)) == NULL)
            return at;
    }
    return NULL;
}

/* Adds the files of a service to CMakeLists.txt. @param tested whether its tests were added. */
static bool add_to_build(project *pr, const char *known, const char *stem, bool *tested, const char **problem)
{
    static const char loop[] = "foreach(test ";
    pool *p = pr->pool;
    text content;
    if (!project_read(pr, BUILD_FILE, &content, problem))
        return false;
    const char *source = find_in_build(content.data, known);
    if (source == NULL) {
        *problem = pool_printf(p, BUILD_FILE " does not name %s, beside which " SOURCE_FOLDER "/%s.c could stand",
                               known, stem);
        return false;
    }
    const char *line = source;
    while (line > content.data && (line[-1] == ' ' || line[-1] == '\t'))
        line--;
    const char *before =
        line == content.data || line[-1] == '\n' ? pool_printf(p, "\n%.*s", (int)(source - line), line) : " ";
    insert(&content, (size_t)(source - content.data) + strlen(known),
           pool_printf(p, "%s" SOURCE_FOLDER "/%s.c", before, stem));
    const char *tests = find_in_build(content.data, loop);
    const char *close = tests != NULL ? find_in_build(tests, ")") : NULL;
    *tested = close != NULL;
    if (*tested)
        insert(&content, (size_t)(close - content.data), pool_printf(p, " %s", stem));
    project_change(pr, BUILD_FILE, content);
    return true;
}

/* The source that has the handlers of some service: beside it others are added. */
static const char *find_known(project *pr)
{
    const char *problem;
    for (size_t i = 0; i < pr->request->n_proto_file; i++) {
        const proto_file *file = pr->request->proto_file[i];
        for (size_t j = 0; j < file->n_service && project_is_own(pr, file); j++) {
            const char *path;
            text content;
            csource_table table;
            const char *type = pool_printf(pr->pool, "%s_ops", name_service(pr->pool, file, file->service[j]));
            if (find_table(pr, type, &path, &content, &table, &problem) > 0)
                return path;
        }
    }
    return NULL;
}

static const char *header_of(pool *p, const char *stem)
{
    return pool_printf(p, SOURCE_FOLDER "/%s.h", stem);
}

static const char *source_of(pool *p, const char *stem)
{
    return pool_printf(p, SOURCE_FOLDER "/%s.c", stem);
}

static const char *test_of(pool *p, const char *stem)
{
    return pool_printf(p, TEST_FOLDER "/%s_test.c", stem);
}

/* Whether a file of that stem is there, or comes with another service. */
static bool is_stem_taken(const void *arg, const char *stem)
{
    const project *pr = arg;
    const char *header = header_of(pr->pool, stem);
    for (size_t i = 0; i < pr->added.count; i++)
        if (strcmp(pr->added.items[i].path, header) == 0)
            return true;
    return file_exists(header) || file_exists(source_of(pr->pool, stem)) || file_exists(test_of(pr->pool, stem));
}

/* Makes the files of a service that has none. */
static bool add_files(project *pr, stub_service *s, path_list *added, const char **problem)
{
    pool *p = pr->pool;
    bool tested;
    const char *known = find_known(pr);
    if (known == NULL) {
        *problem = "no file of " SOURCE_FOLDER "/ has a table of handlers (`static const …_ops … = {…}`) beside which "
                   "another service could be registered";
        return false;
    }
    s->stem = stub_stem(p, s->service->name, is_stem_taken, pr);
    if (!add_to_build(pr, known, s->stem, &tested, problem) ||
        !register_in_main(pr, stem_of(p, known), s->stem, problem))
        return false;
    file_list_add(p, &pr->added, header_of(p, s->stem), stub_header(p, s));
    file_list_add(p, &pr->added, source_of(p, s->stem), stub_source(p, s));
    if (tested)
        file_list_add(p, &pr->added, test_of(p, s->stem), stub_test(p, s));
    for (size_t i = 0; i < s->service->n_method; i++)
        path_list_add(p, added, pool_printf(p, "%s/%s", s->service->name, s->service->method[i]->name));
    return true;
}

bool project_add_handlers(project *pr, const project_service *of, const char *only, path_list *added,
                          const char **problem)
{
    pool *p = pr->pool;
    const proto_file *file = find_file(pr, of->file->name);
    stub_service s = {.request = pr->request, .file = file, .service = file->service[of->index]};
    const char *type = pool_printf(p, "%s_ops", name_service(p, file, s.service));
    const char *path;
    text content;
    csource_table table;
    int found = find_table(pr, type, &path, &content, &table, problem);
    if (found < 0)
        return false;
    if (found > 1) {
        *problem =
            pool_printf(p, "several files of " SOURCE_FOLDER "/ have a `%s … = {…}`: add the handlers by hand", type);
        return false;
    }
    if (found == 1)
        return fill_table(pr, &s, only, path, content, type, added, problem);
    if (is_mentioned(pr, type, &path)) {
        *problem = pool_printf(p, "%s: no `static const %s … = {…}` that could be added to: add the handler by hand",
                               path, type);
        return false;
    }
    return s.service->n_method == 0 || add_files(pr, &s, added, problem);
}

/* ---- Leftovers --------------------------------------------------------------------------------------------------- */

static bool has_method(pool *p, const proto_service *service, const char *member)
{
    for (size_t i = 0; i < service->n_method; i++)
        if (strcmp(name_method(p, service->method[i]->name), member) == 0)
            return true;
    return false;
}

/* Lists the entries of a service's table that are for no method of it. */
static void list_stale_entries(project *pr, const proto_file *file, const proto_service *service, path_list *out)
{
    pool *p = pr->pool;
    const char *path, *problem, *member;
    text content;
    csource_table table;
    size_t length;
    const char *type = pool_printf(p, "%s_ops", name_service(p, file, service));
    if (find_table(pr, type, &path, &content, &table, &problem) != 1)
        return;
    for (size_t at = table.open; (length = csource_next_entry(content.data, &table, &at, &member)) > 0;) {
        const char *name = pool_printf(p, "%.*s", (int)length, member);
        if (!has_method(p, service, name))
            path_list_add(p, out,
                          pool_printf(p, "%s: take out .%s, its handler and its tests: %s has no such method any more",
                                      path, name, service->name));
    }
}

void project_list_leftovers(project *pr, path_list *out)
{
    pool *p = pr->pool;
    text build;
    const char *problem;
    for (size_t i = 0; i < pr->request->n_proto_file; i++) {
        const proto_file *file = pr->request->proto_file[i];
        for (size_t j = 0; j < file->n_service && project_is_own(pr, file); j++)
            list_stale_entries(pr, file, file->service[j], out);
    }
    if (!project_read(pr, BUILD_FILE, &build, &problem) || find_in_build(build.data, "*.proto") != NULL)
        return;
    for (size_t i = 0; i < pr->protos.count; i++)
        if (find_in_build(build.data, pr->protos.items[i]) == NULL)
            path_list_add(p, out,
                          pool_printf(p, BUILD_FILE ": add %s to the PROTOS of weft_generate()",
                                      proto_path(p, pr->protos.items[i])));
}

/* ---- Writing ----------------------------------------------------------------------------------------------------- */

bool project_write(project *pr, const char **problem)
{
    bool written = files_change(pr->pool, &pr->changed, &pr->added, &pr->read, problem);
    unlock_folder(pr);
    return written;
}

static void print_paths(const char *key, const file_list *list)
{
    printf("\"%s\": [", key);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        cli_json_string(stdout, list->items[i].path);
    }
    fputs("], ", stdout);
}

static void print_list(const char *what, cli_style style, const file_list *list)
{
    for (size_t i = 0; i < list->count; i++)
        printf("%s%-8s%s %s\n", cli_style_on(stdout, style), what, cli_style_on(stdout, CLI_PLAIN),
               list->items[i].path);
}

static void print_strings(const char *key, const path_list *list, const char *end)
{
    printf("\"%s\": [", key);
    for (size_t i = 0; i < list->count; i++) {
        fputs(i > 0 ? ", " : "", stdout);
        cli_json_string(stdout, list->items[i]);
    }
    printf("]%s", end);
}

void project_report(const project *pr, const cli_args *args, const path_list *methods, const path_list *leftovers)
{
    if (cli_has(args, "--json")) {
        putchar('{');
        print_paths("changed", &pr->changed);
        print_paths("added", &pr->added);
        print_strings("methods", methods, ", ");
        print_strings("left", leftovers, "}\n");
        return;
    }
    print_list("changed", CLI_YELLOW, &pr->changed);
    print_list("added", CLI_GREEN, &pr->added);
    if (methods->count == 0)
        puts("Every method of the contract has its handler.");
    else
        puts("\nWhat is new answers UNIMPLEMENTED until you write it:");
    for (size_t i = 0; i < methods->count; i++)
        printf("  %s\n", methods->items[i]);
    if (leftovers->count > 0)
        puts("\nLeft to you:");
    for (size_t i = 0; i < leftovers->count; i++)
        printf("  %s\n", leftovers->items[i]);
    if (methods->count > 0)
        puts("\nNext:\n  cmake --build build");
}
