/* Design notes. protoc writes its descriptor set, and what it has to say, into files that have no name any more, so
 * nothing is left behind and no pipe can fill up. */
#include "contract.h"

#include <errno.h>
#include <fcntl.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "check.h"
#include "names.h"

extern char **environ;

/* ---- Running protoc ---------------------------------------------------------------------------------------------- */

static const char *temporary_folder(void)
{
    const char *folder = getenv("TMPDIR");
    return folder != NULL && folder[0] != '\0' ? folder : "/tmp";
}

/* An open file without a name; -1 if there can be none. */
static int open_nameless(pool *p)
{
    char *path = pool_printf(p, "%s/weft-XXXXXX", temporary_folder());
    int fd = mkstemp(path);
    if (fd < 0)
        return -1;
    unlink(path);
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

static bool read_back(int fd, text *out)
{
    char chunk[65536];
    ssize_t got;
    if (lseek(fd, 0, SEEK_SET) < 0)
        return false;
    while ((got = read(fd, chunk, sizeof chunk)) > 0)
        text_add_bytes(out, chunk, (size_t)got);
    return got == 0;
}

/* Runs a program of PATH. @return its exit status, or -errno. */
static int run(char **argv, int output, int errors)
{
    posix_spawn_file_actions_t actions;
    pid_t pid;
    int status;
    if (posix_spawn_file_actions_init(&actions) != 0)
        return -ENOMEM;
    int rc = posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, output, STDOUT_FILENO);
    if (rc == 0)
        rc = posix_spawn_file_actions_adddup2(&actions, errors, STDERR_FILENO);
    if (rc == 0)
        rc = posix_spawnp(&pid, argv[0], &actions, NULL, argv, environ);
    posix_spawn_file_actions_destroy(&actions);
    if (rc != 0)
        return -rc;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}

/* The folder that the running program lies in, or NULL. */
static const char *own_folder(pool *p)
{
    char path[4096];
    ssize_t length = readlink("/proc/self/exe", path, sizeof path - 1);
    if (length <= 0 || (size_t)length >= sizeof path - 1)
        return NULL;
    path[length] = '\0';
    return path_folder(p, path);
}

/* Adds the folders of the user's and that of the protos that are installed with Weft. */
static void add_folders(pool *p, path_list *argv, const path_list *folders)
{
    const char *own = own_folder(p);
    for (size_t i = 0; i < folders->count; i++)
        path_list_add(p, argv, pool_printf(p, "-I%s", folders->items[i]));
    if (own == NULL)
        return;
    const char *shared = pool_printf(p, "%s/../share/weft/proto", own);
    if (file_is_folder(shared))
        path_list_add(p, argv, pool_printf(p, "-I%s", shared));
}

/* Runs protoc with what `argv` has after its name. @return false with what protoc says. */
static bool run_protoc(pool *p, path_list *argv, const path_list *names, text *output, const char **problem)
{
    text errors = text_new(p);
    int out = open_nameless(p);
    int err = out >= 0 ? open_nameless(p) : -1;
    if (err < 0) {
        *problem = pool_printf(p, "cannot make a temporary file in %s: %s", temporary_folder(), strerror(errno));
        if (out >= 0)
            close(out);
        return false;
    }
    for (size_t i = 0; i < names->count; i++)
        path_list_add(p, argv, names->items[i]);
    path_list_add(p, argv, NULL);
    int rc = run((char **)argv->items, out, err);
    if (rc >= 0 && (!read_back(out, output) || !read_back(err, &errors)))
        rc = -EIO;
    close(out);
    close(err);
    if (rc == 0)
        return true;
    while (errors.size > 0 && errors.data[errors.size - 1] == '\n')
        errors.data[--errors.size] = '\0';
    if (rc == -ENOENT)
        *problem = "protoc is not in PATH: apt-get install protobuf-compiler";
    else if (rc < 0)
        *problem = pool_printf(p, "cannot run protoc: %s", strerror(-rc));
    else
        *problem = errors.size > 0
                       ? errors.data
                       : pool_printf(p, "protoc failed and did not say why: is %s full?", temporary_folder());
    return false;
}

/* ---- Reading ----------------------------------------------------------------------------------------------------- */

/* A descriptor set as the request that a plugin would get. */
static proto_request *to_request(pool *p, const text *set_bytes, const path_list *names)
{
    proto_request request = GOOGLE__PROTOBUF__COMPILER__CODE_GENERATOR_REQUEST__INIT;
    Google__Protobuf__FileDescriptorSet *set =
        google__protobuf__file_descriptor_set__unpack(&p->allocator, set_bytes->size, (const uint8_t *)set_bytes->data);
    if (set == NULL)
        return NULL;
    request.n_proto_file = set->n_file;
    request.proto_file = set->file;
    request.n_file_to_generate = names->count;
    request.file_to_generate = (char **)names->items;
    size_t size = google__protobuf__compiler__code_generator_request__get_packed_size(&request);
    uint8_t *bytes = pool_alloc(p, size);
    google__protobuf__compiler__code_generator_request__pack(&request, bytes);
    return proto_parse(p, bytes, size);
}

bool contract_read(pool *p, const path_list *folders, const path_list *names, proto_request **out, const char **problem)
{
    path_list argv = {NULL, 0, 0};
    text set = text_new(p);
    path_list_add(p, &argv, "protoc");
    path_list_add(p, &argv, "--descriptor_set_out=/dev/stdout");
    path_list_add(p, &argv, "--include_imports");
    path_list_add(p, &argv, "--include_source_info");
    add_folders(p, &argv, folders);
    if (!run_protoc(p, &argv, names, &set, problem))
        return false;
    proto_request *request = to_request(p, &set, names);
    if (request == NULL) {
        *problem = "protoc's descriptor set is none that Weft understands";
        return false;
    }
    *problem = check_request(p, request, false);
    if (*problem != NULL)
        return false;
    *out = request;
    return true;
}

bool contract_generate(pool *p, const path_list *folders, const path_list *names, const char *out, const char **problem)
{
    path_list argv = {NULL, 0, 0};
    text nothing = text_new(p);
    const char *own = own_folder(p);
    const char *plugin = own != NULL ? pool_printf(p, "%s/protoc-gen-weft", own) : NULL;
    path_list_add(p, &argv, "protoc");
    path_list_add(p, &argv, pool_printf(p, "--weft_out=%s", out));
    if (plugin != NULL && access(plugin, X_OK) == 0)
        path_list_add(p, &argv, pool_printf(p, "--plugin=protoc-gen-weft=%s", plugin));
    add_folders(p, &argv, folders);
    return run_protoc(p, &argv, names, &nothing, problem);
}

const char *contract_import_hint(pool *p, const char *problem, const char *how)
{
    return strstr(problem, ".proto: File not found.") != NULL ? pool_printf(p, "%s\n%s", problem, how) : problem;
}

/* ---- Names ------------------------------------------------------------------------------------------------------- */

/* The name, wherever protoc would find it. */
static const char *name_below(pool *p, path_list *folders, const char *path)
{
    for (size_t i = 0; i < folders->count; i++) {
        size_t length = strlen(folders->items[i]);
        if (strcmp(folders->items[i], ".") == 0 && path[0] != '/')
            return strncmp(path, "./", 2) == 0 ? path + 2 : path;
        while (length > 1 && folders->items[i][length - 1] == '/')
            length--;
        if (strncmp(path, folders->items[i], length) == 0 && path[length] == '/')
            return path + length + strspn(path + length, "/");
    }
    const char *slash = strrchr(path, '/');
    path_list_add(p, folders, path_folder(p, path));
    return slash != NULL ? slash + 1 : path;
}

bool contract_name(pool *p, path_list *folders, const char *path, const char **out, const char **problem)
{
    struct stat wanted, found;
    const char *name = name_below(p, folders, path);
    if (stat(path, &wanted) < 0) { /* protoc might find another one by the name */
        *problem = pool_printf(p, "%s: %s", path, strerror(errno));
        return false;
    }
    if (!S_ISREG(wanted.st_mode)) { /* a pipe can be read only once */
        *problem = pool_printf(p, "%s is no regular file: name the .proto itself", path);
        return false;
    }
    for (size_t i = 0; i < folders->count; i++) {
        const char *first = pool_printf(p, "%s/%s", folders->items[i], name);
        if (stat(first, &found) < 0)
            continue;
        if (found.st_dev == wanted.st_dev && found.st_ino == wanted.st_ino)
            break;
        *problem = pool_printf(p, "%s is hidden by %s; name a common folder by --import-dir", path, first);
        return false;
    }
    *out = name;
    return true;
}

const char *contract_service_name(pool *p, const proto_file *file, const proto_service *service)
{
    const char *package = proto_package(file);
    return pool_printf(p, "%s%s%s", package, package[0] != '\0' ? "." : "", service->name);
}

const char *contract_type(pool *p, const proto_request *request, const char *type_name)
{
    return name_type(p, name_of_reference(p, request, type_name));
}

const char *contract_type_init(pool *p, const proto_request *request, const char *type_name)
{
    return pool_printf(p, "%s__INIT", name_upper(p, name_of_reference(p, request, type_name)));
}

const char *contract_type_descriptor(pool *p, const proto_request *request, const char *type_name)
{
    return pool_printf(p, "%s__descriptor", name_lower(p, name_of_reference(p, request, type_name)));
}

/* ---- Places ------------------------------------------------------------------------------------------------------ */

/* The byte at a line and column, or SIZE_MAX. */
static size_t byte_at(const char *data, size_t size, int32_t line, int32_t column)
{
    size_t at = 0;
    for (; line > 0; line--) {
        const char *end = memchr(data + at, '\n', size - at);
        if (end == NULL)
            return SIZE_MAX;
        at = (size_t)(end - data) + 1;
    }
    for (int32_t c = 0; c < column; at++) {
        if (at >= size || data[at] == '\n')
            return SIZE_MAX;
        c = data[at] == '\t' ? (c / 8 + 1) * 8 : c + 1;
    }
    return line < 0 || column < 0 ? SIZE_MAX : at;
}

size_t contract_end_of(const char *data, size_t size, const proto_location *location)
{
    if (location->n_span == 3)
        return byte_at(data, size, location->span[0], location->span[2]);
    return location->n_span == 4 ? byte_at(data, size, location->span[2], location->span[3]) : SIZE_MAX;
}
