#include "config.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "server/base/logging.h"
#include "server/base/mem.h"
#include "server/daemon/node.h"
#include "server/daemon/service.h"

/* holdfast-server [FILE|-] [--option value …] | --version | --help | --check-config FILE */

static void print_help(void) {
    puts("Usage: holdfast-server [FILE|-] [--OPTION VALUE ...]\n"
         "       holdfast-server --check-config FILE\n"
         "       holdfast-server --version | --help\n"
         "\n"
         "FILE is a configuration file; - reads it from standard input. Options of the\n"
         "configuration may be given behind it and win over it:\n"
         "\n"
         "  holdfast-server                                defaults, port 6379, data in .\n"
         "  holdfast-server /etc/holdfast/holdfast.conf\n"
         "  holdfast-server --port 7000 --appendonly yes --save 900 1\n"
         "  echo 'maxmemory 1gb' | holdfast-server - --dir /var/lib/holdfast\n"
         "\n"
         "--check-config reads the file, says what is wrong with it, and exits.");
}

static void print_version(void) {
    printf("Holdfast server v=%s (redis_version 7.2.4) malloc=%s bits=%d\n", PACKAGE_VERSION, mem_allocator_name(),
           (int)sizeof(void *) * 8);
}

/* The words of the command line as lines of a configuration file: `--name a b` → `name "a" "b"`. */
static int options_to_text(int argc, char **argv, int from, struct buf *out) {
    bool open = false;
    for (int i = from; i < argc; i++) {
        if (strncmp(argv[i], "--", 2) == 0 && argv[i][2] != '\0') {
            if (open)
                buf_append_char(out, '\n');
            buf_append_cstr(out, argv[i] + 2);
            open = true;
            /* `--save ""` and `--save` mean the same; --name=value is not ours. */
            if (i + 1 == argc || strncmp(argv[i + 1], "--", 2) == 0) {
                if (strcmp(argv[i], "--save") != 0)
                    continue;
                buf_append_cstr(out, " \"\"");
            }
            continue;
        }
        if (!open) {
            fprintf(stderr, "'%s' is not an option: options begin with --\n", argv[i]);
            return -1;
        }
        buf_append_char(out, ' ');
        buf_append_repr(out, slice_cstr(argv[i]));
    }
    if (open)
        buf_append_char(out, '\n');
    return 0;
}

static int check_config(const char *path) {
    struct node *n = node_create();
    struct buf error = BUF_INIT;
    int rc = settings_load(n->settings, path, slice_of(NULL, 0), &error);
    if (rc == 0)
        printf("%s: the configuration is valid\n", path);
    else
        fprintf(stderr, "%.*s\n", (int)error.len, error.data);
    buf_deinit(&error);
    node_destroy(n);
    return rc == 0 ? 0 : 1;
}

static int run(const char *file, struct slice options) {
    struct node *n = node_create();
    struct buf error = BUF_INIT;
    ssize_t len = readlink("/proc/self/exe", n->executable, sizeof n->executable - 1);
    if (len > 0)
        n->executable[len] = '\0';
    if (settings_load(n->settings, file, options, &error) != 0) {
        fprintf(stderr, "%.*s\n", (int)error.len, error.data);
        buf_deinit(&error);
        node_destroy(n);
        return 1;
    }
    if (n->options.daemonize && !service_present())
        node_daemonize_early(n);
    if (node_apply_logging(n, &error) != 0) {
        fprintf(stderr, "%.*s\n", (int)error.len, error.data);
        buf_deinit(&error);
        node_destroy(n);
        return 1;
    }
    if (n->options.crash_log_enabled)
        node_install_crash_handler();
    int rc = node_run(n);
    node_destroy(n);
    return rc;
}

int main(int argc, char **argv) {
    if (argc == 2 && (strcmp(argv[1], "--version") == 0 || strcmp(argv[1], "-v") == 0)) {
        print_version();
        return 0;
    }
    if (argc == 2 && (strcmp(argv[1], "--help") == 0 || strcmp(argv[1], "-h") == 0)) {
        print_help();
        return 0;
    }
    if (argc >= 2 && strcmp(argv[1], "--check-config") == 0) {
        if (argc == 3)
            return check_config(argv[2]);
        fputs("--check-config takes one file\n", stderr);
        return 1;
    }
    node_remember_argv(argc, argv);
    int from = 1;
    const char *file = NULL;
    if (argc > 1 && (argv[1][0] != '-' || strcmp(argv[1], "-") == 0)) {
        file = argv[1];
        from = 2;
    }
    struct buf options = BUF_INIT;
    if (options_to_text(argc, argv, from, &options) != 0)
        return 1;
    char *kept_file = file != NULL ? mem_strdup(file) : NULL; /* the title overwrites argv */
    int rc = run(kept_file, buf_slice(&options));
    mem_free(kept_file);
    buf_deinit(&options);
    return rc;
}
