/* Documentation of commands, apart from their rows: what COMMAND DOCS tells. Pure. */
#ifndef HF_COMMANDS_DOCS_H
#define HF_COMMANDS_DOCS_H

struct command_doc {
    const char *name; /* full name: "config|get" */
    const char *summary;
    const char *complexity;       /* "" for containers */
    const char *syntax;           /* "CONFIG GET pattern [pattern ...]", "" for containers */
    const char *deprecated_since; /* NULL where it is not */
};

/* NULL for a command without a text. */
const struct command_doc *command_doc_find(const char *full_name);

#endif
